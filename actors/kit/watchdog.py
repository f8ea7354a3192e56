"""The last resort: end the process when a task can't be cancelled.

Trio can ask a task to stop, and nothing more; a thread that hangs in a system call
keeps the loop from ending. What is left undone then is repaired at the next start.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

EXIT_STATUS = 70


def arm(seconds: float, *, what: str) -> Callable[[], None]:
    """End the process with status 70 unless it has ended by itself in *seconds*.

    Return what takes the watchdog off again.
    """
    off = threading.Event()

    def bite() -> None:
        if off.wait(seconds):
            return
        sys.stderr.write(f"larkd: {what} took over {seconds:g} s; ending the process\n")
        sys.stderr.flush()
        os._exit(EXIT_STATUS)

    threading.Thread(target=bite, name="watchdog", daemon=True).start()
    return off.set

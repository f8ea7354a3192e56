"""The last resort: end the process when a task can't be cancelled.

Trio can ask a task to stop, and nothing more; a thread that hangs in a system call
keeps the loop from ending. What is left undone then is repaired at the next start.
"""

from __future__ import annotations

import os
import sys
import threading
import time

EXIT_STATUS = 70


def arm(seconds: float, *, what: str) -> None:
    """End the process with status 70 unless it has ended by itself in *seconds*."""

    def bite() -> None:
        time.sleep(seconds)
        sys.stderr.write(f"larkd: {what} took over {seconds:g} s; ending the process\n")
        sys.stderr.flush()
        os._exit(EXIT_STATUS)

    threading.Thread(target=bite, name="watchdog", daemon=True).start()

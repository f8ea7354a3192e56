"""``larkd daemon stop``: end the daemon in order, and leave it ended.

The file ``stopped`` stands before the signal is sent, so that no proxy that loses its
connection starts another daemon. ``larkd daemon`` removes it.
"""

from __future__ import annotations

import argparse
import os
import signal
import time
from typing import Final

from actors.cli.operator import nobody_serves, sandbox_beside
from actors.cli.output import CommandFailed, Output, as_asked
from actors.host import state_dir
from actors.host.advice import start_of
from protocol.config.places import StateDir

LEFT_WITHIN_S: Final = 60.0
"""Beyond the longest usual way out: cards 5 s, agents, the journal, the watchdog's margin."""
_LOOK_EVERY_S: Final = 0.05


def run(state: StateDir, parsed: argparse.Namespace) -> Output:
    """Stop the daemon that serves *state*; return once it has left.

    Raises:
        CommandFailed: none runs, it is another user's, or it does not leave.
    """
    pid = state_dir.serving_pid(state)
    if pid is None:
        other = sandbox_beside(state)
        raise CommandFailed(nobody_serves(state) + (f"; {other}" if other else ""))
    try:
        state_dir.write_private(state.stopped, b"")
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
    except OSError as failed:
        reason = failed.strerror or str(failed)
        raise CommandFailed(
            f"larkd (pid {pid}) can't be stopped: {reason}; run this as its user"
        ) from None
    deadline = time.monotonic() + LEFT_WITHIN_S
    while state_dir.serving_pid(state) == pid:
        if time.monotonic() > deadline:
            raise CommandFailed(
                f"larkd (pid {pid}) has not left in {LEFT_WITHIN_S:g} s; look into {state.log}"
            )
        time.sleep(_LOOK_EVERY_S)
    start = start_of(state)
    text = f"stopped larkd (pid {pid}); it stays stopped until: {start}"
    return as_asked(parsed, text, {"pid": pid, "state_dir": str(state.root), "start": start})

"""Deadlines of a daemon for which a person waits: longer in tests.

After them the daemon goes on with another answer, so that a test that presses a button would
see that one on a machine that stood still for a second. What happens after each is tested in
virtual time, beside the actor that has it.
"""

from __future__ import annotations

import functools
import importlib
from typing import Final

LONGER_S: Final = 120.0
DEADLINES: Final = {
    "actors.app.shutdown": ("NOTIFY_WITHIN_S",),
    "actors.intake.peers": ("ASK_WITHIN_S",),
    "actors.intake.questions": ("ASK_WITHIN_S", "PASS_WITHIN_S"),
    "actors.intake.stop": ("ASK_WITHIN_S",),
    "actors.links.unproven": ("REGISTER_WITHIN_S",),
    "actors.monitoring.overview": ("ANSWER_WITHIN_S",),
}
"""Modules, and the names each uses: what is imported by name has to be changed there, too."""


def lengthen_deadlines() -> None:
    """Lengthen them in this process, which is a daemon of tests."""
    for name, deadlines in DEADLINES.items():
        module = importlib.import_module(name)
        for deadline in deadlines:
            assert 0 < getattr(module, deadline) < LONGER_S, f"{name}.{deadline}"
            setattr(module, deadline, LONGER_S)
    connection = importlib.import_module("actors.connection")
    longer = functools.partial(connection.ConnectionSettings, press_within_s=LONGER_S)
    setattr(connection, "ConnectionSettings", longer)  # noqa: B010  # no name of it is assigned

"""Whether the simulation would have found what it was built to find.

Each regression is a mend of the daemon undone by replacing today's functions: the one place
where something is patched. The simulation itself patches nothing; here the point is a
daemon that is wrong in a known way, which some seed must notice. A regression whose functions
are no longer there fails, and is then written anew.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Final

from tests.simulation.regressions import delivery, inbound, links, shown
from tests.simulation.regressions.regression import Regression

REGRESSIONS: Final = (
    Regression(
        name="late-offer",
        seen="an offer that timed out is committed all the same, and the row is with nobody",
        undo=delivery.late_offer,
    ),
    Regression(
        name="no-sweep",
        seen="a row that the journal has as offered and that nobody holds is found at a start only",
        undo=delivery.no_sweep,
    ),
    Regression(
        name="dead-asker",
        seen="ownership gives a row to a lane that has given up asking",
        undo=delivery.dead_asker,
    ),
    Regression(
        name="read-again",
        seen="a row that is in hand is read again, and its command is obeyed twice",
        undo=inbound.read_again,
    ),
    Regression(
        name="silent-end",
        seen="the end of a link is dropped while ownership is busy, and its session stays listed",
        undo=links.silent_end,
    ),
    Regression(
        name="wake-all",
        seen="one change of the lease wakes every session that a chat is bound to",
        undo=delivery.wake_all,
    ),
    Regression(
        name="backlog-first",
        seen="the start waits for the backlog, and is given up",
        undo=inbound.backlog_first,
    ),
    Regression(
        name="lost-answer",
        seen="an answer that is under way at the end of the process is lost",
        undo=inbound.lost_answer,
    ),
    Regression(
        name="typing-stays",
        seen="the Typing mark stays after a turn that ended during the call, and after a kill",
        undo=shown.typing_stays,
    ),
    Regression(
        name="nobody-answers",
        seen="a stop word on a turn without a card is answered by nobody",
        undo=shown.nobody_answers,
    ),
    Regression(
        name="sequence-reused",
        seen="a card call that was cut off is followed by another under the same uuid",
        undo=shown.sequence_reused,
    ),
)


def undone(name: str) -> AbstractContextManager[None]:
    """Run the daemon without the mend of that *name* while the block runs.

    Raises:
        KeyError: there is no such regression.
    """
    return {one.name: one for one in REGRESSIONS}[name].undo()

"""How much of the loop one link may use before others go first.

What a link asks for is estimated, not measured: most of it is done by other actors. A link
that stays within its share never waits here. Beyond it what it sends is taken in turn with
all others of its kind (``actors.kit.heavy``), who together have a quarter of the loop.
"""

from __future__ import annotations

from typing import Final

DELTA_S: Final = 10e-6
"""To decode a piece of text and to join it with those beside it."""
MESSAGE_S: Final = 50e-6
"""To decode a message and to answer it."""
ACK_S: Final = 0.15e-3
"""More, to note that a row was delivered: many share a commit, and nobody waits for it."""
REQUEST_S: Final = 1e-3
"""More, where other actors are asked: most of it is the journal's thread."""
PER_S: Final = 0.01
"""Of each second: 1,000 pieces of text, 200 other messages, 50 acks, or ten requests. An agent
that streams sends 50 pieces."""
FIRST_S: Final = 0.01
"""What a new link may use at once: to register, and to take what has waited for it."""
SAVED_S_MAX: Final = 0.1
"""What a link that was silent may use at once."""
SETTLED_FROM_S: Final = 0.005
"""Less beyond its share is not worth a wait."""


class Share:
    """What one link has left of its share, in seconds of the loop."""

    def __init__(self, now: float) -> None:
        self._left_s = FIRST_S
        self._at = now

    def use(self, cost_s: float, now: float) -> float:
        """Take off what it uses; return for how long others go first, mostly 0."""
        more = (now - self._at) * PER_S
        self._left_s, self._at = min(SAVED_S_MAX, self._left_s + more) - cost_s, now
        if self._left_s > -SETTLED_FROM_S:
            return 0.0
        beyond_s, self._left_s = -self._left_s, 0.0
        return beyond_s

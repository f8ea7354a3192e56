"""How long a proxy waits between two rounds of its addresses, and for one of them to connect.

Pure: what came of a round goes in, seconds come out.
"""

from __future__ import annotations

from typing import Final, Literal

FIRST_S: Final = 0.25
MAX_S: Final = 5.0
STANDBY_MAX_S: Final = 0.5
"""While a standby answers, with the jitter: its cluster is served within seconds."""
REFUSED_MAX_S: Final = 48.0
"""With its jitter a minute: the contract's longest pause between two tries."""
CONNECT_WITHIN_S: Final = 5.0
CONNECT_FIRST_S: Final = 1.0
"""Where there are other addresses: a machine that is gone answers nothing, and its successor
serves after some 3 s. Doubled after each round in which nobody answered."""

Round = Literal["served", "standing by", "refused", "nobody"]
"""What came of a round: a link that has ended by now, a node that stands by, a refusal that
somebody has to put right, or no answer at all."""


class RoundPauses:
    """Of one proxy, from round to round."""

    def __init__(self, addresses: int) -> None:
        """*addresses* are how many each round tries."""
        self._connect_first_s = CONNECT_FIRST_S if addresses > 1 else CONNECT_WITHIN_S
        self._next_s = FIRST_S
        self.connect_within_s = self._connect_first_s
        """How long the next round waits for each address to connect."""

    def after(self, came: Round, fraction: float, wanted_s: float | None = None) -> float:
        """Return how long to wait before the next round.

        *fraction* is random, from 0 to 1, and makes the pause up to a quarter longer; *wanted_s*
        is how long the daemon asked to be left alone.
        """
        if came == "served":
            self._next_s = FIRST_S
        if came in ("served", "standing by"):
            self.connect_within_s = self._connect_first_s
        else:
            self.connect_within_s = min(self.connect_within_s * 2, CONNECT_WITHIN_S)
        wait_s = (wanted_s or self._next_s) * (1 + fraction / 4)
        if came == "standing by":
            wait_s = min(wait_s, STANDBY_MAX_S)
            self._next_s = min(self._next_s, STANDBY_MAX_S)
        # What somebody has to put right first is looked at less often.
        most_s = REFUSED_MAX_S if came == "refused" else MAX_S
        self._next_s = min(most_s, self._next_s * 2)
        return wait_s

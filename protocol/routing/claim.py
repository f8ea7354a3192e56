"""Who may act for a cluster: what a holder and a standby conclude from what they saw.

Nothing here compares two machines' clocks. A holder counts from the *sending* of the last
batch that was confirmed; a standby from when it *received* the sight it has had since. What
a standby saw had been committed, so the holder had sent it earlier: when the standby has
seen the same for :data:`SILENT_S`, the holder has not been fresh for longer than their
clocks can drift apart in that time.

Times are seconds of one process's clock, which runs on while the machine sleeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final

import msgspec

FRESH_S: Final = 1.5
"""A holder that was not confirmed for so long starts nothing any more."""
SILENT_S: Final = 2.5
"""A standby that has seen the same for so long claims."""
ASK_AFTER_S: Final = 2.5
ASK_EVERY_S: Final = 1.0
"""A frozen holder asks the standbys it knew whom they see holding the cluster."""
FROZEN_MAX_S: Final = 60.0
WANTED_ONLY_S: Final = 3.0
"""How long a cluster that was freed for one node waits for it alone."""
SPREAD_EACH_S: Final = 0.05
SPREAD_MAX_S: Final = 0.3
JITTER_MAX_S: Final = 0.1


class Phase(Enum):
    HOLDING = "holding"
    FROZEN = "frozen"
    LOST = "lost"


class Hold:
    """What a process that claimed a cluster may do."""

    def __init__(self, node: str, claimed_at: float) -> None:
        """*claimed_at* is when the claim was sent that was then committed."""
        self._node = node
        self._confirmed_at = claimed_at
        self._asked_at: float | None = None
        self.lost_because: str | None = None

    def confirm(self, sent_at: float) -> None:
        """Note that a batch sent at *sent_at* was committed where it can't be lost."""
        self._confirmed_at = max(self._confirmed_at, sent_at)

    def lose(self, because: str) -> None:
        """Note that another holds the cluster, or may. There is no way back."""
        if self.lost_because is None:
            self.lost_because = because

    def fresh(self, now: float) -> bool:
        """Whether nobody else can hold the cluster: what may be started, may be started."""
        return self.lost_because is None and now - self._confirmed_at < FRESH_S

    def phase(self, now: float) -> Phase:
        """Return the phase; a hold that was frozen for too long is lost by this call."""
        silent_s = now - self._confirmed_at
        if silent_s >= FROZEN_MAX_S:
            self.lose(f"no batch was confirmed for {FROZEN_MAX_S:g} s")
        if self.lost_because is not None:
            return Phase.LOST
        return Phase.HOLDING if silent_s < FRESH_S else Phase.FROZEN

    def must_ask(self, now: float) -> bool:
        """Whether the standbys are to be asked now; true once each :data:`ASK_EVERY_S`."""
        if self.phase(now) is not Phase.FROZEN or now - self._confirmed_at < ASK_AFTER_S:
            return False
        if self._asked_at is not None and now - self._asked_at < ASK_EVERY_S:
            return False
        self._asked_at = now
        return True

    def answered(self, known: int, named: Sequence[str | None]) -> None:
        """Note what the standbys answered: of *known* asked, whom each that did names.

        One that names another node has seen it claim. Where none of those known answers, it
        is this process that is cut off.
        """
        others = sorted({name for name in named if name not in (None, self._node)} - {None})
        if others:
            self.lose(f"node {others[0]} holds the cluster")
        elif known and not named:
            self.lose("neither the database nor any standby answers")


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster's claim as one look found it."""

    mark: int
    batch: int
    node: str | None
    """None: nobody holds it."""
    wanted: str | None = None


class Watch:
    """What a standby may conclude from its looks over one connection after another."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._sight: Sight | None = None
        self._since = 0.0

    def looked(self, received_at: float, sight: Sight) -> None:
        """Note what a look found, and when its answer was here."""
        seen = self._sight
        same = seen is not None and (seen.mark, seen.batch, seen.node) == (
            sight.mark,
            sight.batch,
            sight.node,
        )
        if not same:
            self._since = received_at
        self._sight = sight

    def forget(self) -> None:
        """Begin anew: what was seen over another connection may be another server's truth."""
        self._sight = None

    @property
    def claims_at(self) -> float | None:
        """When to claim what the last look found, unless it is found changed; None: not looked.

        The claim compares with what was seen by itself: no look right before it is needed.
        """
        sight = self._sight
        if sight is None:
            return None
        if sight.node is not None:
            return self._since + SILENT_S
        return self._since + (0.0 if sight.wanted in (None, self._node) else WANTED_ONLY_S)

    def may_claim(self, now: float) -> bool:
        """Whether to claim what the last look found."""
        claims_at = self.claims_at
        return claims_at is not None and now >= claims_at

    @property
    def by_silence(self) -> bool:
        """Whether the last sight names a holder: then it is claimed because it is silent."""
        return self._sight is not None and self._sight.node is not None


def spread_s(held: int, fraction: float) -> float:
    """Return how long to wait before claiming, where this node holds *held* clusters.

    *fraction* is random, from 0 to 1.
    """
    return min(SPREAD_EACH_S * held, SPREAD_MAX_S) + JITTER_MAX_S * fraction

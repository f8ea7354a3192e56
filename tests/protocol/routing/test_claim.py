"""Of all processes at most one is fresh, whatever is lost, late or cut off, and when."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.routing import claim
from protocol.routing.claim import (
    ASK_AFTER_S,
    FROZEN_MAX_S,
    JITTER_MAX_S,
    SILENT_S,
    SPREAD_MAX_S,
    WANTED_ONLY_S,
    Hold,
    Phase,
    Sight,
    Watch,
    spread_s,
)
from tests.kit.sizes import examples

DRIFT: Final = 0.01

# ── one holder ──────────────────────────────────────────────────────────────


def test_a_holder_is_fresh_for_a_second_and_a_half_from_sending() -> None:
    hold = Hold("a", 10.0)
    assert hold.phase(11.4) is Phase.HOLDING
    assert (hold.fresh(11.4), hold.fresh(11.5)) == (True, False)
    hold.confirm(11.0)
    assert hold.fresh(12.4)
    hold.confirm(10.5)
    assert hold.fresh(12.4), "an older batch confirmed late takes nothing back"
    assert hold.phase(12.6) is Phase.FROZEN
    hold.confirm(12.5)
    assert hold.phase(12.7) is Phase.HOLDING


def test_frozen_for_a_minute_is_lost_for_good() -> None:
    hold = Hold("a", 0.0)
    assert hold.phase(FROZEN_MAX_S - 0.1) is Phase.FROZEN
    assert hold.phase(FROZEN_MAX_S) is Phase.LOST
    hold.confirm(FROZEN_MAX_S)
    assert hold.phase(FROZEN_MAX_S) is Phase.LOST
    assert not hold.fresh(FROZEN_MAX_S)


def test_it_asks_once_a_second_from_two_and_a_half_on() -> None:
    hold = Hold("a", 0.0)
    asked = [number / 10 for number in range(60) if hold.must_ask(number / 10)]
    assert asked == [2.5, 3.5, 4.5, 5.5]
    assert not Hold("a", 0.0).must_ask(ASK_AFTER_S - 0.01)


@pytest.mark.parametrize(
    ("known", "named", "because"),
    [
        (0, [], None),
        (2, [], "neither the database nor any standby answers"),
        (2, [None], None),
        (2, ["a"], None),
        (2, ["a", "b"], "node b holds the cluster"),
        (1, ["b"], "node b holds the cluster"),
    ],
)
def test_what_the_standbys_answer_decides(
    known: int, named: list[str | None], because: str | None
) -> None:
    hold = Hold("a", 0.0)
    hold.answered(known, named)
    assert hold.lost_because == because
    assert (hold.phase(3.0) is Phase.LOST) == (because is not None)


# ── one standby ─────────────────────────────────────────────────────────────


def sight(batch: int = 1, node: str | None = "a", wanted: str | None = None) -> Sight:
    return Sight(mark=7, batch=batch, node=node, wanted=wanted)


def test_a_standby_claims_what_was_silent_over_one_connection() -> None:
    watch = Watch("b")
    assert not watch.may_claim(100.0)
    watch.looked(0.0, sight())
    watch.looked(2.4, sight())
    assert not watch.may_claim(2.4)
    watch.looked(2.5, sight())
    assert watch.may_claim(2.5)
    assert watch.claims_at == SILENT_S
    assert watch.by_silence
    watch.looked(2.6, sight(batch=2))
    assert not watch.may_claim(5.0)
    watch.forget()
    watch.looked(5.2, sight(batch=2))
    assert not watch.may_claim(5.2 + SILENT_S - 0.01)


def test_a_free_cluster_is_claimed_at_once_unless_another_is_wanted() -> None:
    watch = Watch("b")
    watch.looked(0.0, sight(node=None))
    assert watch.may_claim(0.0)
    assert not watch.by_silence
    watch.looked(1.0, sight(node=None, wanted="b"))
    assert watch.may_claim(1.0)
    other = Watch("c")
    other.looked(1.0, sight(node=None, wanted="b"))
    assert not other.may_claim(1.0 + WANTED_ONLY_S - 0.01)
    other.looked(4.0, sight(node=None, wanted="b"))
    assert other.may_claim(1.0 + WANTED_ONLY_S)


def test_who_holds_much_waits_longer() -> None:
    assert spread_s(0, 0.0) == 0.0
    assert spread_s(2, 0.0) == pytest.approx(0.1)
    assert spread_s(100, 1.0) == pytest.approx(SPREAD_MAX_S + JITTER_MAX_S)


# ── all of them ─────────────────────────────────────────────────────────────


class Row(msgspec.Struct):
    """The claim in the database."""

    mark: int = 0
    batch: int = 0
    node: str | None = None


class Process(msgspec.Struct):
    name: str
    rate: float
    """Of its clock to the world's."""
    offset: float
    watch: Watch | None
    sight: Sight | None = None
    hold: Hold | None = None
    mark: int = 0
    batch: int = 0
    stopped_until: float = 0.0
    cut_until: float = 0.0
    connection: int = 0
    """Rises when one is lost: answers of an older one never arrive."""


class World:
    """One row, and processes that beat, look and claim as they do; a seed decides the rest.

    A request may be lost, or its answer; both may be late by seconds, and overtake nothing:
    a connection is in order. A process may be stopped, and cut off.
    """

    def __init__(self, seed: int, processes: int = 4) -> None:
        self.chance = random.Random(seed)
        self.now = 0.0
        self.row = Row()
        self.claims = 0
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.numbers = itertools.count()
        self.all = [
            Process(
                name=f"n{number}",
                rate=self.chance.uniform(1 - DRIFT, 1 + DRIFT),
                offset=self.chance.uniform(0, 1e6),
                watch=Watch(f"n{number}"),
            )
            for number in range(processes)
        ]
        for one in self.all:
            self.after(self.chance.random(), partial(self.act, one))

    def clock(self, one: Process) -> float:
        return one.offset + self.now * one.rate

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        heapq.heappush(self.events, (self.now + seconds, next(self.numbers), event))

    def run(self, seconds: float) -> None:
        while self.events and self.events[0][0] < seconds:
            self.now, _, event = heapq.heappop(self.events)
            event()
            fresh = [one.name for one in self.all if one.hold and one.hold.fresh(self.clock(one))]
            assert len(fresh) <= 1, (self.now, fresh)

    def delay_s(self) -> float:
        return self.chance.choice((0.001, 0.01, 0.1, self.chance.uniform(0, 3)))

    # what a process does, when it is let

    def act(self, one: Process) -> None:
        if self.now < one.stopped_until:
            self.after(one.stopped_until - self.now, partial(self.act, one))
            return
        if self.chance.random() < 0.02:
            one.stopped_until = self.now + self.chance.uniform(0, 6)
        if self.chance.random() < 0.02:
            one.cut_until = self.now + self.chance.uniform(0, 6)
            one.connection += 1
        if one.hold is not None and one.hold.phase(self.clock(one)) is Phase.LOST:
            one.hold, one.watch = None, Watch(one.name)
        if one.hold is not None:
            one.batch += 1
            beat = partial(self.commit_batch, one.mark, one.batch)
            self.request(one, beat, partial(self.confirmed, one, one.mark, self.clock(one)), 0.5)
        elif one.watch is not None and one.watch.may_claim(self.clock(one)):
            self.claim(one)
        else:
            self.request(one, self.read, partial(self.looked, one))

    def request(
        self,
        one: Process,
        in_database: Callable[[], Any],
        answered: Callable[[Any], None],
        again_s: float = 0.25,
    ) -> None:
        """Let it happen in the database, and its answer arrive, unless either is lost."""
        connection = one.connection

        def lost() -> None:
            one.connection += 1
            if one.watch is not None:
                one.watch.forget()
            self.after(again_s, partial(self.act, one))

        def arrive() -> None:
            if self.now < one.cut_until or self.chance.random() < 0.03:
                self.after(1.0, lost)
                return
            answer = in_database()
            self.after(self.delay_s(), partial(receive, answer))

        def receive(answer: Any) -> None:
            if self.now < one.stopped_until:
                self.after(one.stopped_until - self.now, partial(receive, answer))
            elif one.connection != connection or self.chance.random() < 0.03:
                lost()
            else:
                answered(answer)

        self.after(self.delay_s(), arrive)

    # in the database

    def read(self) -> Sight:
        return Sight(mark=self.row.mark, batch=self.row.batch, node=self.row.node)

    def commit_batch(self, mark: int, batch: int) -> bool:
        if self.row.mark != mark:
            return False
        self.row.batch = batch
        return True

    def commit_claim(self, node: str, seen: Sight, mark: int) -> bool:
        if (self.row.mark, self.row.batch) != (seen.mark, seen.batch):
            return False
        self.row = Row(mark=mark, batch=0, node=node)
        return True

    # back at the process

    def confirmed(self, one: Process, mark: int, sent_at: float, committed: bool) -> None:
        self.after(0.5, partial(self.act, one))
        if one.hold is None or one.mark != mark:
            return
        if committed:
            one.hold.confirm(sent_at)
        else:
            one.hold.lose("refused")

    def looked(self, one: Process, sight: Sight) -> None:
        assert one.watch is not None
        one.watch.looked(self.clock(one), sight)
        one.sight = sight
        claims_at = one.watch.claims_at
        assert claims_at is not None
        due_s = max(0.0, claims_at - self.clock(one)) / one.rate
        self.after(min(0.25, due_s), partial(self.act, one))

    def claim(self, one: Process) -> None:
        """By what was seen last: the row itself is compared with it."""
        assert one.sight is not None
        self.claims += 1
        self.request(
            one,
            partial(self.commit_claim, one.name, one.sight, self.claims),
            partial(self.claimed, one, self.claims, self.clock(one)),
        )

    def claimed(self, one: Process, mark: int, sent_at: float, committed: bool) -> None:
        self.after(0.25, partial(self.act, one))
        assert one.watch is not None
        if not committed:
            one.watch.forget()
        else:
            one.hold, one.watch = Hold(one.name, sent_at), None
            one.mark, one.batch = mark, 0


@settings(max_examples=examples(100))
@given(seed=st.integers(0, 2**32))
def test_of_all_processes_at_most_one_is_fresh(seed: int) -> None:
    world = World(seed)
    world.run(seconds=120.0)
    assert world.claims > 1, "nobody ever took over: the test shows nothing"


def test_the_world_finds_a_standby_that_is_too_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "SILENT_S", claim.FRESH_S * 0.9)
    with pytest.raises(AssertionError):
        for seed in range(200):
            World(seed).run(seconds=120.0)

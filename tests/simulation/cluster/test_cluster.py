"""Clusters under the virtual clock: never two that write, no message lost, no card live."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from actors.connection import MORE_LINKS
from protocol.routing import claim
from tests.kit.sizes import NIGHTLY
from tests.simulation.cluster.crowded import CrowdedRun, make_crowded_plan
from tests.simulation.cluster.plan import CutDatabase, DatabaseAway, make_cluster_plan
from tests.simulation.cluster.world import ClusterRun
from tests.simulation.command import simulation
from tests.simulation.machine import Steps
from tests.simulation.plan import Action, Attach, BadHttp, Die, Plan, Write
from tests.simulation.run import Run, simulate

SEEDS = 2_000 if NIGHTLY else 6
PARTS = 20 if NIGHTLY else 1
TURNS = 100 if NIGHTLY else 10


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("part", range(PARTS))
def test_no_seed_breaks_a_promise(part: int) -> None:
    count = SEEDS // PARTS
    status, shown = simulation(
        "tests.simulation.cluster", "--seeds", str(count), "--first", str(part * count + 1)
    )
    assert status == 0, shown


def test_a_holder_that_stays_fresh_for_too_long_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its calls after another has claimed are what every run looks for."""
    monkeypatch.setattr(claim, "FRESH_S", 6.0)
    broken = simulate(make_cluster_plan(4), ClusterRun).violations
    assert any("after b had claimed" in text for text in broken), broken


class _AskedInTheMoment(ClusterRun):
    """The second node is asked to leave in the moment its claim is committed."""

    def _claimed(self, before: object) -> None:
        super()._claimed(before)  # type: ignore[arg-type]  # it is passed on
        if len(self.server.claims) == 2:
            name = self.server.claims[-1][1]
            self.note("asked to leave", node=name)
            self._nodes[name].terminate()


def test_a_claim_that_is_committed_while_the_node_is_asked_to_leave_is_given_back() -> None:
    actions = (
        Attach(at=0.0, session="boss"),
        Write(at=1.0, chat="Alice", text="prompt"),
        Die(at=5.0, steps=0, down_s=2.0),
    )
    plan = Plan(seed=1, actions=actions)
    result = simulate(plan, _AskedInTheMoment)
    assert result.violations == []
    asked = next(n for n, line in enumerate(result.log) if "asked to leave" in line)
    after = " ".join(result.log[asked:])
    assert after.index("the node has ended") < after.index("daemon.ready"), "it did not serve"
    assert "by_silence=False" in after, "nobody had to wait for its silence"


def test_no_card_is_shown_that_a_successor_would_not_know_of() -> None:
    """The database goes as the first text comes, and is away for longer than a holder holds."""
    for at in (2.09, 2.1, 2.11):
        actions = (
            Attach(at=0.0, session="boss"),
            Write(at=2.0, chat="Alice", text="long"),
            DatabaseAway(at=at, seconds=70.0),
        )
        assert simulate(Plan(seed=1, actions=actions), ClusterRun).violations == []


@pytest.mark.parametrize("dies_at", [3.0, 4.0])
def test_a_stop_word_is_answered_though_its_holder_dies_before_a_card_is_there(
    dies_at: float,
) -> None:
    actions = (
        Attach(at=0.0, session="boss"),
        BadHttp(at=1.9, kind="hangs", seconds=8.0, calls=1, part="cardkit/v1/cards$"),
        Write(at=2.0, chat="Alice", text="long"),
        Write(at=2.9, chat="Alice", text="stop"),
        Die(at=dies_at, steps=0, down_s=2.0),
    )
    assert simulate(Plan(seed=1, actions=actions), ClusterRun).violations == []


def times(log: list[str], *texts: str) -> list[float]:
    """Return when what holds all the texts was logged."""
    return [float(line.split()[0]) for line in log if all(text in line for text in texts)]


@pytest.mark.parametrize("cut_at", [5.0, 5.2, 5.4, 5.6, 5.8])
def test_a_holder_cut_from_the_database_sends_its_proxies_on_within_4_s(cut_at: float) -> None:
    """Also where the journal's thread waits for a connection that is not made."""
    actions = (
        Attach(at=0.0, session="boss"),
        Attach(at=0.1, session="mate"),
        Write(at=cut_at - 0.1, chat="Alice", text="long"),
        CutDatabase(at=cut_at, which="holder", seconds=12.0, off=False),
    )
    result = simulate(Plan(seed=1, actions=actions), ClusterRun)
    assert result.violations == []
    cut = times(result.log, "> CutDatabase")[0]
    (claimed,) = times(result.log, "cluster.claimed", "by_silence=True")
    for name in ("boss", "mate"):
        bye = times(result.log, "bye", f"session={name}", "at=['tls://b.example:7346']")[0]
        assert claimed < bye <= cut + 4.0


class _Watched(ClusterRun):
    """When the standby looked, while nothing happened."""

    gaps_s: Sequence[float] = ()

    async def _do(self, action: Action) -> None:
        looks = [at for at, name in self.server.looks if name == "b"]
        type(self).gaps_s = [after - before for before, after in pairwise(looks)]
        await super()._do(action)


def test_a_standby_looks_each_quarter_of_a_second() -> None:
    actions = (Write(at=20.0, chat="Alice", text="prompt"),)
    assert simulate(Plan(seed=1, actions=actions), _Watched).violations == []
    assert len(_Watched.gaps_s) > 70
    assert all(0.25 <= gap < 0.3 for gap in _Watched.gaps_s), "and the way to the database"


class _TwoBots(ClusterRun):
    """Bob talks to the second account."""

    def __init__(self, plan: Plan, steps: Steps, state_dir: Path) -> None:
        super().__init__(plan, steps, state_dir)
        self._two_accounts = True


@pytest.mark.parametrize(("chat", "account"), [("Alice", "default"), ("Bob", "second")])
def test_a_takeover_keeps_both_bots_of_a_cluster(chat: str, account: str) -> None:
    """A turn of one runs as the holder dies: it is ended; both are connected, and answer."""
    actions = (
        Attach(at=0.0, session="boss"),
        Write(at=3.0, chat=chat, text="long"),
        Die(at=5.0, steps=0, down_s=2.0),
        Write(at=12.0, chat="Alice", text="prompt"),
        Write(at=12.0, chat="Bob", text="prompt"),
    )
    result = simulate(Plan(seed=1, actions=actions), _TwoBots)
    assert result.violations == []
    died = times(result.log, "> Die")[0]
    running = times(result.log, "feishu.card.opened", f"account={account}")[0]
    ended = times(result.log, "feishu.card.closed", f"account={account}", "repaired=True")[0]
    assert running < died < ended
    for bot in ("default", "second"):
        connected = [
            at - died for at in times(result.log, "feishu.connected", f"account={bot}") if at > died
        ]
        assert len(connected) >= 1 + MORE_LINKS, "as many as after any claim by silence"
        assert connected[0] < 5.0
        answered = times(result.log, "feishu.card.closed", f"account={bot}", "outcome=complete")
        assert answered[-1] > ended


class _NoStandby(ClusterRun):
    """There is one node."""

    async def _keep_node(self, name: str) -> None:
        if name == "a":
            await super()._keep_node(name)


def test_a_holder_without_a_standby_reports_it_after_half_a_minute() -> None:
    plan = Plan(seed=1, actions=(Write(at=32.0, chat="Alice", text="prompt"),))
    result = simulate(plan, _NoStandby)
    assert result.violations == []
    claimed, reported = (
        times(result.log, event) for event in ("cluster.claimed", "cluster.no_standby")
    )
    assert abs(reported[0] - claimed[0] - 30.0) < 0.5, "its clock drifts"
    assert len(reported) == len(claimed), "once"


@pytest.mark.timeout(3_600)
def test_as_many_turns_as_there_are_at_the_fault_meet_no_rate_limit() -> None:
    worlds: list[CrowdedRun] = []

    def make(plan: Plan, steps: Steps, state_dir: Path) -> Run:
        worlds.append(CrowdedRun(plan, steps, state_dir))
        return worlds[-1]

    result = simulate(make_crowded_plan(TURNS), make)
    assert result.violations == []
    assert worlds[0].streaming_at_death == TURNS, "turns were in flight"

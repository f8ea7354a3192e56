"""What may happen to a cluster beside what may happen to any daemon, by seed."""

from __future__ import annotations

import random
from typing import Final, Literal

from tests.simulation.plan import Action, Attach, Die, Plan, Write
from tests.simulation.schedules import LENGTH_S, make_plan

Which = Literal["holder", "standby"]


class CutDatabase(Action, frozen=True, kw_only=True):
    """Nothing gets through between a node and the database, and nothing is closed."""

    which: Which
    seconds: float
    off: bool
    """The other node and new proxies do not reach it either; the platform it does."""


class SlowDatabase(Action, frozen=True, kw_only=True):
    """Each piece takes so much longer."""

    which: Which
    delay_s: float
    seconds: float


class ResetDatabase(Action, frozen=True, kw_only=True):
    """The connections of a node to the database are reset, whatever is under way."""

    which: Which


class DatabaseAway(Action, frozen=True, kw_only=True):
    """The database crashes, and is there again."""

    seconds: float


class Move(Action, frozen=True, kw_only=True):
    """A person asks for the cluster to be moved to the other node."""


class StandbyDies(Action, frozen=True, kw_only=True):
    steps: int


ALONE_EACH: Final = 4
"""One seed in so many has one fault alone: how soon the cluster is served again is timed."""


def make_cluster_plan(seed: int) -> Plan:
    """Return the plan of a seed: that of one daemon, and faults of a cluster in it."""
    chance = random.Random(f"cluster {seed}")
    if seed % ALONE_EACH == 0:
        return Plan(seed=seed, actions=_alone(chance))
    actions = [*make_plan(seed).actions]
    actions += [
        _trouble(chance, round(chance.uniform(0.5, LENGTH_S), 2))
        for _ in range(chance.randrange(1, 5))
    ]
    return Plan(seed=seed, actions=tuple(sorted(actions, key=lambda one: one.at)))


def is_alone(plan: Plan) -> bool:
    return plan.seed % ALONE_EACH == 0


def _alone(chance: random.Random) -> tuple[Action, ...]:
    at = round(chance.uniform(8, 20), 3)
    fault: Action = chance.choice(
        (
            Die(at=at, steps=chance.randrange(300), down_s=chance.choice((0.5, 4.0))),
            CutDatabase(at=at, which="holder", seconds=12.0, off=False),
            CutDatabase(at=at, which="holder", seconds=12.0, off=True),
        )
    )
    sessions = [Attach(at=0.0, session=name) for name in ("boss", "mate")]
    writes = [
        Write(
            at=round(chance.uniform(1, 28), 2), chat="Alice", text=chance.choice(("prompt", "long"))
        )
        for _ in range(8)
    ]
    return (*sessions, *sorted([fault, *writes], key=lambda one: one.at))


def _trouble(chance: random.Random, at: float) -> Action:
    which: Which = "holder" if chance.random() < 0.8 else "standby"
    match chance.randrange(8):
        case 0 | 1:
            return CutDatabase(
                at=at,
                which=which,
                seconds=chance.choice((0.3, 1.2, 1.8, 2.4, 3.0, 8.0)),
                off=chance.random() < 0.3,
            )
        case 2:
            return SlowDatabase(
                at=at,
                which=which,
                delay_s=chance.choice((0.02, 0.1, 0.4, 0.9)),
                seconds=chance.choice((1.0, 4.0)),
            )
        case 3 | 4:
            return ResetDatabase(at=at, which=which)
        case 5:
            return DatabaseAway(at=at, seconds=chance.choice((0.1, 1.4, 3.0, 20.0, 70.0)))
        case 6:
            return Move(at=at)
        case _:
            return StandbyDies(at=at, steps=chance.randrange(100))

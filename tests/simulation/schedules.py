"""The plan of a seed: what happens at random, and what comes together.

Faults that matter alone are drawn one by one. Some promises break only where several things
meet within a second: those meetings are written down in ``compounds``, and a seed draws
when they happen, to whom, and how hard.
"""

from __future__ import annotations

import random
from typing import Final

from tests.simulation.compounds import COMPOUNDS
from tests.simulation.plan import (
    CHATS,
    HTTP_FAULTS,
    SESSIONS,
    Action,
    Attach,
    BadHttp,
    Comment,
    Crash,
    CutPlatform,
    Decide,
    Detach,
    Die,
    DropAll,
    FailingJournal,
    HandOver,
    Leave,
    Plan,
    Press,
    PushAgain,
    Recall,
    Send,
    SlowJournal,
    Write,
)

LENGTH_S: Final = 30.0
ACTIONS_MAX: Final = 26

COMMANDS: Final = (
    "/help",
    "/status",
    "/sessions",
    "/queue",
    "/queue drop 1",
    "/queue clear",
    "/use mate",
    "/use boss",
    "/use pal",
    "/new coder",
    "/pair",
    "/new coder",
    "/close coder",
    "/use -",
    "/why",
    "/replymode final",
    "/mode",
    "/commands",
    "/cancel",
)


def make_plan(seed: int) -> Plan:
    """Return the plan of a seed: the same each time, and on every machine."""
    chance = random.Random(f"plan {seed}")
    actions: list[Action] = [Attach(at=0.0, session="boss")]
    compounds = chance.choice((0, 1, 1, 2))
    for _ in range(compounds):
        actions += chance.choice(COMPOUNDS)(chance, round(chance.uniform(0.5, LENGTH_S), 2))
    for _ in range(chance.randrange(2 if compounds else 6, ACTIONS_MAX - 7 * compounds)):
        at = round(chance.uniform(0.0, LENGTH_S) ** 1.3 % LENGTH_S, 2)
        actions += _some(chance, at)
    return Plan(seed=seed, actions=tuple(sorted(actions, key=lambda one: one.at)))


def _some(chance: random.Random, at: float) -> list[Action]:
    kind = chance.random()
    if kind < 0.38:
        chat = chance.choice(CHATS)
        return [
            Write(
                at=round(at + number * chance.choice((0.0, 0.05, 0.4)), 2),
                chat=chat,
                text=_text(chance),
            )
            for number in range(chance.choice((1, 1, 2, 4)))
        ]
    if kind < 0.43:
        return [_beside_text(chance, at)]
    if kind < 0.54:
        return [Attach(at=at, session=chance.choice(SESSIONS))]
    if kind < 0.74:
        return [_peer_trouble(chance, at)]
    return [_trouble(chance, at)]


def _beside_text(chance: random.Random, at: float) -> Action:
    kind = chance.random()
    if kind < 0.5:
        return Send(at=at, chat=chance.choice(CHATS), kind=chance.choice(("image", "file")))
    return Comment(at=at) if kind < 0.7 else Decide(at=at, option=chance.randrange(2))


def _text(chance: random.Random) -> str:
    kind = chance.random()
    if kind < 0.3:
        return chance.choice(COMMANDS)
    if kind < 0.38:
        return "stop"
    if kind < 0.46:
        return "careful"
    return "long" if kind < 0.56 else "prompt"


def _peer_trouble(chance: random.Random, at: float) -> Action:
    match chance.randrange(7):
        case 0 | 1:
            return Detach(
                at=at,
                session=chance.choice(SESSIONS),
                after_bytes=chance.choice((0, 0, 3, 40, 400)),
            )
        case 2:
            return DropAll(at=at)
        case 3:
            return Recall(at=at, which=chance.randrange(10))
        case 4:
            return Press(at=at)
        case 5:
            return PushAgain(at=at, which=chance.randrange(10), times=chance.randrange(1, 4))
        case _:
            tool = chance.choice(("grant", "acquire", "return_to_dispatcher", "reclaim"))
            to = chance.choice(SESSIONS) if tool in {"grant", "acquire"} else None
            return HandOver(at=at, session=chance.choice(SESSIONS), tool=tool, to=to)


def _trouble(chance: random.Random, at: float) -> Action:
    match chance.randrange(10):
        case 0 | 1:
            return SlowJournal(
                at=at, seconds=chance.choice((0.3, 1.5, 4.5, 6.0)), batches=chance.randrange(1, 5)
            )
        case 2:
            return FailingJournal(at=at, batches=chance.randrange(1, 4))
        case 3 | 4:
            return BadHttp(
                at=at,
                kind=chance.choice(HTTP_FAULTS),
                seconds=chance.choice((0.2, 1.0, 5.0, 12.0)),
                calls=chance.randrange(1, 6),
                part=chance.choice(("", "", "cardkit", "messages", "reactions")),
            )
        case 5 | 6:
            return Crash(at=at, actor=chance.randrange(100), steps=chance.choice((0, 1, 4, 20)))
        case 7:
            return CutPlatform(at=at, after_bytes=chance.choice((0, 0, 10, 300)))
        case 8:
            return Leave(at=at, down_s=chance.choice((0.0, 1.0, 5.0)))
        case _:
            return Die(at=at, steps=chance.randrange(300), down_s=chance.choice((0.0, 0.5, 4.0)))

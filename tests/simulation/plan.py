"""What a seed stands for: who does what when, and what goes wrong.

A plan is data, so that a failing one can be made smaller, and printed.
"""

from __future__ import annotations

import random
from typing import Final, Literal

from msgspec import Struct

SESSIONS: Final = ("boss", "mate", "pal", "talker")
CHATS: Final = ("Alice", "Bob", "Team")
LENGTH_S: Final = 30.0
ACTIONS_MAX: Final = 26

HttpFaultKind = Literal[
    "slow", "lost before", "lost after", "hangs", "hangs after", "twice", "late", "refused"
]
HTTP_FAULTS: Final[tuple[HttpFaultKind, ...]] = (
    "slow",
    "lost before",
    "lost after",
    "hangs",
    "hangs after",
    "twice",
    "late",
    "refused",
)


class Action(Struct, frozen=True, kw_only=True, tag=True):
    """Something that happens at a time, in seconds since the start."""

    at: float


class Write(Action, frozen=True, kw_only=True):
    """A person writes in a chat."""

    chat: str
    text: str


class Recall(Action, frozen=True, kw_only=True):
    """A person takes back one of the messages so far."""

    which: int


class Press(Action, frozen=True, kw_only=True):
    """A person presses Stop on the newest card that has the button."""


class PushAgain(Action, frozen=True, kw_only=True):
    """The platform pushes an event again, though it may have been acked."""

    which: int
    times: int


class Attach(Action, frozen=True, kw_only=True):
    session: str


class Detach(Action, frozen=True, kw_only=True):
    """A proxy goes: its connection is cut after so many more bytes from the daemon."""

    session: str
    after_bytes: int


class DropAll(Action, frozen=True, kw_only=True):
    """Every proxy's connection is cut at once; all come back."""


class HandOver(Action, frozen=True, kw_only=True):
    session: str
    tool: str
    to: str | None


class CutPlatform(Action, frozen=True, kw_only=True):
    """The long connection is cut after so many more bytes from the platform."""

    after_bytes: int


class SlowJournal(Action, frozen=True, kw_only=True):
    """The next batches take so long, half of it before their commit."""

    seconds: float
    batches: int


class FailingJournal(Action, frozen=True, kw_only=True):
    batches: int


class BadHttp(Action, frozen=True, kw_only=True):
    """The next calls to the platform meet this."""

    kind: HttpFaultKind
    seconds: float
    calls: int
    part: str
    """Only calls with this in their path; empty: all."""


class Crash(Action, frozen=True, kw_only=True):
    """An actor crashes at the checkpoint that comes *steps* of its own later."""

    actor: int
    steps: int


class Die(Action, frozen=True, kw_only=True):
    """The process is gone, *steps* of the loop later; it starts again after a while."""

    steps: int
    down_s: float


class Leave(Action, frozen=True, kw_only=True):
    """SIGTERM; the daemon starts again when it has ended."""

    down_s: float


class Plan(Struct, frozen=True, kw_only=True):
    seed: int
    """Also of the scheduler, of the daemon's randomness, and of how sessions behave."""
    actions: tuple[Action, ...]


COMMANDS: Final = (
    "/help",
    "/status",
    "/sessions",
    "/queue",
    "/queue drop 1",
    "/use mate",
    "/use boss",
    "/use pal",
    "/new coder",
    "/pair",
)


def make_plan(seed: int) -> Plan:
    """Return the plan of a seed: the same each time, and on every machine."""
    chance = random.Random(f"plan {seed}")
    actions: list[Action] = [Attach(at=0.0, session="boss")]
    for _ in range(chance.randrange(6, ACTIONS_MAX)):
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
    if kind < 0.52:
        return [Attach(at=at, session=chance.choice(SESSIONS))]
    if kind < 0.74:
        return [_peer_trouble(chance, at)]
    return [_trouble(chance, at)]


def _text(chance: random.Random) -> str:
    kind = chance.random()
    if kind < 0.3:
        return chance.choice(COMMANDS)
    if kind < 0.38:
        return "stop"
    return "prompt"


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
            return Crash(at=at, actor=chance.randrange(100), steps=chance.randrange(40))
        case 7:
            return CutPlatform(at=at, after_bytes=chance.choice((0, 0, 10, 300)))
        case 8:
            return Leave(at=at, down_s=chance.choice((0.0, 1.0, 5.0)))
        case _:
            return Die(at=at, steps=chance.randrange(300), down_s=chance.choice((0.0, 0.5, 4.0)))

"""Things that come together within a second or two, each a way in which promises broke once."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, Literal

from tests.simulation.plan import (
    CHATS,
    SESSIONS,
    Action,
    Attach,
    Backlog,
    BadHttp,
    Crash,
    Crowd,
    CutPlatform,
    Decide,
    Detach,
    Die,
    DropAll,
    Flood,
    HandOver,
    HttpFaultKind,
    Leave,
    Recall,
    Send,
    SlowJournal,
    Visit,
    Write,
)

SILENT_S: Final = 12.0
"""Until a session may send a hundred requests at once."""
Compound = Callable[[random.Random, float], list[Action]]
"""``compound(chance, at)``: what happens around that time."""


def _after(at: float, seconds: float) -> float:
    return round(at + seconds, 3)


def _burst(chance: random.Random, at: float, count: int, text: str = "prompt") -> list[Action]:
    chat, apart_s = chance.choice(CHATS), chance.choice((0.0, 0.01, 0.1))
    return [Write(at=_after(at, number * apart_s), chat=chat, text=text) for number in range(count)]


def slow_commit_while_offering(chance: random.Random, at: float) -> list[Action]:
    """An offer is in a commit that takes longer than anybody waits; its session may leave."""
    actions = _burst(chance, at, chance.randrange(1, 4), chance.choice(("prompt", "long")))
    slow_at = _after(at, chance.uniform(0.0, 0.2))
    actions.append(
        SlowJournal(
            at=slow_at, seconds=chance.choice((4.5, 6.0, 9.0)), batches=chance.randrange(1, 4)
        )
    )
    if chance.random() < 0.5:
        gone_at = _after(slow_at, chance.uniform(0.0, 8.0))
        actions.append(Detach(at=gone_at, session=chance.choice(SESSIONS), after_bytes=0))
    return actions


def busy_ownership(chance: random.Random, at: float) -> list[Action]:
    """Changes of the lease wait for slow commits while lanes ask for their rows."""
    batches = chance.randrange(2, 7)
    actions: list[Action] = [
        SlowJournal(at=at, seconds=chance.choice((1.2, 2.5, 3.5)), batches=batches)
    ]
    actions += _burst(chance, _after(at, chance.uniform(-0.5, 0.5)), chance.randrange(1, 4))
    for _ in range(chance.randrange(1, 4)):
        when = _after(at, chance.uniform(-0.1, 3.0))
        if chance.random() < 0.5:
            to = chance.choice(SESSIONS)
            actions.append(HandOver(at=when, session="boss", tool="acquire", to=to))
        else:
            command = chance.choice(("/use mate", "/use boss", "/use -"))
            actions.append(Write(at=when, chat=chance.choice(CHATS), text=command))
    return actions


def read_again(chance: random.Random, at: float) -> list[Action]:
    """A command that counts what waits is in hand while its intake has to read again."""
    chat = chance.choice(CHATS)
    waits = [
        Write(at=_after(at, number * 0.01), chat=chat, text="long" if number == 0 else "prompt")
        for number in range(chance.randrange(4, 7))
    ]
    drop_at = _after(at, chance.uniform(0.5, 2.0))
    slow_s = chance.choice((0.1, 0.4, 1.0))
    again_at = _after(drop_at, chance.uniform(0.0, 4 * slow_s))
    again: Action
    match chance.randrange(4):
        case 0 | 1:
            again = Crash(at=again_at, actor=0, steps=0, named="connection default")
        case 2:
            again = Crash(at=again_at, actor=0, steps=0, named="intake default")
        case _:
            again = Die(at=again_at, steps=chance.randrange(60), down_s=0.0)
    slow = SlowJournal(at=_after(drop_at, -0.02), seconds=slow_s, batches=chance.randrange(4, 12))
    return [*waits, Write(at=drop_at, chat=chat, text="/queue drop 1"), slow, again]


def many_ends(chance: random.Random, at: float) -> list[Action]:
    """Ownership waits for a commit, its mailbox is full, and many links end at once.

    No link alone may fill it: all sessions have been silent for a while, and flood together.
    """
    slow_at = _after(at, SILENT_S)
    return [
        *(Attach(at=at, session=name) for name in SESSIONS),
        Visit(at=at, sessions=chance.randrange(2, 8)),
        SlowJournal(at=slow_at, seconds=chance.choice((2.5, 3.5)), batches=chance.randrange(1, 4)),
        HandOver(at=slow_at, session="boss", tool="acquire", to="talker"),
        *(Flood(at=_after(slow_at, 0.05), session=name, acks=120) for name in SESSIONS),
        DropAll(at=_after(slow_at, chance.uniform(0.2, 0.6))),
    ]


def many_bound(chance: random.Random, at: float) -> list[Action]:
    """Many sessions that chats are bound to come, and come again at once."""
    actions: list[Action] = [Crowd(at=0.0, sessions=chance.randrange(8, 25)), DropAll(at=at)]
    if chance.random() < 0.5:
        actions.append(Write(at=_after(at, 1.5), chat="Alice", text="/use boss"))
    return actions


def backlog_at_start(chance: random.Random, at: float) -> list[Action]:
    """A process ends; the next one finds much that is unread, on a slow disk."""
    down_s = 1.0
    ends: Action = (
        Die(at=at, steps=0, down_s=down_s) if chance.random() < 0.6 else Leave(at=at, down_s=down_s)
    )
    rows = chance.randrange(30, 60)
    return [
        ends,
        Backlog(at=at, rows=rows),
        SlowJournal(
            at=_after(at, 0.6),
            seconds=chance.choice((0.3, 0.7, 1.2)),
            batches=rows,
        ),
        *_burst(chance, _after(at, chance.uniform(2.0, 9.0)), 2),
        *_burst(chance, _after(at, 20.0), 1),  # nothing is healed before
    ]


def commands_at_the_end(chance: random.Random, at: float) -> list[Action]:
    """Answers of commands are under way while the process ends."""
    texts = ("/help", "/use boss", "/sessions", "/status", "/queue", "/new coder")
    writes: list[Action] = [
        Write(
            at=_after(at, chance.uniform(0.0, 0.3)),
            chat=chance.choice(CHATS),
            text=chance.choice(texts),
        )
        for _ in range(chance.randrange(2, 6))
    ]
    kind: HttpFaultKind = chance.choice(("slow", "late", "lost after", "hangs"))
    ends_at = _after(at, chance.uniform(0.1, 1.5))
    ends: Action = (
        Die(at=ends_at, steps=chance.randrange(100), down_s=chance.choice((0.0, 2.0)))
        if chance.random() < 0.5
        else Leave(at=ends_at, down_s=chance.choice((0.0, 2.0)))
    )
    slow = BadHttp(
        at=_after(at, -0.01),
        kind=kind,
        seconds=chance.choice((0.5, 1.5)),
        calls=chance.randrange(1, 8),
        part="messages",
    )
    return [slow, *writes, ends]


def mark_under_way(chance: random.Random, at: float) -> list[Action]:
    """The Typing mark's own call is slow or lost while its turn, or the process, ends."""
    actions = _burst(chance, at, chance.randrange(1, 4))
    actions.append(
        BadHttp(
            at=_after(at, -0.01),
            kind=chance.choice(("slow", "late", "hangs after", "lost after")),
            seconds=chance.choice((1.0, 5.0, 12.0)),
            calls=chance.randrange(1, 4),
            part="reactions",
        )
    )
    ends_at = _after(at, chance.uniform(0.1, 3.0))
    match chance.randrange(3):
        case 0:
            actions.append(Die(at=ends_at, steps=chance.randrange(60), down_s=0.0))
        case 1:
            actions.append(Write(at=ends_at, chat=chance.choice(CHATS), text="stop"))
        case _:
            pass
    return actions


def stop_without_a_card(chance: random.Random, at: float) -> list[Action]:
    """The platform takes no card for a turn that is then stopped by a word."""
    chat = chance.choice(("Alice", "Bob"))
    return [
        BadHttp(
            at=_after(at, -0.01),
            kind="denied",
            seconds=0.0,
            calls=chance.randrange(1, 3),
            part="cardkit",
        ),
        Write(at=at, chat=chat, text="long"),
        Write(at=_after(at, chance.uniform(0.2, 4.0)), chat=chat, text="stop"),
    ]


def end_in_the_middle_of_calls(chance: random.Random, at: float) -> list[Action]:
    """Cards stream to a slow platform while the process is asked to leave, or turns are stopped."""
    chats = chance.sample(("Alice", "Bob"), chance.randrange(1, 3))
    actions: list[Action] = [Write(at=at, chat=chat, text="long") for chat in chats]
    actions.append(Attach(at=_after(at, -0.4), session="mate"))
    actions.append(
        BadHttp(
            at=_after(at, chance.uniform(0.3, 2.0)),
            kind=chance.choice(("slow", "late")),
            seconds=chance.choice((0.15, 0.5, 1.0, 2.0)),
            calls=40,
            part="cardkit",
        )
    )
    ends_at = _after(at, chance.uniform(2.0, 6.0))
    match chance.randrange(4):
        case 0 | 1:
            actions.append(Leave(at=ends_at, down_s=0.0))
        case 2:
            actions.append(Write(at=ends_at, chat=chats[0], text="stop"))
        case _:
            named = chance.choice(("lane", "lanes", "ownership"))
            actions.append(
                Crash(at=ends_at, actor=chance.randrange(3), steps=chance.randrange(4), named=named)
            )
    return actions


def platform_comes_and_goes(chance: random.Random, at: float) -> list[Action]:
    """The long connection is cut again and again while people write."""
    actions = _burst(chance, at, chance.randrange(2, 5))
    for _ in range(chance.randrange(2, 4)):
        when = _after(at, chance.uniform(0.0, 2.0))
        actions.append(CutPlatform(at=when, after_bytes=chance.choice((0, 10, 300))))
    return actions


def permission_under_way(chance: random.Random, at: float) -> list[Action]:
    """A request for permission is open while somebody presses, the process ends, or all is slow."""
    chat = chance.choice(CHATS)
    decide_at = _after(at, chance.uniform(0.1, 4.0))
    actions: list[Action] = [
        Write(at=at, chat=chat, text="careful"),
        Decide(at=decide_at, option=chance.randrange(2)),
        Decide(at=_after(decide_at, chance.choice((0.0, 0.5))), option=chance.randrange(2)),
    ]
    near = _after(decide_at, chance.uniform(-0.5, 0.3))
    match chance.randrange(5):
        case 0:
            actions.append(Die(at=near, steps=chance.randrange(60), down_s=0.0))
        case 1:
            actions.append(Leave(at=near, down_s=0.0))
        case 2:
            actions.append(Crash(at=near, actor=0, steps=0, named="approvals"))
        case 3:
            actions.append(Write(at=near, chat=chat, text="stop"))
        case _:
            seconds, batches = chance.choice((0.5, 1.5, 4.5)), chance.randrange(1, 4)
            actions.append(SlowJournal(at=near, seconds=seconds, batches=batches))
    return actions


def pictures_under_way(chance: random.Random, at: float) -> list[Action]:
    """What messages carry is slow to come, while text follows and the process may end."""
    chat = chance.choice(CHATS)
    actions: list[Action] = [
        BadHttp(
            at=_after(at, -0.01),
            kind=chance.choice(("slow", "hangs", "lost before", "late")),
            seconds=chance.choice((0.5, 3.0, 9.0)),
            calls=chance.randrange(1, 4),
            part="resources",
        )
    ]
    for number in range(chance.randrange(1, 4)):
        kind: Literal["image", "file"] = chance.choice(("image", "file"))
        actions.append(Send(at=_after(at, number * 0.4), chat=chat, kind=kind))
    text_at = _after(at, chance.uniform(0.1, 3.0))
    actions.append(Write(at=text_at, chat=chat, text="prompt"))
    match chance.randrange(4):
        case 0:
            actions.append(Die(at=text_at, steps=chance.randrange(100), down_s=0.5))
        case 1:
            actions.append(Crash(at=text_at, actor=0, steps=0, named="intake"))
        case 2:
            actions.append(Recall(at=text_at, which=-2))
        case _:
            pass
    return actions


COMPOUNDS: Final[tuple[Compound, ...]] = (
    slow_commit_while_offering,
    slow_commit_while_offering,
    busy_ownership,
    busy_ownership,
    read_again,
    many_ends,
    many_bound,
    backlog_at_start,
    commands_at_the_end,
    mark_under_way,
    stop_without_a_card,
    end_in_the_middle_of_calls,
    platform_comes_and_goes,
    permission_under_way,
    pictures_under_way,
)

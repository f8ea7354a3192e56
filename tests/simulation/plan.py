"""What a seed stands for: who does what when, and what goes wrong.

A plan is data, so that a failing one can be made smaller, and printed.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

SESSIONS: Final = ("boss", "mate", "pal", "talker")
PROMPTS: Final = ("prompt", "long", "careful", "full")
"""Texts that go to a session, each with its number; a long one has a long turn, in a careful
one the session asks for permission, in a full one it sends all that a card shows."""
CHATS: Final = ("Alice", "Bob", "Team")

HttpFaultKind = Literal[
    "slow",
    "lost before",
    "lost after",
    "hangs",
    "hangs after",
    "twice",
    "late",
    "refused",
    "denied",
    "code",
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
    "denied",
)


class Action(Struct, frozen=True, kw_only=True, tag=True):
    """Something that happens at a time, in seconds since the start."""

    at: float


class Write(Action, frozen=True, kw_only=True):
    """A person writes in a chat."""

    chat: str
    text: str


class Send(Action, frozen=True, kw_only=True):
    """A person sends a picture, or a file."""

    chat: str
    kind: Literal["image", "file"]


class Comment(Action, frozen=True, kw_only=True):
    """A person mentions the bot in a document."""


class Decide(Action, frozen=True, kw_only=True):
    """A person presses a button of the newest request for permission that is open."""

    option: int


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


class Visit(Action, frozen=True, kw_only=True):
    """So many sessions come that nobody writes to; once they are cut they stay away."""

    sessions: int


class Crowd(Action, frozen=True, kw_only=True):
    """So many sessions are there from the start, each bound to a chat where nobody writes."""

    sessions: int


class Backlog(Action, frozen=True, kw_only=True):
    """The next start finds so many rows in the journal that no intake has read."""

    rows: int


class Flood(Action, frozen=True, kw_only=True):
    """A session acks so many rows that it was never given."""

    session: str
    acks: int


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
    """Only calls in whose path this expression is found; empty: all."""
    code: int = 0
    """What the platform answers instead of doing it (of kind ``code``)."""


class Crash(Action, frozen=True, kw_only=True):
    """An actor crashes at the checkpoint that comes *steps* of its own later."""

    actor: int
    steps: int
    named: str = ""
    """Only actors whose name begins so; *actor* counts among them."""


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

"""What a message asks of the daemon itself: a command, a stop word, or nothing.

Both languages. A message that is neither is a prompt and belongs to the session.
"""

from __future__ import annotations

import re
import string
from collections.abc import Collection, Iterable
from enum import StrEnum
from typing import Final

from msgspec import Struct

STOP_WORDS: Final = frozenset(
    {
        "stop",
        "abort",
        "cancel",
        "interrupt",
        "halt",
        "please stop",
        "stop please",
        "stop it",
        "停止",
        "停下",
        "停",
        "中断",
        "取消",
        "暂停",
        "停一下",
        "请停止",
        "别说了",
        "/stop",
        "/abort",
        "/cancel",
    }
)
MENTION: Final = re.compile(r"@_(?:user_[0-9]+|all)(?![0-9A-Za-z_])", re.ASCII)
"""How the platform writes a mention into a text; the names are beside it."""

_FULL_WIDTH: Final = "".join(
    map(chr, (*range(0xFF01, 0xFF10), *range(0xFF1A, 0xFF21), *range(0xFF3B, 0xFF41)))
) + "".join(map(chr, (*range(0xFF5B, 0xFF66), *range(0x3001, 0x3004), *range(0x3008, 0x3012))))
_TRAILING: Final = (
    string.punctuation + _FULL_WIDTH + "〔〕〖〗〜…—·～“”‘’" + string.whitespace + "\u3000"
)
_STOP_CHARACTERS_MAX: Final = 64
"""Longer texts are no stop word whatever they end with."""


_ESCAPED: Final = re.compile(r"(^|\s)//(?=\S)")


class Name(StrEnum):
    SESSIONS = "sessions"
    USE = "use"
    CANCEL = "cancel"
    STATUS = "status"
    REPLYMODE = "replymode"
    QUEUE = "queue"
    HELP = "help"
    PAIR = "pair"
    NEW = "new"
    CLOSE = "close"
    MODE = "mode"
    MODEL = "model"
    EFFORT = "effort"
    COMMANDS = "commands"
    DOCTOR = "doctor"
    WHY = "why"
    RESUME = "resume"


class StopWord(Struct, frozen=True):
    """Cancel what runs in this chat; no answer where its card shows it."""


class Command(Struct, frozen=True):
    """Always answered by a text. ``args`` are the words after the name, as written."""

    name: Name
    args: tuple[str, ...] = ()

    @property
    def repeatable(self) -> bool:
        """Whether carrying it out twice is the same as once: not where it counts in a list."""
        return not (self.name in (Name.QUEUE, Name.RESUME) and self.args)

    @property
    def beside(self) -> bool:
        """Whether it may take long: prompts of its place wait for it, commands don't."""
        return self.name in (Name.NEW, Name.RESUME)


class PromptText(Struct, frozen=True):
    """For the session."""

    escaped: bool = False
    """It begins with ``//``: the session is to have it with one of them."""


_NAMES: Final = {f"/{name}": name for name in Name} | {"/stop": Name.CANCEL}


def parse(text: str, *, bot_keys: Collection[str] | None = None) -> StopWord | Command | PromptText:
    """Read a message's own text, in which mentions stand as the platform writes them.

    *bot_keys* are the mentions of the bot itself: only they may stand before a
    command. None takes every mention for one of the bot.
    """
    own = _without_mentions(text, bot_keys).split(maxsplit=1)
    if own and own[0].startswith("//") and own[0] != "//":
        return PromptText(escaped=True)
    if own and own[0].startswith("/"):
        command = _command(own[0].lower(), own[1].split() if len(own) > 1 else [])
        if command is not None:
            return command
    words = _normalised(_without_mentions(text, None))
    if words in STOP_WORDS:
        name = _NAMES.get(words)
        return StopWord() if name is None else Command(name)
    return PromptText()


def addressed(markdown: str, mentions: Collection[str]) -> str:
    """Take *mentions* away where they stand before a word that begins with a slash."""
    rest = markdown.lstrip()
    while mention := next(filter(rest.startswith, mentions), None):
        rest = rest.removeprefix(mention).lstrip()
    return rest if rest.startswith("/") else markdown


def unescaped(markdown: str) -> str:
    """Take one slash off the first word that begins with two."""
    return _ESCAPED.sub(r"\1/", markdown, count=1)


def _command(word: str, args: list[str]) -> Command | None:
    if word == "/ss":
        return Command(Name.USE, tuple(args)) if args else Command(Name.SESSIONS)
    name = _NAMES.get(word)
    return None if name is None else Command(name, tuple(args))


def _without_mentions(text: str, keys: Collection[str] | None) -> str:
    return MENTION.sub(lambda at: " " if keys is None or at[0] in keys else at[0], text)


def _normalised(text: str) -> str:
    words = " ".join(text.lower().rstrip(_TRAILING).split())
    return words if len(words) <= _STOP_CHARACTERS_MAX else ""


# ── aliases ─────────────────────────────────────────────────────────────────


class Matched(Struct, frozen=True):
    alias: str


class NoMatch(Struct, frozen=True):
    query: str


class Ambiguous(Struct, frozen=True):
    query: str
    candidates: tuple[str, ...]


def match_alias(query: str, aliases: Iterable[str]) -> Matched | NoMatch | Ambiguous:
    """Find the session meant by *query*: exact, else unique prefix, else unique substring.

    Case does not count. Candidates keep the order of *aliases*.
    """
    wanted = query.strip().lower()
    known = tuple(dict.fromkeys(aliases))
    if not wanted:
        return NoMatch(query)
    for meant in (
        [alias for alias in known if alias.lower() == wanted],
        [alias for alias in known if alias.lower().startswith(wanted)],
        [alias for alias in known if wanted in alias.lower()],
    ):
        if len(meant) == 1:
            return Matched(meant[0])
        if meant:
            return Ambiguous(query, tuple(meant))
    return NoMatch(query)

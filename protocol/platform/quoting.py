"""What a message refers to, as Markdown: the message it quotes, or those it forwards."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from protocol.ids import MessageId
from protocol.platform.content import read_content
from protocol.platform.events import MessageReceived
from protocol.platform.outcomes import FoundMessage

QUOTE_CHARACTERS_MAX: Final = 4_000
FORWARDED_MESSAGES_MAX: Final = 100
_FORWARDED_CHARACTERS_MAX: Final = 30_000


def quoted_id(message: MessageReceived) -> MessageId | None:
    """Return the message this one quotes.

    In a topic each message names the topic's first one, which quotes nothing.
    """
    if message.thread_id is not None and message.parent_id == message.root_id:
        return None
    return message.parent_id


def forwards(message: MessageReceived) -> bool:
    return message.message_type == "merge_forward"


def with_quote(markdown: str, quoted: FoundMessage) -> str:
    """Put what is quoted above the message."""
    return quoted_text(_markdown(quoted)) + markdown


def quoted_text(text: str) -> str:
    """Return a text as a quote to stand above another one; nothing of nothing."""
    cut = _cut(text, QUOTE_CHARACTERS_MAX)
    lines = "\n".join(f"> {line}".rstrip() for line in cut.splitlines())
    return f"{lines}\n\n" if lines else ""


def with_forwarded(markdown: str, found: Iterable[FoundMessage], of: MessageId) -> str:
    """Put the forwarded messages below the words that name them, each a quote of its own."""
    parts = [markdown]
    left = _FORWARDED_CHARACTERS_MAX
    inner = [one for one in found if one.forwarded_in == of]
    for one in inner[:FORWARDED_MESSAGES_MAX]:
        text = _cut(_markdown(one), min(left, QUOTE_CHARACTERS_MAX))
        left -= len(text)
        parts.append("\n".join(f"> {line}".rstrip() for line in text.splitlines()) or ">")
        if left <= 0:
            break
    left_out = len(inner) - (len(parts) - 1)
    if left_out:
        parts.append(f"[{left_out} more messages]")
    return "\n\n".join(parts)


def _markdown(message: FoundMessage) -> str:
    return read_content(message.message_type, message.content, message.mentions).markdown


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[:characters]}…"

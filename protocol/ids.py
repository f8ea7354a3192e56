"""Names for the ids that travel through the daemon, and how our own are minted.

The platform's ids are opaque to us. Ours are minted from random bytes that the
caller brings, so that tests can choose them.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, Literal, NewType

AccountId = NewType("AccountId", str)
"""Name of one Feishu app in the configuration, ``default`` when there is one."""
ChatId = NewType("ChatId", str)
PlaceKey = NewType("PlaceKey", str)
"""A chat, or one topic of it, as one account sees it: what is bound to a session. See
:func:`place_key`."""
MessageId = NewType("MessageId", str)
OpenId = NewType("OpenId", str)
EventId = NewType("EventId", str)
CardId = NewType("CardId", str)
SessionId = NewType("SessionId", str)
"""What a proxy calls its agent session; 1 to 128 of ``[A-Za-z0-9._:-]``."""
TurnId = NewType("TurnId", str)
ConnectionId = NewType("ConnectionId", int)
"""One TCP connection of a proxy, counted from 1 in one run of a daemon."""
RowId = NewType("RowId", int)
"""One inbound row of the journal; rising in order of receipt."""

ChatType = Literal["p2p", "group"]
"""A person's chat with the bot, or one of several people."""

TURN_ID_BYTES: Final = 8


PLATFORM_ID: Final = r"\A[A-Za-z0-9_=:-][A-Za-z0-9_.=:-]{0,255}\Z"
"""The form of the platform's ids. They name directories and stand in paths of requests, so
none may lead elsewhere: no separator, no dot in front."""
_platform_id: Final = re.compile(PLATFORM_ID)


def is_platform_id(text: str) -> bool:
    """Return whether *text* has the form of an id of the platform."""
    return _platform_id.fullmatch(text) is not None


def turn_id(random_bytes: bytes) -> TurnId:
    """Mint a turn id from :data:`TURN_ID_BYTES` random bytes."""
    return TurnId(f"turn_{random_bytes.hex()}")


DEFAULT_ACCOUNT: Final = AccountId("default")


def place_key(account: AccountId, chat_id: ChatId, topic: str | None = None) -> PlaceKey:
    """Return the place's name in bindings and status: bare for the account ``default``.

    *topic* is the ``thread_id`` of a topic that is a place of its own.
    """
    chat = chat_id if account == DEFAULT_ACCOUNT else f"{account}/{chat_id}"
    return PlaceKey(chat if topic is None else f"{chat}#{topic}")


def split_place(place: PlaceKey) -> tuple[AccountId, ChatId, str | None]:
    """Return account, chat and topic of a place; no id has a slash or a hash sign in it."""
    chat, _, topic = place.partition("#")
    account, _, chat_id = chat.rpartition("/")
    return AccountId(account or DEFAULT_ACCOUNT), ChatId(chat_id), topic or None


def chat_of(place: PlaceKey) -> PlaceKey:
    """Return the chat that a topic without a binding of its own follows; a chat is its own."""
    return PlaceKey(place.partition("#")[0])


def idempotency_key(*parts: str | int) -> str:
    """Return the ``uuid`` of one send: the same parts always give the same key.

    The platform takes 50 characters at most, so long parts are digested.
    """
    digest = hashlib.blake2b("\x00".join(map(str, parts)).encode(), digest_size=16)
    return f"larkd-{digest.hexdigest()}"

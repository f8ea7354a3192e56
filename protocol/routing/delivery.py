"""Inbound rows: what an accepted event becomes, and the states it goes through.

``received`` (committed; the platform may be acked) → ``ready`` (gated, normalised)
→ ``offered`` (to one live session, with its connection, epoch and attempt) →
``delivered`` (acked) → ``answered``. Aside: ``refused`` by the gate, ``command``
handled by the daemon, ``expired``, and ``damaged``: set aside, never retried.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal

from msgspec import Struct

from protocol.ids import AccountId, ChatId, EventId, MessageId, OpenId, RowId, SessionId
from protocol.wire.messages import Attachment


class RowState(StrEnum):
    RECEIVED = "received"
    READY = "ready"
    OFFERED = "offered"
    DELIVERED = "delivered"
    ANSWERED = "answered"
    REFUSED = "refused"
    COMMAND = "command"
    EXPIRED = "expired"
    DAMAGED = "damaged"


MESSAGE_IDS: Final = "message_ids"
"""The key of ``meta`` that names all messages of one prompt, in order, joined by commas."""

CLOSED_STATES = frozenset(
    {RowState.ANSWERED, RowState.REFUSED, RowState.COMMAND, RowState.EXPIRED, RowState.DAMAGED}
)
"""States nothing moves a row out of; such rows are pruned by age."""

EventKind = Literal["message", "card_action", "recalled", "comment", "other"]


class Prepared(Struct, frozen=True, kw_only=True):
    """A row after gate and normalisation: what a session is given of it.

    ``meta`` holds the keys of the wire contract (``kind``, ``account``,
    ``chat_id``, ``message_id``, ``chat_type``, ``sender_id`` …), all strings.
    """

    chat_id: ChatId
    message_id: MessageId
    sender_id: OpenId
    chat_type: Literal["p2p", "group"]
    content: str
    meta: dict[str, str]
    attachments: tuple[Attachment, ...] = ()
    topic: str | None = None
    """The ``thread_id`` of the topic it is of, where that is a place of its own."""

    @property
    def message_ids(self) -> tuple[MessageId, ...]:
        """The messages it is of, in order; more than one where several are one prompt."""
        ids = self.meta.get(MESSAGE_IDS)
        return tuple(map(MessageId, ids.split(","))) if ids else (self.message_id,)


class Inbound(Struct, frozen=True, kw_only=True):
    """One event as it was received: the journal's row before it is prepared."""

    row_id: RowId
    account: AccountId
    event_id: EventId
    kind: EventKind
    payload: bytes
    received_at_ms: int


class Offer(Struct, frozen=True, kw_only=True):
    """One row handed to one connection of one session, committed as offered."""

    row_id: RowId
    account: AccountId
    event_id: EventId
    attempt: int
    lease_epoch: int
    dispatched_to: SessionId | None = None
    """The session its chat was bound to; None: it follows the channel's owner."""
    prepared: Prepared

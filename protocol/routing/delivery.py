"""Rows of stored events: what an accepted event becomes, and the states it goes through.

``received`` (committed; the platform may be acked) → ``ready`` (gated, normalised)
→ ``offered`` (to one live session, with its connection, epoch and attempt) →
``delivered`` (acked) → ``answered``. Aside: ``refused`` by the gate, ``command``
handled by the daemon, ``expired``, and ``damaged``: set aside, never retried.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from msgspec import Struct

from protocol.ids import (
    AccountId,
    ChatId,
    ChatType,
    EventId,
    MessageId,
    OpenId,
    RowId,
    SessionId,
    TurnId,
)
from protocol.routing.roster import ReplyMode
from protocol.wire.messages import Attachment, Deliver


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


CLOSED_STATES = frozenset(
    {RowState.ANSWERED, RowState.REFUSED, RowState.COMMAND, RowState.EXPIRED, RowState.DAMAGED}
)
"""States nothing moves a row out of; such rows are pruned by age."""

EventKind = Literal["message", "card_action", "recalled", "comment", "other"]


class Prompt(Struct, frozen=True, kw_only=True):
    """A row after gate and normalisation: what a session is given of it."""

    kind: str
    """``message``, ``doc_comment`` …: what ``meta`` calls it."""
    chat_id: ChatId
    message_id: MessageId
    sender_id: OpenId
    chat_type: ChatType
    content: str
    by_admin: bool = False
    """Proxies take a typed answer to a question without a turn from an admin alone."""
    create_time_ms: int | None = None
    thread_id: str | None = None
    parent_id: MessageId | None = None
    root_id: MessageId | None = None
    details: dict[str, str] = {}
    """Keys of ``meta`` that only this kind has."""
    joined: tuple[MessageId, ...] = ()
    """All messages it is of, in order, where several are one prompt."""
    attachments: tuple[Attachment, ...] = ()
    topic: str | None = None
    """The ``thread_id`` of the topic it is of, where that is a place of its own."""

    @property
    def message_ids(self) -> tuple[MessageId, ...]:
        """The messages it is of, in order; more than one where several are one prompt."""
        return self.joined or (self.message_id,)


class StoredEvent(Struct, frozen=True, kw_only=True):
    """One event as it was received: a row of the journal, committed and acked."""

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
    prompt: Prompt
    reply_mode: ReplyMode | None = None
    """Of the session, as ownership knows it; None: as configured for all."""
    more: bool = True
    """Whether another row may be ready for the session; what becomes ready later wakes it."""


def deliver(offer: Offer, turn_id: TurnId) -> Deliver:
    """Return the message that gives a session the row."""
    return Deliver(
        event_id=offer.event_id,
        turn_id=turn_id,
        attempt=offer.attempt,
        lease_epoch=offer.lease_epoch,
        chat_id=offer.prompt.chat_id,
        content=offer.prompt.content,
        meta=meta(offer.account, offer.prompt),
        attachments=list(offer.prompt.attachments),
    )


def meta(account: AccountId, prompt: Prompt) -> dict[str, str]:
    """Return the keys of the wire contract, all strings; those that are not known are absent."""
    created_ms = prompt.create_time_ms
    known = {
        "kind": prompt.kind,
        "account": account,
        "chat_id": prompt.chat_id,
        "message_id": prompt.message_id,
        "chat_type": prompt.chat_type,
        "sender_id": prompt.sender_id,
        "sender_role": "admin" if prompt.by_admin else None,
        "create_time": None if created_ms is None else str(created_ms),
        "thread_id": prompt.thread_id,
        "parent_id": prompt.parent_id,
        "root_id": prompt.root_id,
        "message_ids": ",".join(prompt.joined) or None,
    }
    return {key: value for key, value in known.items() if value is not None} | prompt.details

"""The events that the journal's benches store, and one question to the journal."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import trio

from actors.kit.mailbox import Answer, Reply, ask
from actors.messages import journal
from protocol.ids import (
    AccountId,
    ChatId,
    ConnectionId,
    EventId,
    MessageId,
    OpenId,
    RowId,
    SessionId,
)
from protocol.routing.delivery import Prompt, RowState

MAILBOX_MESSAGES = 256
ANSWER_WITHIN_S = 30.0
PAYLOAD_BYTES = 900
"""A text message of some 100 characters, as the platform sends it."""
MS = 1_000.0
ROUNDS = 5
"""Stores are measured in turns, so that the machine's moods meet all of them alike."""

Tx = trio.MemorySendChannel[journal.JournalMessage]
Build = Callable[[Reply[Any]], journal.JournalMessage]

NOBODY: Reply[Any] = Reply(Answer())
CHANCE = random.Random(7)


def append(number: int | str, reply: Reply[Any]) -> journal.Append:
    return journal.Append(
        account=AccountId("default"),
        event_id=EventId(f"5e3702a84e847582be8db7fb73283c{number:>08}"),
        message_key=f"om_dc13264520392913993dd051dba2{number:>08}",
        kind="message",
        payload=CHANCE.randbytes(PAYLOAD_BYTES),
        received_at_ms=1_700_000_000_000,
        reply=reply,
    )


def prepare(row_id: RowId, reply: Reply[Any]) -> journal.Prepare:
    prompt = Prompt(
        kind="message",
        chat_id=ChatId(f"oc_{row_id % 50:032}"),
        message_id=MessageId(f"om_{row_id:032}"),
        sender_id=OpenId(f"ou_{row_id % 20:032}"),
        chat_type="group",
        content="A question of about a hundred characters, which is what people tend to ask. " * 2,
        create_time_ms=1_700_000_000_000,
    )
    return journal.Prepare(rows=(journal.PreparedRow(row_id=row_id, prompt=prompt),), reply=reply)


def offer_next(reply: Reply[Any]) -> journal.OfferNext:
    return journal.OfferNext(
        session_id=SessionId("s"),
        takes_unbound=True,
        connection_id=ConnectionId(1),
        lease_epoch=1,
        at_ms=1_700_000_000_001,
        reply=reply,
    )


def close(row_id: RowId, reply: Reply[Any]) -> journal.Close:
    return journal.Close(
        row_id=row_id,
        state=RowState.ANSWERED,
        note=None,
        at_ms=1_700_000_000_002,
        reply=reply,
    )


async def asked(tx: Tx, build: Build) -> Any:
    answer: Any = await ask(tx, build, within_s=ANSWER_WITHIN_S)
    assert not isinstance(answer, journal.Failed), answer
    return answer

"""What a message refers to, above or below its own text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from protocol.ids import ChatId, EventId, MessageId, OpenId
from protocol.platform.content import read_content
from protocol.platform.events import MessageReceived
from protocol.platform.outcomes import FoundMessage
from protocol.platform.prompts import of_message
from protocol.platform.quoting import (
    FORWARDED_MESSAGES_MAX,
    QUOTE_CHARACTERS_MAX,
    forwards,
    quoted_id,
    quoted_text,
    with_forwarded,
    with_quote,
)
from protocol.routing.delivery import Offer, Prompt, deliver
from protocol.wire.messages import Attachment, Deliver


def message(**fields: Any) -> MessageReceived:
    plain: dict[str, Any] = {
        "event_id": EventId("e"),
        "message_id": MessageId("om_2"),
        "chat_id": ChatId("oc_1"),
        "chat_type": "group",
        "message_type": "text",
        "content": '{"text":"hi"}',
        "sender_id": OpenId("ou_1"),
        "sender_type": "user",
    }
    return MessageReceived(**(plain | fields))


def found(text: str, forwarded_in: str | None = "om_f") -> FoundMessage:
    return FoundMessage(
        message_id=MessageId("om_1"),
        message_type="text",
        content=json.dumps({"text": text}),
        sender_id="ou_2",
        sender_type="user",
        forwarded_in=None if forwarded_in is None else MessageId(forwarded_in),
    )


@pytest.mark.parametrize(
    ("fields", "quoted"),
    [
        ({}, None),
        ({"parent_id": "om_1", "root_id": "om_0"}, "om_1"),
        ({"parent_id": "om_1", "root_id": "om_1"}, "om_1"),
        ({"parent_id": "om_1", "root_id": "om_1", "thread_id": "omt"}, None),
        ({"parent_id": "om_1", "root_id": "om_0", "thread_id": "omt"}, "om_1"),
    ],
)
def test_in_a_topic_its_first_message_is_no_quotation(
    fields: dict[str, Any], quoted: str | None
) -> None:
    assert quoted_id(message(**fields)) == quoted


def test_a_forward_is_known_by_its_type() -> None:
    assert forwards(message(message_type="merge_forward"))
    assert not forwards(message())


def test_what_is_quoted_stands_above() -> None:
    assert with_quote("why?", found("one\n\ntwo")) == "> one\n>\n> two\n\nwhy?"
    assert with_quote("why?", found("")) == "why?"
    assert quoted_text("x" * QUOTE_CHARACTERS_MAX) == f"> {'x' * QUOTE_CHARACTERS_MAX}\n\n"
    assert quoted_text("x" * 4_001) == f"> {'x' * 4_000}…\n\n"


def test_forwarded_messages_stand_below_and_only_those_of_this_forward() -> None:
    others = [found("other", "om_g"), found("none", None)]
    shown = with_forwarded("see", [found("one\n\ntwo"), *others, found("")], MessageId("om_f"))
    assert shown == "see\n\n> one\n>\n> two\n\n>"


def test_many_forwarded_messages_are_counted() -> None:
    many = [found("a")] * (FORWARDED_MESSAGES_MAX + 2)
    parts = with_forwarded("see", many, MessageId("om_f")).split("\n\n")
    assert parts == ["see", *["> a"] * FORWARDED_MESSAGES_MAX, "[2 more messages]"]
    long = with_forwarded("see", [found("a" * 3_999)] * 10, MessageId("om_f")).split("\n\n")
    assert [len(part) for part in long] == [3, *[4_001] * 7, 2_010, len("[2 more messages]")]
    whole = with_forwarded("see", [found("a" * 4_000)] * 7, MessageId("om_f"))
    assert "more messages" not in whole


def test_a_message_becomes_a_prompt_and_a_deliver_with_all_it_carries() -> None:
    received = message(
        thread_id="omt",
        topic="omt",
        parent_id=MessageId("om_1"),
        root_id=MessageId("om_0"),
        create_time_ms=5,
    )
    picture = Attachment(kind="image", name="a.png", file_key="img_1")
    content = read_content("text", '{"text":"hi"}', ())
    prompt = of_message(received, content, by_admin=True)
    assert prompt == Prompt(
        kind="message",
        chat_id=ChatId("oc_1"),
        message_id=MessageId("om_2"),
        sender_id=OpenId("ou_1"),
        chat_type="group",
        content="hi",
        by_admin=True,
        create_time_ms=5,
        thread_id="omt",
        parent_id=MessageId("om_1"),
        root_id=MessageId("om_0"),
        topic="omt",
    )
    offer = Offer(
        row_id=1,  # type: ignore[arg-type]
        account="work",  # type: ignore[arg-type]
        event_id=EventId("e"),
        attempt=2,
        lease_epoch=7,
        prompt=Prompt(
            **{name: getattr(prompt, name) for name in prompt.__struct_fields__}
            | {"attachments": (picture,), "joined": (MessageId("om_2"), MessageId("om_3"))}
        ),
    )
    assert offer.prompt.message_ids == ("om_2", "om_3")
    assert prompt.message_ids == ("om_2",)
    assert deliver(offer, "turn_1") == Deliver(  # type: ignore[arg-type]
        event_id="e",
        turn_id="turn_1",
        attempt=2,
        lease_epoch=7,
        chat_id="oc_1",
        content="hi",
        meta={
            "kind": "message",
            "account": "work",
            "chat_id": "oc_1",
            "message_id": "om_2",
            "chat_type": "group",
            "sender_id": "ou_1",
            "sender_role": "admin",
            "create_time": "5",
            "thread_id": "omt",
            "parent_id": "om_1",
            "root_id": "om_0",
            "message_ids": "om_2,om_3",
        },
        attachments=[picture],
    )

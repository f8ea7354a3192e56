"""Comments of documents as chats and messages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from protocol.ids import EventId, OpenId
from protocol.platform.comments import (
    CommentPlace,
    is_comment,
    markdown,
    message_id_of,
    place_of,
    reply_body,
)
from protocol.platform.events import CommentAdded, decode_comment
from protocol.platform.prompts import of_comment
from protocol.routing.delivery import meta
from tests.kit.scripted_platform import event

PLACE = CommentPlace("docx", "dox_1-A", "71")


def test_the_chat_of_a_comment_holds_where_it_is() -> None:
    assert PLACE.chat_id == "doc:docx:dox_1-A:71"
    assert place_of(PLACE.chat_id) == PLACE


@pytest.mark.parametrize(
    "chat",
    [
        None,
        "",
        "oc_1",
        "doc:docx:a",
        "doc:docx:a:b",
        "doc:Docx:a:1",
        "doc:docx:a/b:1",
        "xdoc:d:a:1",
    ],
)
def test_any_other_chat_is_none(chat: str | None) -> None:
    assert place_of(chat) is None


def test_messages_of_comments_are_known_by_their_id() -> None:
    assert message_id_of("9") == "doc-reply:9"
    assert is_comment("doc-reply:9")
    assert not is_comment("om_9")


def texts_of(content: dict[str, Any]) -> list[str]:
    elements = reply_body(json.dumps(content))["content"]["elements"]
    assert all(one["type"] == "text_run" and set(one) == {"type", "text_run"} for one in elements)
    return [one["text_run"]["text"] for one in elements]


def test_a_reply_is_plain_text_in_pieces() -> None:
    assert texts_of({"text": "hi"}) == ["hi"]
    assert texts_of({"text": ""}) == [" "]
    assert texts_of({}) == [" "]
    assert texts_of({"text": "a" * 1_000 + "b"}) == ["a" * 1_000, "b"]
    assert texts_of({"text": "a" * 200_000}) == ["a" * 1_000] * 100


def test_of_a_card_its_texts_are_sent() -> None:
    elements = [{"tag": "hr"}, {"content": "one"}, {"content": 3}, {"content": "two"}]
    assert texts_of({"body": {"elements": elements}}) == ["one\ntwo"]
    assert texts_of({"body": {}}) == [" "]


def test_a_comment_is_read_as_markdown() -> None:
    elements = [
        {"type": "text_run", "text_run": {"text": " see "}},
        {"type": "docs_link", "docs_link": {"url": "https://a/b"}},
        {"type": "person", "person": {"user_id": "ou_1"}},
        {"type": "text_run", "text_run": {"text": 3}},
        {"type": "new"},
        "odd",
    ]
    assert markdown(elements) == "see https://a/b@ou_1"
    assert markdown(None) == ""


def comment(**changes: Any) -> bytes:
    body = {
        "comment_id": "71",
        "reply_id": "9",
        "is_mentioned": True,
        "timestamp": "1700000000123",
        "notice_meta": {
            "file_type": "docx",
            "file_token": "dox_1-A",
            "from_user_id": {"open_id": "ou_1"},
        },
    }
    return event("drive.notice.comment_add_v1", body | changes, event_id="evt-1")


READ = CommentAdded(
    event_id=EventId("evt-1"),
    file_type="docx",
    file_token="dox_1-A",
    comment_id="71",
    reply_id="9",
    sender_id=OpenId("ou_1"),
    mentions_bot=True,
    create_time_ms=1_700_000_000_123,
)


def test_a_comment_is_read_and_becomes_a_prompt() -> None:
    assert decode_comment(comment()) == READ
    prompt = of_comment(READ)
    assert (prompt.content, prompt.chat_id, prompt.sender_id) == ("", PLACE.chat_id, "ou_1")
    assert meta("default", prompt) == {  # type: ignore[arg-type]
        "kind": "doc_comment",
        "account": "default",
        "chat_id": PLACE.chat_id,
        "message_id": "doc-reply:9",
        "chat_type": "p2p",
        "sender_id": "ou_1",
        "create_time": "1700000000123",
        "file_type": "docx",
        "file_token": "dox_1-A",
        "comment_id": "71",
    }


def test_the_comment_itself_has_no_reply_and_may_mention_nobody() -> None:
    read = decode_comment(comment(reply_id="", is_mentioned=False))
    assert (read.reply_id, read.mentions_bot) == (None, False)
    assert of_comment(read).message_id == "doc-reply:71"

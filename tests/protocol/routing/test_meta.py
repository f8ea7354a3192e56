"""What a session is given beside the text: what is known, as strings, and nothing else."""

from __future__ import annotations

from protocol.ids import AccountId, ChatId, MessageId, OpenId
from protocol.routing.delivery import Prompt, meta


def test_what_is_not_known_is_absent() -> None:
    prompt = Prompt(
        kind="message",
        message_id=MessageId("om_1"),
        chat_id=ChatId("oc_1"),
        chat_type="p2p",
        sender_id=OpenId("ou_1"),
        content="hello",
    )
    assert meta(AccountId("default"), prompt) == {
        "kind": "message",
        "account": "default",
        "chat_id": "oc_1",
        "message_id": "om_1",
        "chat_type": "p2p",
        "sender_id": "ou_1",
    }


def test_all_that_is_known_is_text() -> None:
    prompt = Prompt(
        kind="message",
        message_id=MessageId("om_1"),
        chat_id=ChatId("oc_1"),
        chat_type="group",
        sender_id=OpenId("ou_1"),
        content="hello",
        by_admin=True,
        create_time_ms=0,
        thread_id="omt_1",
        parent_id=MessageId("om_p"),
        root_id=MessageId("om_r"),
        details={"file_token": "doc"},
        joined=(MessageId("om_1"), MessageId("om_2")),
    )
    shown = meta(AccountId("default"), prompt)
    assert {key: shown[key] for key in shown.keys() - {"kind", "account", "chat_id"}} == {
        "message_id": "om_1",
        "chat_type": "group",
        "sender_id": "ou_1",
        "sender_role": "admin",
        "create_time": "0",
        "thread_id": "omt_1",
        "parent_id": "om_p",
        "root_id": "om_r",
        "file_token": "doc",
        "message_ids": "om_1,om_2",
    }

"""Prompts as they are kept: what an older version kept as text is typed again."""

from __future__ import annotations

import msgspec
import pytest

from actors.journal.prompts import decode_prompt
from protocol.ids import AccountId
from protocol.routing.delivery import meta

OLDER = {
    "chat_id": "oc_1",
    "message_id": "om_1",
    "sender_id": "ou_1",
    "chat_type": "group",
    "content": "hi",
    "meta": {
        "kind": "answer",
        "account": "default",
        "chat_id": "oc_1",
        "message_id": "om_1",
        "chat_type": "group",
        "sender_id": "ou_1",
        "sender_role": "admin",
        "create_time": "1700000000000",
        "thread_id": "omt_1",
        "parent_id": "om_p",
        "root_id": "om_r",
        "answers": "q_1",
    },
    "attachments": [{"kind": "image", "name": "a.png", "file_key": "img_1"}],
    "topic": "omt_1",
}


def test_a_prompt_of_an_older_version_gives_the_same_meta() -> None:
    prompt = decode_prompt(msgspec.msgpack.encode(OLDER))
    assert meta(AccountId("default"), prompt) == OLDER["meta"]
    assert (prompt.topic, [one.name for one in prompt.attachments]) == ("omt_1", ["a.png"])
    assert decode_prompt(msgspec.msgpack.encode(prompt)) == prompt


@pytest.mark.parametrize("damage", [b"", b"\xff", b"\x80", msgspec.msgpack.encode({"kind": "x"})])
def test_a_damaged_prompt_is_found_out(damage: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_prompt(damage)

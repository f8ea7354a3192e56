"""Each row of our table of calls, held against lark-oapi's request of the same name."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.feishu import calls
from actors.messages import gateway
from protocol.ids import CardId, ChatId, MessageId
from protocol.platform.comments import CommentPlace

CARDKIT = "lark_oapi.api.cardkit.v1.model"
SPEECH = "lark_oapi.api.speech_to_text.v1.model"
IM = "lark_oapi.api.im.v1.model"
CONTACT = "lark_oapi.api.contact.v3.model"
DRIVE = "lark_oapi.api.drive.v1.model"
CARD, MESSAGE, CHAT = CardId("7355372766134157313"), MessageId("om_dc13264520"), ChatId("oc_a0553e")
PLACE = CommentPlace("docx", "doxcnABC", "6916106822734578184")


def request(package: str, name: str, body: dict[str, Any] | None, **where: Any) -> Any:
    """Build lark-oapi's request *name* as its users do: with its builders."""
    camel = "".join(part.capitalize() for part in name.split("_"))
    builder = getattr(importlib.import_module(f"{package}.{name}_request"), f"{camel}Request")
    filled = builder.builder()
    for key, value in where.items():
        getattr(filled, key)(value)
    if body is not None:
        module = importlib.import_module(f"{package}.{name}_request_body")
        fields = getattr(module, f"{camel}RequestBody").builder()
        for key, value in body.items():
            getattr(fields, key)(value)
        filled.request_body(fields.build())
    return filled.build()


def model(package: str, name: str, **fields: Any) -> Any:
    camel = "".join(part.capitalize() for part in name.split("_"))
    builder = getattr(importlib.import_module(f"{package}.{name}"), camel).builder()
    for key, value in fields.items():
        getattr(builder, key)(value)
    return builder.build()


def as_json(value: Any) -> Any:
    from lark_oapi.core.json import JSON  # noqa: PLC0415  # ten thousand modules, for these alone

    return json.loads(JSON.marshal(value))


CONTENT = {"content": '{"text":"你好"}', "msg_type": "text", "uuid": "u-1"}
ROWS: dict[str, tuple[gateway.Operation, Callable[[], Any]]] = {
    "create card": (
        gateway.CreateCard(card_json='{"schema":"2.0"}'),
        lambda: request(CARDKIT, "create_card", {"type": "card_json", "data": '{"schema":"2.0"}'}),
    ),
    "update card": (
        gateway.UpdateCard(card_id=CARD, card_json="{}", sequence=3, uuid="u"),
        lambda: request(
            CARDKIT,
            "update_card",
            {
                "card": model(CARDKIT, "card", type="card_json", data="{}"),
                "uuid": "u",
                "sequence": 3,
            },
            card_id=CARD,
        ),
    ),
    "card settings": (
        gateway.CardSettings(card_id=CARD, settings_json='{"config":{}}', sequence=4, uuid="u"),
        lambda: request(
            CARDKIT,
            "settings_card",
            {"settings": '{"config":{}}', "uuid": "u", "sequence": 4},
            card_id=CARD,
        ),
    ),
    "element content": (
        gateway.ElementContent(
            card_id=CARD, element_id="answer", content="a\nb", sequence=5, uuid="u"
        ),
        lambda: request(
            CARDKIT,
            "content_card_element",
            {"content": "a\nb", "uuid": "u", "sequence": 5},
            card_id=CARD,
            element_id="answer",
        ),
    ),
    "batch update": (
        gateway.BatchUpdate(card_id=CARD, actions_json="[]", sequence=6, uuid="u"),
        lambda: request(
            CARDKIT,
            "batch_update_card",
            {"actions": "[]", "uuid": "u", "sequence": 6},
            card_id=CARD,
        ),
    ),
    "patch element": (
        gateway.PatchElement(
            card_id=CARD, element_id="footer", partial_json="{}", sequence=7, uuid="u"
        ),
        lambda: request(
            CARDKIT,
            "patch_card_element",
            {"partial_element": "{}", "uuid": "u", "sequence": 7},
            card_id=CARD,
            element_id="footer",
        ),
    ),
    "reply": (
        gateway.ReplyMessage(
            message_id=MESSAGE, msg_type="text", content_json=CONTENT["content"], uuid="u-1"
        ),
        lambda: request(IM, "reply_message", CONTENT, message_id=MESSAGE),
    ),
    "reply in a topic": (
        gateway.ReplyMessage(
            message_id=MESSAGE,
            msg_type="text",
            content_json=CONTENT["content"],
            uuid="u-1",
            in_thread=True,
        ),
        lambda: request(
            IM, "reply_message", {**CONTENT, "reply_in_thread": True}, message_id=MESSAGE
        ),
    ),
    "send": (
        gateway.CreateMessage(
            chat_id=CHAT, msg_type="text", content_json=CONTENT["content"], uuid="u-1"
        ),
        lambda: request(
            IM, "create_message", {"receive_id": CHAT, **CONTENT}, receive_id_type="chat_id"
        ),
    ),
    "patch message": (
        gateway.PatchMessage(message_id=MESSAGE, content_json="{}"),
        lambda: request(IM, "patch_message", {"content": "{}"}, message_id=MESSAGE),
    ),
    "recognise speech": (
        gateway.RecogniseSpeech(pcm=b"pcm", file_id="0123456789abcdef"),
        lambda: request(
            SPEECH,
            "file_recognize_speech",
            {
                "speech": model(SPEECH, "speech", speech="cGNt"),
                "config": model(
                    SPEECH,
                    "file_config",
                    file_id="0123456789abcdef",
                    format="pcm",
                    engine_type="16k_auto",
                ),
            },
        ),
    ),
    "get message": (
        gateway.GetMessage(message_id=MESSAGE),
        lambda: request(
            IM,
            "get_message",
            None,
            message_id=MESSAGE,
            card_msg_content_type="user_card_content",
        ),
    ),
    "get chat": (
        gateway.GetChat(chat_id=CHAT),
        lambda: request(IM, "get_chat", None, chat_id=CHAT),
    ),
    "get chat members": (
        gateway.GetChatMembers(chat_id=CHAT),
        lambda: request(
            IM, "get_chat_members", None, chat_id=CHAT, member_id_type="open_id", page_size=100
        ),
    ),
    "find person": (
        gateway.FindPerson(email="carol@example.com"),
        lambda: request(
            CONTACT,
            "batch_get_id_user",
            {"emails": ["carol@example.com"]},
            user_id_type="open_id",
        ),
    ),
    "add reaction": (
        gateway.AddReaction(message_id=MESSAGE, emoji_type="Typing"),
        lambda: request(
            IM,
            "create_message_reaction",
            {"reaction_type": model(IM, "emoji", emoji_type="Typing")},
            message_id=MESSAGE,
        ),
    ),
    "list reactions": (
        gateway.ListReactions(message_id=MESSAGE, emoji_type="Typing"),
        lambda: request(
            IM,
            "list_message_reaction",
            None,
            message_id=MESSAGE,
            reaction_type="Typing",
            page_size=50,
        ),
    ),
    "remove reaction": (
        gateway.RemoveReaction(message_id=MESSAGE, reaction_id="ZCaCIjUBVVWSrm5L"),
        lambda: request(
            IM,
            "delete_message_reaction",
            None,
            message_id=MESSAGE,
            reaction_id="ZCaCIjUBVVWSrm5L",
        ),
    ),
    "download": (
        gateway.DownloadResource(
            message_id=MESSAGE, file_key="file_v3_0-a", resource="file", path="/x", bytes_max=1
        ),
        lambda: request(
            IM,
            "get_message_resource",
            None,
            message_id=MESSAGE,
            file_key="file_v3_0-a",
            type="file",
        ),
    ),
    "get comment": (
        gateway.GetComment(place=PLACE),
        lambda: request(
            DRIVE,
            "list_file_comment_reply",
            None,
            file_token=PLACE.file_token,
            comment_id=PLACE.comment_id,
            file_type=PLACE.file_type,
            page_size=100,
        ),
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_call_is_what_lark_oapi_would_send(name: str) -> None:
    operation, build = ROWS[name]
    ours, theirs = calls.build(operation, app_id="a", app_secret="s"), build()
    path = theirs.uri
    for key, value in theirs.paths.items():
        path = path.replace(f":{key}", str(value))
    assert (ours.method, ours.path) == (theirs.http_method.name, path)
    assert sorted(ours.params) == sorted((key, str(value)) for key, value in theirs.queries)
    assert ours.api == f"{theirs.http_method.name} {theirs.uri}"
    if theirs.body is None:
        assert ours.json is None
    else:
        assert ours.json is not None
        assert json.loads(ours.json) == as_json(theirs.body)


@pytest.mark.parametrize(
    ("operation", "package", "name", "fields"),
    [
        (
            gateway.UploadImage(image=b"\x89PNG"),
            IM,
            "create_image",
            {"image_type": "message"},
        ),
        (
            gateway.UploadFile(file_type="pdf", name="a.pdf", content=b"%PDF"),
            IM,
            "create_file",
            {"file_type": "pdf", "file_name": "a.pdf"},
        ),
    ],
)
def test_an_upload_has_lark_oapis_fields(
    operation: gateway.Operation, package: str, name: str, fields: dict[str, str]
) -> None:
    ours, theirs = calls.build(operation, app_id="a", app_secret="s"), request(package, name, None)
    assert (ours.method, ours.path) == (theirs.http_method.name, theirs.uri)
    assert ours.fields == fields
    body = importlib.import_module(f"{package}.{name}_request_body")
    known = vars(getattr(body, f"{name.title().replace('_', '')}RequestBody")())
    assert {*fields, *(ours.files or {})} <= set(known)


def test_a_reply_to_a_comment_goes_where_lark_oapi_would_send_it() -> None:
    reply = gateway.ReplyMessage(
        message_id=MESSAGE,
        chat_id=PLACE.chat_id,
        msg_type="text",
        content_json='{"text":"hi"}',
        uuid="u",
    )
    ours = calls.build(reply, app_id="a", app_secret="s")
    theirs = request(
        DRIVE,
        "create_file_comment_reply",
        None,
        file_token=PLACE.file_token,
        comment_id=PLACE.comment_id,
        file_type=PLACE.file_type,
    )
    assert ours.api == f"{theirs.http_method.name} {theirs.uri}"
    assert ours.params == (("file_type", "docx"),)
    assert json.loads(ours.json or b"") == {
        "content": {"elements": [{"type": "text_run", "text_run": {"text": "hi"}}]}
    }


def test_every_operation_has_a_row() -> None:
    def leaves(kind: type[gateway.Operation]) -> set[type[gateway.Operation]]:
        below = kind.__subclasses__()
        return set().union(*map(leaves, below)) if below else {kind}

    compared = {type(operation) for operation, _ in ROWS.values()}
    # Uploads are forms, compared above; the last two are no part of lark-oapi's models.
    others = {
        gateway.UploadImage,
        gateway.UploadFile,
        gateway.DiscoverEndpoint,
        gateway.GetBotInfo,
    }
    assert leaves(gateway.Operation) == compared | others


@pytest.mark.parametrize(
    "evil", ["../../im/v1/images", "..", ".", "", "a/b", "a?x=1", "a#b", "a%2fb", "a\n", "\u202e"]
)
def test_what_is_no_id_names_nothing(evil: str) -> None:
    with pytest.raises(calls.InvalidIdError):
        calls.build(gateway.GetMessage(message_id=MessageId(evil)), app_id="a", app_secret="s")


@given(st.text(max_size=40))
def test_a_path_keeps_its_shape_whatever_the_ids_are(text: str) -> None:
    operation = gateway.RemoveReaction(message_id=MessageId(text), reaction_id=text)
    try:
        path = calls.build(operation, app_id="a", app_secret="s").path
    except calls.InvalidIdError:
        return
    quoted = quote(text, safe="")
    parts = ["", "open-apis", "im", "v1", "messages", quoted, "reactions", quoted]
    assert path.split("/") == parts
    assert text not in {".", ".."}

"""The official Python SDK as a client of the sandbox; prints what it sees as JSON lines.

Run with the sandbox's address, app id, secret and a chat id. It is a process of its
own because the SDK brings its own loop and imports ten thousand modules.
"""

# ruff: noqa: T201
from __future__ import annotations

import base64
import json
import sys
import threading
from typing import Any

import lark_oapi as lark
from lark_oapi.api.application.v6 import ListScopeRequest
from lark_oapi.api.cardkit.v1 import (
    BatchUpdateCardRequest,
    BatchUpdateCardRequestBody,
    ContentCardElementRequest,
    ContentCardElementRequestBody,
    CreateCardElementRequest,
    CreateCardElementRequestBody,
    CreateCardRequest,
    CreateCardRequestBody,
    DeleteCardElementRequest,
    DeleteCardElementRequestBody,
    PatchCardElementRequest,
    PatchCardElementRequestBody,
    SettingsCardRequest,
    SettingsCardRequestBody,
    UpdateCardElementRequest,
    UpdateCardElementRequestBody,
    UpdateCardRequest,
    UpdateCardRequestBody,
)
from lark_oapi.api.cardkit.v1 import Card as CardData
from lark_oapi.api.event.v1 import GetConnectionRequest
from lark_oapi.api.im.v1 import (
    CreateMessageRequest,
    CreateMessageRequestBody,
    ReplyMessageRequest,
    ReplyMessageRequestBody,
)
from lark_oapi.api.speech_to_text.v1.model import (
    FileConfig,
    FileRecognizeSpeechRequest,
    FileRecognizeSpeechRequestBody,
    Speech,
)
from lark_oapi.event.callback.model.p2_card_action_trigger import P2CardActionTriggerResponse


def report(what: str, **more: object) -> None:
    print(json.dumps({"what": what, **more}), flush=True)


def received(event: lark.im.v1.P2ImMessageReceiveV1) -> None:
    message = event.event.message
    report("event", message_id=message.message_id, content=message.content)


def pressed(action: Any) -> P2CardActionTriggerResponse:
    report("pressed", value=action.event.action.value)
    return P2CardActionTriggerResponse(
        {"toast": {"type": "success", "content": "pressed through the SDK"}}
    )


def stream_a_card(client: lark.Client, chat_id: str) -> None:
    button = {
        "tag": "button",
        "element_id": "go",
        "text": {"tag": "plain_text", "content": "Go"},
        "behaviors": [{"type": "callback", "value": {"key": "value"}}],
    }
    card: dict[str, Any] = {
        "schema": "2.0",
        "config": {"streaming_mode": True, "summary": {"content": ""}},
        "body": {"elements": [{"tag": "markdown", "element_id": "text", "content": ""}, button]},
    }
    body = CreateCardRequestBody.builder().type("card_json").data(json.dumps(card)).build()
    made = client.cardkit.v1.card.create(CreateCardRequest.builder().request_body(body).build())
    assert made.success(), made.msg
    card_id = made.data.card_id
    message = (
        CreateMessageRequestBody.builder()
        .receive_id(chat_id)
        .msg_type("interactive")
        .content(json.dumps({"type": "card", "data": {"card_id": card_id}}))
        .build()
    )
    sent = client.im.v1.message.create(
        CreateMessageRequest.builder().receive_id_type("chat_id").request_body(message).build()
    )
    assert sent.success(), sent.msg
    for sequence, text in enumerate(("Hello", "Hello world"), 1):
        content = ContentCardElementRequestBody.builder().content(text).sequence(sequence).build()
        done = client.cardkit.v1.card_element.content(
            ContentCardElementRequest.builder()
            .card_id(card_id)
            .element_id("text")
            .request_body(content)
            .build()
        )
        assert done.success(), done.msg
    change_elements(client, card_id)
    settings = (
        SettingsCardRequestBody.builder()
        .settings(json.dumps({"config": {"streaming_mode": False}}))
        .sequence(8)
        .build()
    )
    closed = client.cardkit.v1.card.settings(
        SettingsCardRequest.builder().card_id(card_id).request_body(settings).build()
    )
    assert closed.success(), closed.msg
    card["config"] = {"streaming_mode": False}
    card["body"]["elements"][0]["content"] = "Hello world, updated"
    update_the_card(client, card_id, card)
    report(
        "card",
        card_id=card_id,
        message_id=sent.data.message_id,
        reply_id=reply(client, sent.data.message_id),
    )


def change_elements(client: lark.Client, card_id: str) -> None:
    """Use every call there is for elements, sequences 3 to 7."""
    batch, element = client.cardkit.v1.card.batch_update, client.cardkit.v1.card_element
    partial = {"element_id": "text", "partial_element": {"content": "Hello in a batch"}}
    added = {"type": "append", "elements": [{"tag": "markdown", "element_id": "more"}]}
    actions = [
        {"action": "partial_update_element", "params": partial},
        {"action": "add_elements", "params": added},
    ]
    body = BatchUpdateCardRequestBody.builder().actions(json.dumps(actions)).sequence(3).build()
    done = [batch(BatchUpdateCardRequest.builder().card_id(card_id).request_body(body).build())]
    patch = json.dumps({"content": "patched"})
    patch_body = PatchCardElementRequestBody.builder().partial_element(patch).sequence(4).build()
    patched = PatchCardElementRequest.builder().card_id(card_id).element_id("more")
    done.append(element.patch(patched.request_body(patch_body).build()))
    whole = json.dumps({"tag": "markdown", "element_id": "more", "content": "replaced"})
    whole_body = UpdateCardElementRequestBody.builder().element(whole).sequence(5).build()
    replaced = UpdateCardElementRequest.builder().card_id(card_id).element_id("more")
    done.append(element.update(replaced.request_body(whole_body).build()))
    line = json.dumps([{"tag": "hr", "element_id": "line"}])
    line_body = CreateCardElementRequestBody.builder().type("insert_before")
    line_body = line_body.target_element_id("more").elements(line).sequence(6)
    made = CreateCardElementRequest.builder().card_id(card_id).request_body(line_body.build())
    done.append(element.create(made.build()))
    gone_body = DeleteCardElementRequestBody.builder().sequence(7).build()
    gone = DeleteCardElementRequest.builder().card_id(card_id).element_id("line")
    done.append(element.delete(gone.request_body(gone_body).build()))
    assert all(one.success() for one in done), [one.msg for one in done]


def update_the_card(client: lark.Client, card_id: str, card: dict[str, Any]) -> None:
    whole = CardData.builder().type("card_json").data(json.dumps(card)).build()
    body = UpdateCardRequestBody.builder().card(whole).sequence(9).build()
    updated = client.cardkit.v1.card.update(
        UpdateCardRequest.builder().card_id(card_id).request_body(body).build()
    )
    assert updated.success(), updated.msg


def reply(client: lark.Client, message_id: str) -> str:
    body = ReplyMessageRequestBody.builder().msg_type("text").content('{"text":"done"}').build()
    replied = client.im.v1.message.reply(
        ReplyMessageRequest.builder().message_id(message_id).request_body(body).build()
    )
    assert replied.success(), replied.msg
    return str(replied.data.message_id)


def read_back(client: lark.Client) -> dict[str, Any]:
    """What a bot can ask about itself."""
    online = client.event.v1.connection.get(GetConnectionRequest.builder().build())
    granted = client.application.v6.scope.list(ListScopeRequest.builder().build())
    assert online.success(), online.msg
    assert granted.success(), granted.msg
    scopes = [one.scope_name for one in granted.data.scopes]
    return {"online": online.data.online_instance_cnt, "scopes": scopes}


def recognise(client: lark.Client) -> str:
    """What a second of silence is recognised as: what the sandbox was given."""
    samples = base64.b64encode(bytes(32_000)).decode()
    config = FileConfig.builder().file_id("0123456789abcdef").format("pcm")
    body = (
        FileRecognizeSpeechRequestBody.builder()
        .speech(Speech.builder().speech(samples).build())
        .config(config.engine_type("16k_auto").build())
        .build()
    )
    recognised = client.speech_to_text.v1.speech.file_recognize(
        FileRecognizeSpeechRequest.builder().request_body(body).build()
    )
    assert recognised.success(), recognised.msg
    return str(recognised.data.recognition_text)


def main() -> None:
    domain, app_id, secret, chat_id = sys.argv[1:5]
    handler = (
        lark.EventDispatcherHandler.builder("", "")
        .register_p2_im_message_receive_v1(received)
        .register_p2_card_action_trigger(pressed)
        .build()
    )
    client = lark.Client.builder().app_id(app_id).app_secret(secret).domain(domain).build()

    def stream() -> None:
        try:
            report("read_back", **read_back(client), spoken=recognise(client))
            stream_a_card(client, chat_id)
        except Exception as failed:  # noqa: BLE001  # reported to the test, which fails
            report("failed", reason=repr(failed))

    threading.Thread(target=stream, daemon=True).start()
    lark.ws.Client(app_id, secret, event_handler=handler, domain=domain).start()


main()

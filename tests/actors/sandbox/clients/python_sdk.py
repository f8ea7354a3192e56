"""The official Python SDK as a client of the sandbox; prints what it sees as JSON lines.

Run with the sandbox's address, app id, secret and a chat id. It is a process of its
own because the SDK brings its own loop and imports ten thousand modules.
"""

# ruff: noqa: T201
from __future__ import annotations

import json
import sys
import threading
from typing import Any

import lark_oapi as lark
from lark_oapi.api.cardkit.v1 import Card as CardData
from lark_oapi.api.cardkit.v1 import (
    ContentCardElementRequest,
    ContentCardElementRequestBody,
    CreateCardRequest,
    CreateCardRequestBody,
    SettingsCardRequest,
    SettingsCardRequestBody,
    UpdateCardRequest,
    UpdateCardRequestBody,
)
from lark_oapi.api.im.v1 import (
    CreateMessageRequest,
    CreateMessageRequestBody,
    ReplyMessageRequest,
    ReplyMessageRequestBody,
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
    settings = (
        SettingsCardRequestBody.builder()
        .settings(json.dumps({"config": {"streaming_mode": False}}))
        .sequence(3)
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


def update_the_card(client: lark.Client, card_id: str, card: dict[str, Any]) -> None:
    whole = CardData.builder().type("card_json").data(json.dumps(card)).build()
    body = UpdateCardRequestBody.builder().card(whole).sequence(4).build()
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
            stream_a_card(client, chat_id)
        except Exception as failed:  # noqa: BLE001  # reported to the test, which fails
            report("failed", reason=repr(failed))

    threading.Thread(target=stream, daemon=True).start()
    lark.ws.Client(app_id, secret, event_handler=handler, domain=domain).start()


main()

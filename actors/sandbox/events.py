"""Event and callback envelopes, as the long connection carries them."""

from __future__ import annotations

from typing import Any

import msgspec

from actors.sandbox.world import Chat, ChatMessage, Reaction, RegisteredApp, World

TENANT_KEY = "736588c9260f175e"


def envelope(
    world: World, app: RegisteredApp, event_type: str, event: dict[str, Any]
) -> dict[str, Any]:
    """Wrap an event. Callbacks count their time in microseconds, events in milliseconds."""
    now = world.clock.wall_ms()
    stamp = now * 1000 if event_type == "card.action.trigger" else now
    return {
        "schema": "2.0",
        "header": {
            "event_id": f"{world.rng.getrandbits(128):032x}",
            "event_type": event_type,
            "create_time": str(stamp),
            "token": "",
            "app_id": app.app_id,
            "tenant_key": TENANT_KEY,
        },
        "event": event,
    }


def user_id(open_id: str) -> dict[str, str]:
    return {"union_id": f"on_{open_id.removeprefix('ou_')}", "open_id": open_id}


def message_received(
    world: World, app: RegisteredApp, chat: Chat, message: ChatMessage
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "message_id": message.message_id,
        "create_time": str(message.create_time),
        "update_time": str(message.update_time),
        "chat_id": chat.chat_id,
        "chat_type": chat.type,
        "message_type": message.msg_type,
        "content": message.content,
    }
    for key in ("root_id", "parent_id", "thread_id"):
        if value := getattr(message, key):
            body[key] = value
    if message.mentions:
        body["mentions"] = [
            {
                "key": mention.key,
                "id": user_id(mention.open_id),
                "mentioned_type": "bot" if mention.open_id == app.bot_open_id else "user",
                "name": mention.name,
                "tenant_key": TENANT_KEY,
            }
            for mention in message.mentions
        ]
    sender = {
        "sender_id": user_id(message.sender.id),
        "sender_type": "user",
        "tenant_key": TENANT_KEY,
    }
    return envelope(world, app, "im.message.receive_v1", {"sender": sender, "message": body})


def reacted(
    world: World, app: RegisteredApp, message: ChatMessage, reaction: Reaction, *, created: bool
) -> dict[str, Any]:
    by_user = reaction.operator_type == "user"
    who = {"user_id": user_id(reaction.operator_id)} if by_user else {"app_id": app.app_id}
    return envelope(
        world,
        app,
        f"im.message.reaction.{'created' if created else 'deleted'}_v1",
        {
            "message_id": message.message_id,
            "reaction_type": {"emoji_type": reaction.emoji_type},
            "operator_type": reaction.operator_type,
            "action_time": str(world.clock.wall_ms()),
            **who,
        },
    )


def message_recalled(world: World, app: RegisteredApp, message: ChatMessage) -> dict[str, Any]:
    return envelope(
        world,
        app,
        "im.message.recalled_v1",
        {
            "message_id": message.message_id,
            "chat_id": message.chat_id,
            "recall_time": str(message.update_time),
            "recall_type": "message_owner",
        },
    )


def card_action(
    world: World, app: RegisteredApp, message: ChatMessage, operator: str, action: dict[str, Any]
) -> dict[str, Any]:
    return envelope(
        world,
        app,
        "card.action.trigger",
        {
            "operator": {"tenant_key": TENANT_KEY, **user_id(operator)},
            "token": f"c-{world.rng.getrandbits(160):040x}",
            "action": action,
            "host": "im_message",
            "context": {
                "open_message_id": message.message_id,
                "open_chat_id": message.chat_id,
            },
        },
    )


def encode(event: dict[str, Any]) -> bytes:
    return msgspec.json.encode(event)

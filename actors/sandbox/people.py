"""What people do, for the chat page and for tests: write, upload, recall, react, comment."""

from __future__ import annotations

import base64
from typing import Any, Final

import msgspec
import trio

from actors.sandbox import events, scopes
from actors.sandbox.documents import Documents
from actors.sandbox.errors import PlatformError
from actors.sandbox.longconn import LongConnections
from actors.sandbox.rest import OpenApi
from actors.sandbox.uploads import FILE_BYTES_MAX
from actors.sandbox.world import (
    Chat,
    ChatMessage,
    Mention,
    RegisteredApp,
    Sender,
    StoredFile,
    World,
)

ACK_POLL_S: Final = 0.002
FLOOD_MAX: Final = 100_000
FLOOD_AT_ONCE_MAX: Final = 1_000
TOPICS: Final = ("allowed", "forbidden", "every_message", "topic_mode")


class PeopleApi:
    def __init__(
        self,
        world: World,
        api: OpenApi,
        sockets: LongConnections,
        documents: Documents,
        app: RegisteredApp,
    ) -> None:
        self._world = world
        self._api = api
        self._sockets = sockets
        self._documents = documents
        self._app = app

    async def add_user(self, body: dict[str, Any]) -> Any:
        name, email = str(body.get("name") or "Somebody"), str(body.get("email") or "")
        return self._world.add_user(name, email)

    async def add_chat(self, body: dict[str, Any]) -> Any:
        members = body.get("members") or list(self._world.users)[:1]
        kind, topics = body.get("type", "p2p"), body.get("topics", "allowed")
        if kind not in ("p2p", "group"):
            raise PlatformError(9499, "type is p2p or group")
        if topics not in TOPICS:
            raise PlatformError(9499, f"topics is one of {', '.join(TOPICS)}")
        unknown = [member for member in members if member not in self._world.users]
        app_id = str(body.get("app_id") or self._app.app_id)
        if unknown or app_id not in self._world.apps:
            raise PlatformError(9499, f"no such user or app: {', '.join(unknown) or app_id}")
        name = str(body.get("name") or self._world.name_of(members[0]))
        return self._world.add_chat(kind, name, list(members), app_id, topics)

    def _chat(self, body: dict[str, Any]) -> Chat:
        chat = self._world.chats.get(str(body.get("chat_id")))
        if chat is None:
            raise PlatformError(232006, "no such chat; GET /sandbox/state lists them")
        return chat

    async def send(self, body: dict[str, Any]) -> Any:
        """Write a message. Where the bot's scopes don't let it see it, nothing is pushed."""
        chat = self._chat(body)
        app = self._world.apps[chat.app_id]
        sender = str(body.get("sender") or chat.members[0])
        mentions: list[Mention] = []
        content = body.get("content")
        if content is None:
            text = str(body.get("text", ""))
            if body.get("mention_bot"):
                mentions = [Mention(key="@_user_1", name=app.name, open_id=app.bot_open_id)]
                text = f"@_user_1 {text}"
            content = msgspec.json.encode({"text": text}).decode()
        message = self._world.add_message(
            chat,
            Sender(id=sender, type="user", name=self._world.name_of(sender)),
            str(body.get("message_type") or "text"),
            str(content),
            parent=self._parent(body),
            opens_topic=bool(body.get("reply_in_thread")),
            mentions=mentions,
        )
        needed = scopes.for_message(chat.type, mentions_bot=bool(mentions))
        event = events.message_received(self._world, app, chat, message)
        if not self._is_sent(app, event, needed):
            return {"message_id": message.message_id, "event_id": None}
        pushed = self._sockets.publish(app.app_id, event)
        if body.get("wait_ack"):
            with trio.move_on_after(self._sockets.ack_within_s):
                while pushed.state == "pending":  # noqa: ASYNC110  # a bench's need, not the platform's
                    await trio.sleep(ACK_POLL_S)
        return {"message_id": message.message_id, "event_id": pushed.event_id}

    def _parent(self, body: dict[str, Any]) -> ChatMessage | None:
        """The message replied to; in a topic named by its id, the topic's first one."""
        if parent_id := body.get("parent_id"):
            return self._world.message(str(parent_id))
        if thread_id := body.get("thread_id"):
            return self._world.topic(str(thread_id))
        return None

    def _is_sent(self, app: RegisteredApp, event: dict[str, Any], needed: tuple[str, ...]) -> bool:
        """Whether the app subscribed to the event and has one of the scopes for it."""
        if not app.subscribes(event["header"]["event_type"]):
            return False
        return not needed or bool(self._api.granted(app.app_id) & set(needed))

    def _publish(self, app: RegisteredApp, event: dict[str, Any]) -> Any:
        needed = scopes.EVENTS.get(event["header"]["event_type"], ())
        if not self._is_sent(app, event, needed):
            return {"event_id": None}
        return {"event_id": self._sockets.publish(app.app_id, event).event_id}

    async def upload(self, body: dict[str, Any]) -> Any:
        """Keep a file or image of a user's, given in base64, for a message to carry."""
        data = base64.b64decode(str(body.get("base64", "")), validate=True)
        if len(data) > FILE_BYTES_MAX:
            raise PlatformError(9499, "the file is over 30 MB")
        kind = str(body.get("kind") or "stream")
        name = str(body.get("name") or kind)
        owner = next(iter(self._world.users))
        kept = StoredFile(data=data, name=name, kind=kind, owner=owner)
        return {"key": self._world.keep_file(kept)}

    async def flood(self, body: dict[str, Any]) -> Any:
        """Send many messages, *at_once* of them unacked at a time; return when all were acked."""
        chat_ids = [str(chat_id) for chat_id in body.get("chat_ids", [])] or list(self._world.chats)
        count = min(int(body.get("count", 100)), FLOOD_MAX)
        numbers = iter(range(count))

        async def send_some() -> None:
            for number in numbers:
                chat_id = chat_ids[number % len(chat_ids)]
                message = {"chat_id": chat_id, "text": f"message {number}", "wait_ack": True}
                await self.send(message)

        async with trio.open_nursery() as nursery:
            for _ in range(max(1, min(int(body.get("at_once", 10)), FLOOD_AT_ONCE_MAX))):
                nursery.start_soon(send_some)
        return {"sent": count}

    def _app_of(self, message: ChatMessage) -> RegisteredApp:
        return self._world.apps[self._world.chats[message.chat_id].app_id]

    async def recall(self, body: dict[str, Any]) -> Any:
        message = self._world.message(str(body.get("message_id")))
        self._world.recall(message)
        app = self._app_of(message)
        return self._publish(app, events.message_recalled(self._world, app, message))

    async def comment(self, body: dict[str, Any]) -> Any:
        return await self._documents.comment(body, self._app)

    async def react(self, body: dict[str, Any]) -> Any:
        message = self._world.message(str(body.get("message_id")))
        operator = str(body.get("operator") or next(iter(self._world.users)))
        reaction = self._world.react(message, str(body.get("emoji_type")), "user", operator)
        app = self._app_of(message)
        self._publish(app, events.reacted(self._world, app, message, reaction, created=True))
        return reaction

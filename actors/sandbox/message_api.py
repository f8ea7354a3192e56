"""The message APIs: send, reply, edit, patch, read, recall, react."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from starlette.routing import Route

from actors.sandbox.cardschema import CARD_BYTES_MAX, check_card
from actors.sandbox.emoji import EMOJI_TYPES
from actors.sandbox.errors import PlatformError
from actors.sandbox.limits import CallLimits
from actors.sandbox.rest import ApiCall, ApiHandler, OpenApi
from actors.sandbox.simplified import simplified
from actors.sandbox.world import Chat, ChatMessage, Sender, World

TEXT_BYTES_MAX: Final = 150 * 1024
PAGE_DEFAULT: Final = 20
PAGE_MAX: Final = 50
EDITS_MAX: Final = 20
PATCHABLE_MS: Final = 14 * 24 * 3_600_000
UUID_CHARS_MAX: Final = 50
_MSG_TYPES: Final = frozenset(
    {
        "text",
        "post",
        "image",
        "file",
        "audio",
        "media",
        "sticker",
        "interactive",
        "share_chat",
        "share_user",
        "system",
    }
)
_MESSAGES: Final = "/open-apis/im/v1/messages"


class MessageApi:
    def __init__(self, world: World, limits: CallLimits) -> None:
        self._world = world
        self._limits = limits

    def routes(self, api: OpenApi) -> list[Route]:
        table: list[tuple[str, str, ApiHandler]] = [
            ("POST", _MESSAGES, self._create_message),
            ("POST", f"{_MESSAGES}/:message_id/reply", self._reply),
            ("PUT", f"{_MESSAGES}/:message_id", self._edit),
            ("PATCH", f"{_MESSAGES}/:message_id", self._patch),
            ("GET", _MESSAGES, self._list_messages),
            ("GET", f"{_MESSAGES}/:message_id", self._get_message),
            ("DELETE", f"{_MESSAGES}/:message_id", self._recall),
            ("POST", f"{_MESSAGES}/:message_id/reactions", self._react),
            ("GET", f"{_MESSAGES}/:message_id/reactions", self._list_reactions),
            ("DELETE", f"{_MESSAGES}/:message_id/reactions/:reaction_id", self._unreact),
        ]
        return api.routes(table)

    # ── messages ────────────────────────────────────────────────────────────

    def _chat(self, chat_id: str, app_id: str) -> Chat:
        chat = self._world.chats.get(chat_id)
        if chat is None:
            raise PlatformError(230034, "The receive_id is invalid.")
        if chat.app_id != app_id:
            raise PlatformError(230002, "The bot can not be outside the group.")
        return chat

    def _sender(self, app_id: str) -> Sender:
        return Sender(id=app_id, type="app", name=self._world.apps[app_id].name)

    def _checked_content(self, call: ApiCall) -> tuple[str, str]:
        msg_type, content = call.body.get("msg_type"), call.body.get("content")
        if msg_type not in _MSG_TYPES or not isinstance(content, str):
            raise PlatformError(
                230001, "Your request contains an invalid request parameter, ext=msg_type, content"
            )
        uuid = call.body.get("uuid")
        if uuid is not None and (not isinstance(uuid, str) or len(uuid) > UUID_CHARS_MAX):
            raise PlatformError(230001, "invalid request parameter, ext=uuid over 50 characters")
        limit = CARD_BYTES_MAX if msg_type in ("interactive", "post") else TEXT_BYTES_MAX
        if len(content.encode()) > limit:
            raise PlatformError(230025, "The length of the message content reaches its limit.")
        try:
            body = msgspec.json.decode(content.encode())
        except (msgspec.DecodeError, UnicodeError) as wrong:
            raise PlatformError(230001, f"invalid request parameter, ext={wrong}") from wrong
        if msg_type == "text" and not (isinstance(body, dict) and body.get("text")):
            raise PlatformError(230001, "invalid request parameter, ext=text is empty")
        if msg_type == "interactive":
            _check_card(body)
        return str(msg_type), content

    async def _create_message(self, call: ApiCall) -> Any:
        receive_id = str(call.body.get("receive_id"))
        by = call.query.get("receive_id_type", "open_id")
        if by == "chat_id":
            chat = self._chat(receive_id, call.app_id)
        else:
            if by == "email":
                receive_id = self._world.id_of_address(receive_id)
            direct = [
                chat
                for chat in self._world.chats.values()
                if chat.type == "p2p"
                and chat.members == [receive_id]
                and chat.app_id == call.app_id
            ]
            if not direct:
                raise PlatformError(230013, "Bot has NO availability to this user.")
            chat = direct[0]
        return self._send(call, chat, None)

    async def _reply(self, call: ApiCall) -> Any:
        parent = self._world.message(call.path["message_id"])
        if parent.recalled:
            raise PlatformError(230011, "The message is recalled.")
        return self._send(call, self._chat(parent.chat_id, call.app_id), parent)

    def _send(self, call: ApiCall, chat: Chat, parent: ChatMessage | None) -> Any:
        msg_type, content = self._checked_content(call)
        uuid = call.body.get("uuid")
        before = self._world.sent_before(call.app_id, uuid)
        if before is not None:
            return self._describe(before)
        self._limits.check_send(chat.chat_id)
        self._check_files(msg_type, content, call.app_id)
        message = self._world.add_message(
            chat,
            self._sender(call.app_id),
            msg_type,
            content,
            parent=parent,
            opens_topic=call.body.get("reply_in_thread") is True,
            uuid=uuid,
        )
        return self._describe(message)

    def _check_files(self, msg_type: str, content: str, app_id: str) -> None:
        """Hold what a message carries against what was uploaded, and as what."""
        body = msgspec.json.decode(content)
        for name in ("image_key", "file_key"):
            key = body.get(name) if isinstance(body, dict) else None
            if key is None or msg_type in ("interactive", "post", "sticker"):
                continue
            file = self._world.files.get(key)
            if file is None or file.owner != app_id:
                raise PlatformError(230017, "Bot is NOT the owner of the resource.")
            is_image = file.kind == "image"
            if is_image != (name == "image_key") or (msg_type == "audio" and file.kind != "opus"):
                raise PlatformError(
                    230055,
                    "The type of file upload does not match the type of message being sent.",
                )

    def _describe(self, message: ChatMessage, *, raw_card: bool = True) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "message_id": message.message_id,
            "msg_type": message.msg_type,
            "create_time": str(message.create_time),
            "update_time": str(message.update_time),
            "deleted": message.recalled,
            "updated": message.update_time != message.create_time,
            "chat_id": message.chat_id,
            "sender": {
                "id": message.sender.id,
                "id_type": "app_id" if message.sender.type == "app" else "open_id",
                "sender_type": message.sender.type,
                "tenant_key": "736588c9260f175e",
            },
            "body": {} if message.recalled else {"content": self._content(message, raw_card)},
        }
        if message.mentions:
            shown["mentions"] = [
                {"key": one.key, "id": one.open_id, "id_type": "open_id", "name": one.name}
                for one in message.mentions
            ]
        for key in ("root_id", "parent_id", "thread_id"):
            if value := getattr(message, key):
                shown[key] = value
        return shown

    def _content(self, message: ChatMessage, raw_card: bool) -> str:
        """A card as it is at this moment, whole, or in the short form that events have."""
        if message.msg_type != "interactive":
            return message.content
        entity = self._world.cards.get(message.card_id or "")
        card = msgspec.json.decode(message.content) if entity is None else entity.card
        return msgspec.json.encode(card if raw_card else simplified(card)).decode()

    def _own(self, call: ApiCall) -> ChatMessage:
        message = self._world.message(call.path["message_id"])
        if message.sender.id != call.app_id:
            raise PlatformError(230071, "The operator is not the sender of the message.")
        if message.recalled:
            raise PlatformError(230011, "The message is recalled.")
        return message

    async def _edit(self, call: ApiCall) -> Any:
        message = self._own(call)
        msg_type, content = self._checked_content(call)
        if message.msg_type not in ("text", "post") or msg_type not in ("text", "post"):
            raise PlatformError(230054, "This operation is not supported for this message type.")
        if message.edits >= EDITS_MAX:
            raise PlatformError(
                230072, "The message has reached the number of times it can be edited."
            )
        message.msg_type, message.content = msg_type, content
        message.edits += 1
        message.update_time = self._world.clock.wall_ms()
        self._world.message_changed(message)
        return self._describe(message)

    async def _patch(self, call: ApiCall) -> Any:
        message = self._own(call)
        if message.msg_type != "interactive":
            raise PlatformError(
                230001, "invalid request parameter, ext=This message is NOT a card."
            )
        self._limits.check_patch(message.message_id)
        content = call.body.get("content")
        if not isinstance(content, str):
            raise PlatformError(230001, "invalid request parameter, ext=content")
        if len(content.encode()) > CARD_BYTES_MAX:
            raise PlatformError(230025, "The length of the message content reaches its limit.")
        if self._world.clock.wall_ms() - message.create_time > PATCHABLE_MS:
            raise PlatformError(
                230031, "Message can only be modified within 14 days after sending."
            )
        try:
            _check_card(msgspec.json.decode(content))
        except msgspec.DecodeError as wrong:
            raise PlatformError(230001, f"invalid request parameter, ext={wrong}") from wrong
        message.content = content
        message.update_time = self._world.clock.wall_ms()
        self._world.message_changed(message)
        return {}

    async def _get_message(self, call: ApiCall) -> Any:
        message = self._world.message(call.path["message_id"])
        raw_card = call.query.get("card_msg_content_type") == "user_card_content"
        return {"items": [self._describe(message, raw_card=raw_card)]}

    async def _list_messages(self, call: ApiCall) -> Any:
        """A page of a chat's messages, or of a topic's."""
        of, kind = call.query.get("container_id", ""), call.query.get("container_id_type")
        if kind == "thread":
            chat_id = self._world.topic(of).chat_id
        elif kind == "chat":
            chat_id = of
        else:
            raise PlatformError(230001, "invalid request parameter, ext=container_id_type")
        self._chat(chat_id, call.app_id)
        found = [
            one
            for one in self._world.messages.values()
            if (one.thread_id == of if kind == "thread" else one.chat_id == of)
        ]
        if call.query.get("sort_type") == "ByCreateTimeDesc":
            found.reverse()
        at, size = _page(call)
        more = len(found) > at + size
        return {
            "items": [self._describe(one, raw_card=False) for one in found[at : at + size]],
            "has_more": more,
            "page_token": str(at + size) if more else "",
        }

    async def _recall(self, call: ApiCall) -> Any:
        self._world.recall(self._own(call))
        return {}

    async def _react(self, call: ApiCall) -> Any:
        message = self._world.messages.get(call.path["message_id"])
        if message is None or message.recalled:
            raise PlatformError(231003, "The message is not found, maybe not exist or deleted.")
        kind = call.body.get("reaction_type")
        emoji = kind.get("emoji_type") if isinstance(kind, dict) else None
        if emoji not in EMOJI_TYPES:
            raise PlatformError(231001, "reaction type is invalid.")
        reaction = self._world.react(message, emoji, "app", call.app_id)
        return {
            "reaction_id": reaction.reaction_id,
            "operator": {"operator_id": call.app_id, "operator_type": "app"},
            "action_time": str(self._world.clock.wall_ms()),
            "reaction_type": {"emoji_type": emoji},
        }

    async def _list_reactions(self, call: ApiCall) -> Any:
        message = self._world.message(call.path["message_id"])
        wanted = call.query.get("reaction_type")
        items = [
            {
                "reaction_id": one.reaction_id,
                "operator": {"operator_id": one.operator_id, "operator_type": one.operator_type},
                "reaction_type": {"emoji_type": one.emoji_type},
            }
            for one in message.reactions
            if wanted in (None, one.emoji_type)
        ]
        return {"items": items, "has_more": False, "page_token": ""}

    async def _unreact(self, call: ApiCall) -> Any:
        message = self._world.message(call.path["message_id"])
        for reaction in message.reactions:
            if reaction.reaction_id == call.path["reaction_id"]:
                if reaction.operator_id != call.app_id:
                    raise PlatformError(231007, "no permission to delete this reaction.")
                self._world.unreact(message, reaction)
                return {"reaction_id": reaction.reaction_id}
        raise PlatformError(231011, "invalid reaction_id.")


def _check_card(body: Any) -> None:
    """Hold a message's own card of schema 2.0 against the schema."""
    if not isinstance(body, dict) or body.get("schema") != "2.0":
        return
    try:
        check_card(body)
    except PlatformError as wrong:
        raise PlatformError(
            230099, f"Failed to create card content, ext={wrong.message}"
        ) from wrong


def _page(call: ApiCall) -> tuple[int, int]:
    """Return where a page begins and how long it is."""
    try:
        at = int(call.query.get("page_token") or 0)
        size = int(call.query.get("page_size") or PAGE_DEFAULT)
    except ValueError as wrong:
        raise PlatformError(230001, f"invalid request parameter, ext={wrong}") from wrong
    return max(0, at), max(1, min(size, PAGE_MAX))

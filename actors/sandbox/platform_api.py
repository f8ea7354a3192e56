"""What each API of the platform does with a call. Shapes follow the platform's pages."""

from __future__ import annotations

import random
from typing import Any, Final

import msgspec
from starlette.datastructures import UploadFile
from starlette.responses import Response
from starlette.routing import Route

from actors.sandbox.cardschema import CARD_BYTES_MAX, check_card
from actors.sandbox.documents import Documents
from actors.sandbox.emoji import EMOJI_TYPES
from actors.sandbox.errors import PlatformError
from actors.sandbox.limits import Limits
from actors.sandbox.longconn import EXCEED_CONNECTIONS, LongConnections
from actors.sandbox.rest import Api, Call, Handler, Raw
from actors.sandbox.tokens import Tokens
from actors.sandbox.uploads import uploads
from actors.sandbox.world import Chat, Message, Sender, World

TEXT_BYTES_MAX: Final = 150 * 1024
IMAGE_BYTES_MAX: Final = 10 * 1024 * 1024
IMAGES_MAX: Final = 200
EDITS_MAX: Final = 20
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


class PlatformApi:
    def __init__(
        self,
        world: World,
        tokens: Tokens,
        limits: Limits,
        sockets: LongConnections,
        documents: Documents,
    ) -> None:
        self._documents = documents
        self._world = world
        self._tokens = tokens
        self._limits = limits
        self._sockets = sockets
        self._rng: random.Random = world.rng

    def routes(self, api: Api) -> list[Route]:
        table: list[tuple[str, str, Handler]] = [
            ("POST", _MESSAGES, self._create_message),
            ("POST", f"{_MESSAGES}/:message_id/reply", self._reply),
            ("PUT", f"{_MESSAGES}/:message_id", self._edit),
            ("PATCH", f"{_MESSAGES}/:message_id", self._patch),
            ("GET", f"{_MESSAGES}/:message_id", self._get_message),
            ("DELETE", f"{_MESSAGES}/:message_id", self._recall),
            ("POST", f"{_MESSAGES}/:message_id/reactions", self._react),
            ("GET", f"{_MESSAGES}/:message_id/reactions", self._reactions),
            ("DELETE", f"{_MESSAGES}/:message_id/reactions/:reaction_id", self._unreact),
            ("POST", "/open-apis/im/v1/images", self._upload_image),
            ("GET", "/open-apis/im/v1/images/:image_key", self._get_image),
            *uploads(self._world),
            *self._documents.routes(),
            ("GET", "/open-apis/im/v1/chats/:chat_id", self._get_chat),
            ("GET", "/open-apis/im/v1/chats/:chat_id/members", self._members),
            ("GET", "/open-apis/bot/v3/info", self._bot_info),
        ]
        open_table: list[tuple[str, str, Handler]] = [
            ("POST", "/open-apis/auth/v3/tenant_access_token/internal", self._tenant_token),
            ("POST", "/open-apis/auth/v3/app_access_token/internal", self._app_token),
            ("POST", "/callback/ws/endpoint", self._endpoint),
        ]
        return [*api.routes(table), *api.routes(open_table, needs_token=False)]

    # ── credentials ─────────────────────────────────────────────────────────

    async def _tenant_token(self, call: Call) -> Any:
        app = self._tokens.app(call.body.get("app_id"), call.body.get("app_secret"))
        token, expire = self._tokens.issue(app)
        return {"code": 0, "msg": "ok", "tenant_access_token": token, "expire": expire}

    async def _app_token(self, call: Call) -> Any:
        answer = await self._tenant_token(call)
        return {**answer, "app_access_token": answer["tenant_access_token"]}

    async def _endpoint(self, call: Call) -> Any:
        app_id, secret = call.body.get("AppID"), call.body.get("AppSecret")
        app = self._world.apps.get(app_id) if isinstance(app_id, str) else None
        if app is None or app.secret != secret:
            # ``data`` is there with every error: one client reads it before the code.
            return {"code": 514, "msg": "auth failed", "data": {}}
        if self._sockets.full(app.app_id):
            return {
                "code": EXCEED_CONNECTIONS,
                "msg": "the number of connections exceeded the limit",
                "data": {},
            }
        return {
            "code": 0,
            "msg": "",
            "data": {
                "URL": self._sockets.issue_ticket(app.app_id),
                "ClientConfig": self._sockets.client_config,
            },
        }

    async def _bot_info(self, call: Call) -> Any:
        app = self._world.apps[call.app_id]
        bot = {
            "activate_status": 2,
            "app_name": app.name,
            "avatar_url": "",
            "ip_white_list": [],
            "open_id": app.bot_open_id,
        }
        return {"code": 0, "msg": "ok", "bot": bot}

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

    def _checked_content(self, call: Call) -> tuple[str, str]:
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
        if msg_type == "interactive" and isinstance(body, dict) and body.get("schema") == "2.0":
            try:
                check_card(body)
            except PlatformError as wrong:
                raise PlatformError(
                    230099, f"Failed to create card content, ext={wrong.message}"
                ) from wrong
        return str(msg_type), content

    async def _create_message(self, call: Call) -> Any:
        receive_id = call.body.get("receive_id")
        if call.query.get("receive_id_type", "open_id") == "chat_id":
            chat = self._chat(str(receive_id), call.app_id)
        else:
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

    async def _reply(self, call: Call) -> Any:
        parent = self._world.message(call.path["message_id"])
        if parent.recalled:
            raise PlatformError(230011, "The message is recalled.")
        return self._send(call, self._chat(parent.chat_id, call.app_id), parent)

    def _send(self, call: Call, chat: Chat, parent: Message | None) -> Any:
        msg_type, content = self._checked_content(call)
        uuid = call.body.get("uuid")
        before = self._world.sent_before(call.app_id, uuid)
        if before is not None:
            return self._describe(before)
        self._limits.check_send(chat.chat_id)
        thread = None
        if parent is not None and call.body.get("reply_in_thread") and not parent.thread_id:
            thread = parent.thread_id = self._world.new_id("omt_")
        message = self._world.add_message(
            chat,
            self._sender(call.app_id),
            msg_type,
            content,
            parent=parent,
            thread_id=thread,
            uuid=uuid,
        )
        return self._describe(message)

    def _describe(self, message: Message) -> dict[str, Any]:
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
            "body": {} if message.recalled else {"content": message.content},
        }
        for key in ("root_id", "parent_id", "thread_id"):
            if value := getattr(message, key):
                shown[key] = value
        return shown

    def _own(self, call: Call) -> Message:
        message = self._world.message(call.path["message_id"])
        if message.sender.id != call.app_id:
            raise PlatformError(230071, "The operator is not the sender of the message.")
        if message.recalled:
            raise PlatformError(230011, "The message is recalled.")
        return message

    async def _edit(self, call: Call) -> Any:
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

    async def _patch(self, call: Call) -> Any:
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
        message.content = content
        message.update_time = self._world.clock.wall_ms()
        self._world.message_changed(message)
        return {}

    async def _get_message(self, call: Call) -> Any:
        return {"items": [self._describe(self._world.message(call.path["message_id"]))]}

    async def _recall(self, call: Call) -> Any:
        self._world.recall(self._own(call))
        return {}

    async def _react(self, call: Call) -> Any:
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

    async def _reactions(self, call: Call) -> Any:
        """All of a message's reactions of one kind; there are fewer than a page."""
        message = self._world.message(call.path["message_id"])
        kind = call.query.get("reaction_type")
        return {
            "items": [
                {
                    "reaction_id": one.reaction_id,
                    "operator": {
                        "operator_id": one.operator_id,
                        "operator_type": one.operator_type,
                    },
                    "reaction_type": {"emoji_type": one.emoji_type},
                }
                for one in message.reactions
                if kind is None or one.emoji_type == kind
            ],
            "has_more": False,
        }

    async def _unreact(self, call: Call) -> Any:
        message = self._world.message(call.path["message_id"])
        for reaction in message.reactions:
            if reaction.reaction_id == call.path["reaction_id"]:
                if reaction.operator_id != call.app_id:
                    raise PlatformError(231007, "no permission to delete this reaction.")
                self._world.unreact(message, reaction)
                return {"reaction_id": reaction.reaction_id}
        raise PlatformError(231011, "invalid reaction_id.")

    # ── images and chats ────────────────────────────────────────────────────

    async def _upload_image(self, call: Call) -> Any:
        async with call.request.form(max_part_size=IMAGE_BYTES_MAX + 1) as form:
            image = form.get("image")
            if form.get("image_type") not in ("message", "avatar"):
                raise PlatformError(234001, "Invalid request param.")
            if not isinstance(image, UploadFile):
                raise PlatformError(234001, "Invalid request param.")
            data = await image.read()
        if not data:
            raise PlatformError(234010, "File's size can't be 0.")
        if len(data) > IMAGE_BYTES_MAX:
            raise PlatformError(234006, "The file size exceed the max value.")
        key = f"img_v3_{self._rng.getrandbits(96):024x}"
        self._world.images[key] = data
        if len(self._world.images) > IMAGES_MAX:
            self._world.images.popitem(last=False)
        return {"image_key": key}

    async def _get_image(self, call: Call) -> Any:
        data = self._world.images.get(call.path["image_key"])
        if data is None:
            raise PlatformError(234005, "The image is deleted.")
        raise Raw(
            Response(
                data,
                headers={
                    "Content-Type": "application/octet-stream",
                    "Content-Disposition": 'attachment; filename="image"',
                },
            )
        )

    async def _get_chat(self, call: Call) -> Any:
        chat = self._world.chats.get(call.path["chat_id"])
        if chat is None:
            raise PlatformError(232006, "invalid chat_id")
        return {
            "name": chat.name,
            "chat_mode": "p2p" if chat.type == "p2p" else "group",
            "chat_type": "private",
            "chat_status": "normal",
            "external": False,
            "user_count": str(len(chat.members)),
            "bot_count": "1",
        }

    async def _members(self, call: Call) -> Any:
        chat = self._world.chats.get(call.path["chat_id"])
        if chat is None:
            raise PlatformError(232006, "invalid chat_id")
        items = [
            {"member_id_type": "open_id", "member_id": member, "name": self._world.name_of(member)}
            for member in chat.members
        ]
        return {"items": items, "has_more": False, "page_token": "", "member_total": len(items)}

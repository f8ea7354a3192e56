"""The chat APIs: what a chat is, and who is in it; and whose an address is."""

from __future__ import annotations

from typing import Any, Final

from starlette.routing import Route

from actors.sandbox.errors import PlatformError
from actors.sandbox.rest import ApiCall, ApiHandler, OpenApi
from actors.sandbox.world import Chat, World

_CHATS: Final = "/open-apis/im/v1/chats"


class ChatApi:
    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self, api: OpenApi) -> list[Route]:
        table: list[tuple[str, str, ApiHandler]] = [
            ("POST", "/open-apis/contact/v3/users/batch_get_id", self._ids_of),
            ("GET", f"{_CHATS}/:chat_id", self._get),
            ("GET", f"{_CHATS}/:chat_id/members", self._members),
            ("GET", f"{_CHATS}/:chat_id/members/is_in_chat", self._is_in_chat),
        ]
        return api.routes(table)

    def _chat(self, call: ApiCall) -> Chat:
        chat = self._world.chats.get(call.path["chat_id"])
        if chat is None:
            raise PlatformError(232006, "invalid chat_id")
        return chat

    async def _ids_of(self, call: ApiCall) -> Any:
        """Whose addresses these are; of one that is nobody's there is no ``user_id``."""
        emails = call.body.get("emails")
        if call.query.get("user_id_type") != "open_id" or not isinstance(emails, list):
            raise PlatformError(99992402, "field validation failed: user_id_type, emails")
        found = []
        for email in map(str, emails):
            open_id = self._world.id_of_address(email)
            found.append({"email": email} | ({"user_id": open_id} if open_id else {}))
        return {"user_list": found}

    async def _get(self, call: ApiCall) -> Any:
        chat = self._chat(call)
        mode = "topic" if chat.topics == "topic_mode" else "group"
        return {
            "name": chat.name,
            "chat_mode": "p2p" if chat.type == "p2p" else mode,
            "group_message_type": "thread" if chat.topics == "every_message" else "chat",
            "chat_type": "private",
            "chat_status": "normal",
            "external": False,
            "user_count": str(len(chat.members)),
            "bot_count": "1",
        }

    async def _members(self, call: ApiCall) -> Any:
        chat = self._chat(call)
        items = [
            {"member_id_type": "open_id", "member_id": member, "name": self._world.name_of(member)}
            for member in chat.members
        ]
        return {"items": items, "has_more": False, "page_token": "", "member_total": len(items)}

    async def _is_in_chat(self, call: ApiCall) -> Any:
        return {"is_in_chat": self._chat(call).app_id == call.app_id}

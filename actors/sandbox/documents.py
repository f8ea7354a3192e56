"""Documents with comments: enough of them for a bot to be mentioned in one, and to answer."""

from __future__ import annotations

from typing import Any, Final

from actors.sandbox import events
from actors.sandbox.errors import PlatformError
from actors.sandbox.longconn import LongConnections
from actors.sandbox.rest import ApiCall, ApiHandler
from actors.sandbox.world import RegisteredApp, World

_REPLIES: Final = "/open-apis/drive/v1/files/:file_token/comments/:comment_id/replies"
COMMENTS_MAX: Final = 1_000


class Documents:
    """The comments' threads, by document and comment."""

    def __init__(self, world: World, sockets: LongConnections) -> None:
        self._world = world
        self._sockets = sockets
        self._threads: dict[tuple[str, str], list[dict[str, Any]]] = {}

    def routes(self) -> list[tuple[str, str, ApiHandler]]:
        return [("GET", _REPLIES, self._list), ("POST", _REPLIES, self._reply)]

    async def comment(self, body: dict[str, Any], app: RegisteredApp) -> Any:
        """Comment as a user: on a document, or, with ``comment_id``, in a thread there is."""
        file_token = str(body.get("file_token") or "doxcnSandbox")
        comment_id = str(body.get("comment_id") or self._number())
        sender = str(body.get("sender") or next(iter(self._world.users)))
        is_reply = (file_token, comment_id) in self._threads
        elements = [{"type": "text_run", "text_run": {"text": str(body.get("text", ""))}}]
        reply_id = self._add(file_token, comment_id, sender, elements)
        notice = {
            "file_type": "docx",
            "file_token": file_token,
            "from_user_id": events.user_id(sender),
            "to_user_id": events.user_id(app.bot_open_id),
            "notice_type": "add_reply" if is_reply else "add_comment",
        }
        event = {
            "notice_meta": notice,
            "comment_id": comment_id,
            "is_mentioned": bool(body.get("mention_bot", True)),
            **({"reply_id": reply_id} if is_reply else {}),
        }
        pushed = self._sockets.publish(
            app.app_id,
            events.envelope(self._world, app, "drive.notice.comment_add_v1", event),
        )
        return {"comment_id": comment_id, "reply_id": reply_id, "event_id": pushed.event_id}

    def thread(self, file_token: str, comment_id: str) -> list[dict[str, Any]]:
        found = self._threads.get((file_token, comment_id))
        if found is None:
            raise PlatformError(1069307, "not exist")
        return found

    async def _list(self, call: ApiCall) -> Any:
        items = self.thread(call.path["file_token"], call.path["comment_id"])
        return {"items": items, "has_more": False, "page_token": ""}

    async def _reply(self, call: ApiCall) -> Any:
        file_token, comment_id = call.path["file_token"], call.path["comment_id"]
        self.thread(file_token, comment_id)
        content = call.body.get("content")
        elements = content.get("elements") if isinstance(content, dict) else None
        if not isinstance(elements, list) or not elements:
            raise PlatformError(1069302, "param error")
        return {"reply_id": self._add(file_token, comment_id, call.app_id, elements)}

    def _add(self, file_token: str, comment_id: str, user_id: str, elements: Any) -> str:
        thread = self._threads.setdefault((file_token, comment_id), [])
        if len(self._threads) > COMMENTS_MAX:
            del self._threads[next(iter(self._threads))]
        reply_id = self._number()
        thread.append(
            {
                "reply_id": reply_id,
                "user_id": user_id,
                "create_time": self._world.clock.wall_ms() // 1000,
                "content": {"elements": elements},
            }
        )
        return reply_id

    def _number(self) -> str:
        return str(self._world.rng.randrange(10**18, 10**19))

"""The control API: be a user, read every call, inject faults. Loopback only."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import trio
import trio_websocket as ws
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from actors.sandbox import events
from actors.sandbox.documents import Documents
from actors.sandbox.errors import PlatformError
from actors.sandbox.faults import FaultRule
from actors.sandbox.limits import LimitSettings
from actors.sandbox.longconn import ACK_WITHIN_S, Event, LongConnections, Refusal
from actors.sandbox.presses import Presses
from actors.sandbox.rest import Api
from actors.sandbox.world import App, Chat, Mention, Sender, World

PAGE: Final = Path(__file__).parent / "page"
HEARTBEAT_S: Final = 15.0
ACK_POLL_S: Final = 0.002
FLOOD_MAX: Final = 100_000
FLOOD_AT_ONCE_MAX: Final = 1_000
POLICY: Final = "default-src 'self'; img-src 'self' data:"
_OK: Final = 200

Handler = Callable[[dict[str, Any]], Awaitable[Any]]
StructT = TypeVar("StructT", bound=msgspec.Struct)


class Control:
    def __init__(
        self, world: World, api: Api, sockets: LongConnections, documents: Documents, app: App
    ) -> None:
        self._documents = documents
        self._world = world
        self._api = api
        self._sockets = sockets
        self._app = app
        self._presses = Presses(world, sockets)

    def routes(self) -> list[Route | Mount]:
        actions: dict[str, Handler] = {
            "users": self._add_user,
            "chats": self._add_chat,
            "send": self._send,
            "flood": self._flood,
            "click": self._presses.click,
            "upload": self._upload,
            "recall": self._recall,
            "comment": self._comment,
            "react": self._react,
            "push": self._push,
            "faults": self._add_fault,
            "connections": self._act_on_connections,
            "scopes": self._scopes,
            "limits": self._set_limits,
            "expire_token": self._expire_token,
        }
        views: dict[str, Callable[[Request], Any]] = {
            "state": self._state,
            "events": lambda _request: [one.describe() for one in self._sockets.events.values()],
            "calls": self._calls,
            "limits": self._limits,
            "faults": lambda _request: self._api.faults.rules(),
            "connections": lambda _request: [
                one.describe() for one in self._sockets.connections.values()
            ],
            "documents/{file_token}/comments/{comment_id}": lambda request: self._documents.thread(
                request.path_params["file_token"], request.path_params["comment_id"]
            ),
            "cards/{card_id}/history": lambda request: list(
                self._world.card(request.path_params["card_id"]).history
            ),
        }
        routes: list[Route | Mount] = [
            Route("/", lambda _request: RedirectResponse("/sandbox/")),
            Route("/sandbox", lambda _request: RedirectResponse("/sandbox/")),
            Route("/sandbox/", _page),
            Route("/sandbox/stream", self._stream),
            Route("/sandbox/images/{image_key}", self._image),
            Route("/sandbox/faults", self._clear_faults, methods=["DELETE"]),
        ]
        for name, handler in actions.items():
            routes.append(Route(f"/sandbox/{name}", _action(handler), methods=["POST"]))
        for name, view in views.items():
            routes.append(Route(f"/sandbox/{name}", _view(view), methods=["GET"]))
        routes.append(Mount("/sandbox/static", StaticFiles(directory=PAGE, check_dir=False)))
        return routes

    # ── views ───────────────────────────────────────────────────────────────

    def _state(self, _request: Request) -> dict[str, Any]:
        return {
            "seq": self._world.feed.seq,
            "app": {
                "app_id": self._app.app_id,
                "app_name": self._app.name,
                "bot_open_id": self._app.bot_open_id,
            },
            "users": list(self._world.users.values()),
            "chats": list(self._world.chats.values()),
            "messages": list(self._world.messages.values()),
            "cards": [card.describe() for card in self._world.cards.values()],
            "connections": len(self._sockets.connections),
        }

    def _calls(self, request: Request) -> list[Any]:
        since = int(request.query_params.get("since", "0"))
        path = request.query_params.get("path", "")
        return [call for call in self._api.calls if call.n > since and path in call.path]

    async def _stream(self, _request: Request) -> Response:
        return StreamingResponse(
            self._changes(), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    async def _changes(self) -> AsyncIterator[bytes]:
        subscriber = self._world.feed.subscribe()
        try:
            yield b": hello\n\n"
            while True:
                changes: list[tuple[str, Any]] = []
                with trio.move_on_after(HEARTBEAT_S):
                    changes = await subscriber.wait_changes()
                if not changes:
                    yield b": still here\n\n"
                for kind, what in changes:
                    event = {"seq": self._world.feed.seq, "kind": kind, kind: what}
                    yield b"data: " + msgspec.json.encode(event) + b"\n\n"
        finally:
            self._world.feed.unsubscribe(subscriber)

    async def _image(self, request: Request) -> Response:
        data = self._world.images.get(request.path_params["image_key"])
        if data is None:
            return Response(status_code=404)
        return Response(data, media_type="application/octet-stream")

    # ── as a user ───────────────────────────────────────────────────────────

    async def _add_user(self, body: dict[str, Any]) -> Any:
        return self._world.add_user(str(body.get("name") or "Somebody"))

    async def _add_chat(self, body: dict[str, Any]) -> Any:
        members = body.get("members") or list(self._world.users)[:1]
        kind = body.get("type", "p2p")
        if kind not in ("p2p", "group"):
            raise PlatformError(9499, "type is p2p or group")
        name = str(body.get("name") or self._world.name_of(members[0]))
        return self._world.add_chat(
            kind, name, list(members), str(body.get("app_id") or self._app.app_id)
        )

    def _chat(self, body: dict[str, Any]) -> Chat:
        chat = self._world.chats.get(str(body.get("chat_id")))
        if chat is None:
            raise PlatformError(232006, "no such chat; GET /sandbox/state lists them")
        return chat

    async def _send(self, body: dict[str, Any]) -> Any:
        chat = self._chat(body)
        app = self._world.apps[chat.app_id]
        sender = str(body.get("sender") or chat.members[0])
        msg_type = str(body.get("message_type") or "text")
        mentions: list[Mention] = []
        content = body.get("content")
        if content is None:
            text = str(body.get("text", ""))
            if body.get("mention_bot"):
                mentions = [Mention(key="@_user_1", name=app.name, open_id=app.bot_open_id)]
                text = f"@_user_1 {text}"
            content = msgspec.json.encode({"text": text}).decode()
        parent = body.get("parent_id")
        message = self._world.add_message(
            chat,
            Sender(id=sender, type="user", name=self._world.name_of(sender)),
            msg_type,
            str(content),
            parent=self._world.message(parent) if parent else None,
            thread_id=body.get("thread_id"),
            mentions=mentions,
        )
        event = events.message_received(self._world, app, chat, message)
        pushed = self._sockets.publish(app.app_id, event)
        if body.get("wait_ack"):
            with trio.move_on_after(ACK_WITHIN_S):
                while pushed.state == "pending":  # noqa: ASYNC110  # a bench's need, not the platform's
                    await trio.sleep(ACK_POLL_S)
        return {"message_id": message.message_id, "event_id": pushed.event_id}

    async def _upload(self, body: dict[str, Any]) -> Any:
        """Keep a file or image of a user's, given in base64, for a message to carry."""
        data = base64.b64decode(str(body.get("base64", "")), validate=True)
        is_image = body.get("kind") == "image"
        key = f"{'img' if is_image else 'file'}_v3_{self._world.rng.getrandbits(96):024x}"
        (self._world.images if is_image else self._world.files)[key] = data
        return {"key": key}

    async def _flood(self, body: dict[str, Any]) -> Any:
        """Send many messages, *at_once* of them unacked at a time; return when all were acked."""
        chat_ids = [str(chat_id) for chat_id in body.get("chat_ids", [])] or list(self._world.chats)
        count = min(int(body.get("count", 100)), FLOOD_MAX)
        numbers = iter(range(count))

        async def send_some() -> None:
            for number in numbers:
                chat_id = chat_ids[number % len(chat_ids)]
                message = {"chat_id": chat_id, "text": f"message {number}", "wait_ack": True}
                await self._send(message)

        async with trio.open_nursery() as nursery:
            for _ in range(max(1, min(int(body.get("at_once", 10)), FLOOD_AT_ONCE_MAX))):
                nursery.start_soon(send_some)
        return {"sent": count}

    async def _recall(self, body: dict[str, Any]) -> Any:
        message = self._world.message(str(body.get("message_id")))
        self._world.recall(message)
        app = self._world.apps[self._world.chats[message.chat_id].app_id]
        pushed = self._sockets.publish(
            app.app_id, events.message_recalled(self._world, app, message)
        )
        return {"event_id": pushed.event_id}

    async def _comment(self, body: dict[str, Any]) -> Any:
        return await self._documents.comment(body, self._app)

    async def _react(self, body: dict[str, Any]) -> Any:
        message = self._world.message(str(body.get("message_id")))
        operator = str(body.get("operator") or next(iter(self._world.users)))
        return self._world.react(message, str(body.get("emoji_type")), "user", operator)

    # ── as an operator, or a bad network ────────────────────────────────────

    async def _push(self, body: dict[str, Any]) -> Any:
        repeated = body.get("repeat_event_id")
        if repeated is None:
            event = body.get("event")
            if not isinstance(event, dict) or "header" not in event:
                raise PlatformError(9499, "event must be an envelope")
            app_id = str(event["header"].get("app_id") or self._app.app_id)
            known = Event(
                event_id=str(event["header"].get("event_id")),
                event_type=str(event["header"].get("event_type")),
                app_id=app_id,
                payload=msgspec.json.encode(event),
            )
            self._sockets.events[known.event_id] = known
        else:
            found = self._sockets.events.get(str(repeated))
            if found is None:
                raise PlatformError(9499, "no such event; GET /sandbox/events lists them")
            known = found
        await trio.sleep(float(body.get("delay_s", 0)))
        frames_as = str(body.get("frames", "normal"))
        async with trio.open_nursery() as nursery:
            for _ in range(min(int(body.get("times", 1)), 1000)):
                nursery.start_soon(self._push_once, known, frames_as)
        return known.describe()

    async def _push_once(self, event: Event, frames_as: str) -> None:
        waiting = await self._sockets.push_once(event, frames_as=frames_as)
        if waiting.code == _OK:
            event.state = "delivered"

    async def _add_fault(self, body: dict[str, Any]) -> Any:
        return {"fault_id": self._api.faults.add(_convert(body, FaultRule))}

    async def _clear_faults(self, _request: Request) -> Response:
        self._api.faults.clear()
        return _json({})

    async def _act_on_connections(self, body: dict[str, Any]) -> Any:
        live = list(self._sockets.connections.values())
        match body.get("action"):
            case "close":
                for one in live:
                    await _close(one.socket, int(body.get("code", 1000)))
            case "abort":
                for one in live:
                    await self._sockets.abort(one)
            case "freeze":
                for one in live:
                    self._sockets.freeze(one)
            case "refuse":
                body.pop("action")
                self._sockets.refusals.append(_convert(body, Refusal))
            case "ping_interval":
                self._sockets.client_config["PingInterval"] = int(body["seconds"])
            case other:
                raise PlatformError(9499, f"unknown action {other}")
        return {"connections": len(live)}

    async def _set_limits(self, body: dict[str, Any]) -> Any:
        """Change what is given of the limits; the rest stays."""
        limits = self._api.limits
        limits.settings = _convert({**msgspec.to_builtins(limits.settings), **body}, LimitSettings)
        return limits.settings

    def _limits(self, _request: Request) -> dict[str, Any]:
        return {"settings": self._api.limits.settings, "usage": self._api.limits.usage()}

    async def _scopes(self, body: dict[str, Any]) -> Any:
        self._api.missing_scopes = set(body.get("missing", []))
        return {"missing": sorted(self._api.missing_scopes)}

    async def _expire_token(self, _body: dict[str, Any]) -> Any:
        self._api.tokens.expire_all()
        return {}


async def _close(socket: ws.WebSocketConnection, code: int) -> None:
    with trio.move_on_after(1):
        await socket.aclose(code, "closed by the sandbox")


def _convert(body: dict[str, Any], kind: type[StructT]) -> StructT:
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as wrong:
        raise PlatformError(9499, str(wrong)) from wrong


async def _page(_request: Request) -> Response:
    index = PAGE / "index.html"
    if not index.exists():
        return Response("the chat page is not installed", status_code=404)
    return FileResponse(index, headers={"Content-Security-Policy": POLICY})


def _json(value: Any, status: int = 200) -> Response:
    return Response(
        msgspec.json.encode(value),
        status_code=status,
        headers={"Content-Type": "application/json; charset=utf-8"},
    )


def _action(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        try:
            body = msgspec.json.decode(await request.body() or b"{}")
            if not isinstance(body, dict):
                raise PlatformError(9499, "the body is not an object")
            return _json(await handler(body))
        except (PlatformError, msgspec.DecodeError, ValueError, KeyError) as wrong:
            return _json({"error": str(wrong)}, 400)

    return serve


def _view(view: Callable[[Request], Any]) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        try:
            return _json(view(request))
        except (PlatformError, ValueError) as wrong:
            return _json({"error": str(wrong)}, 400)

    return serve

"""The control API: what people do, every call to read, faults to inject, and the chat page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import trio
import trio_websocket as ws
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Send

from actors.sandbox.app_api import AppApi
from actors.sandbox.documents import Documents
from actors.sandbox.errors import PlatformError
from actors.sandbox.faults import FaultRule
from actors.sandbox.limits import LimitSettings
from actors.sandbox.longconn import Event, HandshakeRefusal, LongConnections
from actors.sandbox.people import PeopleApi
from actors.sandbox.presses import CardPresses
from actors.sandbox.registration import Registrations, RegistrationSettings
from actors.sandbox.rest import OpenApi
from actors.sandbox.world import RegisteredApp, World

PAGE: Final = Path(__file__).parent / "page"
HEARTBEAT_S: Final = 15.0
POLICY: Final = "default-src 'self'; img-src 'self' data: blob:; media-src blob:"
_OK: Final = 200

ControlHandler = Callable[[dict[str, Any]], Awaitable[Any]]
StructT = TypeVar("StructT", bound=msgspec.Struct)


class ClosingStream(StreamingResponse):
    """Closes its async generator, which Starlette leaves to the garbage collector."""

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self.body_iterator):  # type: ignore[type-var]  # a generator
            await super().stream_response(send)


class ControlParts(msgspec.Struct, frozen=True, kw_only=True):
    """What the control API acts on beside the world and its API."""

    people: PeopleApi
    sockets: LongConnections
    documents: Documents
    registrations: Registrations
    app_api: AppApi


class ControlApi:
    def __init__(self, world: World, api: OpenApi, parts: ControlParts, app: RegisteredApp) -> None:
        self._world = world
        self._api = api
        self._parts = parts
        self._sockets = parts.sockets
        self._app = app

    def routes(self) -> list[Route | Mount]:
        people = self._parts.people
        actions: dict[str, ControlHandler] = {
            "users": people.add_user,
            "chats": people.add_chat,
            "send": people.send,
            "flood": people.flood,
            "upload": people.upload,
            "recall": people.recall,
            "comment": people.comment,
            "react": people.react,
            "click": CardPresses(self._world, self._sockets).click,
            "push": self._push,
            "faults": self._add_fault,
            "connections": self._act_on_connections,
            "scopes": self._scopes,
            "limits": self._set_limits,
            "speech": self._set_speech,
            "registrations": self._parts.registrations.scan,
            "registrations/settings": self._set_registrations,
            "expire_token": self._expire_token,
        }
        views: dict[str, Callable[[Request], Any]] = {
            "state": self._state,
            "events": lambda _request: [one.describe() for one in self._sockets.events.values()],
            "events/{event_id}": self._event,
            "calls": self._calls,
            "limits": self._limits,
            "faults": lambda _request: self._api.faults.rules(),
            "connections": lambda _request: [
                one.describe() for one in self._sockets.connections.values()
            ],
            "registrations": lambda _request: self._parts.registrations.views(),
            "documents/{file_token}/comments/{comment_id}": lambda request: (
                self._parts.documents.thread(
                    request.path_params["file_token"], request.path_params["comment_id"]
                )
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
            Route("/sandbox/files/{key}", self._file),
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
            "apps": [
                {"app_id": one.app_id, "app_name": one.name, "bot_open_id": one.bot_open_id}
                for one in self._world.apps.values()
            ],
            "users": list(self._world.users.values()),
            "chats": list(self._world.chats.values()),
            "messages": list(self._world.messages.values()),
            "cards": [card.describe() for card in self._world.cards.values()],
            "connections": len(self._sockets.connections),
        }

    def _event(self, request: Request) -> dict[str, Any]:
        """One event with what was pushed."""
        found = self._sockets.events.get(request.path_params["event_id"])
        if found is None:
            raise PlatformError(9499, "no such event; GET /sandbox/events lists them")
        return {**found.describe(), "envelope": msgspec.json.decode(found.payload)}

    def _calls(self, request: Request) -> list[Any]:
        since = int(request.query_params.get("since", "0"))
        path = request.query_params.get("path", "")
        return [call for call in self._api.calls if call.n > since and path in call.path]

    async def _stream(self, _request: Request) -> Response:
        return ClosingStream(
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

    async def _file(self, request: Request) -> Response:
        file = self._world.files.get(request.path_params["key"])
        if file is None:
            return Response(status_code=404)
        return Response(file.data, media_type="application/octet-stream")

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
                self._sockets.refusals.append(_convert(body, HandshakeRefusal))
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
        """Withdraw scopes of all apps; grant an app others; let the list of them be empty."""
        if "missing" in body:
            self._api.missing_scopes = set(body["missing"])
        if "granted" in body:
            app = self._world.apps.get(str(body.get("app_id") or self._app.app_id))
            if app is None:
                raise PlatformError(9499, "no such app; GET /sandbox/state lists them")
            app.scopes = frozenset(body["granted"])
        if "listed" in body:
            self._parts.app_api.lists_scopes = body["listed"] is True
        return {
            "missing": sorted(self._api.missing_scopes),
            "granted": {one.app_id: sorted(one.scopes) for one in self._world.apps.values()},
        }

    async def _set_speech(self, body: dict[str, Any]) -> Any:
        self._parts.app_api.recognised = str(body.get("text", ""))
        return {}

    async def _set_registrations(self, body: dict[str, Any]) -> Any:
        registrations = self._parts.registrations
        now = msgspec.to_builtins(registrations.settings)
        registrations.settings = _convert({**now, **body}, RegistrationSettings)
        return registrations.settings

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
    headers = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}
    return FileResponse(index, headers={**headers, "Cache-Control": "no-store"})


def _json(value: Any, status: int = 200) -> Response:
    return Response(
        msgspec.json.encode(value),
        status_code=status,
        headers={"Content-Type": "application/json; charset=utf-8"},
    )


def _action(handler: ControlHandler) -> Callable[[Request], Awaitable[Response]]:
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

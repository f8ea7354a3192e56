"""The console's HTTP: one page, its events, and what operators may do from there.

Who has the address may look; only an address made with the dispatcher's token may act. The
token goes with every call of the page in a header, so no other page can make one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import msgspec
import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Send

from actors.kit.clock import local_clock
from actors.kit.mailbox import ActorGone, ask
from actors.messages import journal, lane, ownership
from actors.monitoring.history import LOOK_EVERY_S, Recorder
from actors.monitoring.overview import call_tool
from actors.monitoring.peers import Peers
from protocol.ids import ChatId, OpenId, SessionId
from protocol.routing import channel_tools
from protocol.routing.history import history_text
from protocol.wire.vocabulary import Role

PAGE: Final = Path(__file__).parent / "page"
STATIC: Final = {"console.css": "text/css", "console.js": "text/javascript"} | dict.fromkeys(
    ("plot.js", "table.js", "texts.js"), "text/javascript"
)
"""What the page loads. It holds no secret, so it needs no token."""
BODY_BYTES_MAX: Final = 4_096
STOP_WITHIN_S: Final = 3.0
EXPLAIN_WITHIN_S: Final = 3.0
BY: Final = OpenId("operator")
_HANDOFF: Final = {
    "acquire": channel_tools.ACQUIRE,
    "grant": channel_tools.GRANT,
    "return": channel_tools.RETURN,
    "reclaim": channel_tools.RECLAIM,
}
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self';"
        " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}


class ClosingStream(StreamingResponse):
    """Closes its async generator, which Starlette leaves to the garbage collector."""

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self.body_iterator):  # type: ignore[type-var]  # a generator
            await super().stream_response(send)


class Access(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Who may, and what the machine knows of a message."""

    role_of: Callable[[str], Role | None]
    log_about: Callable[[set[str]], list[Mapping[str, Any]]]
    """``log_about(ids)``: the events of the log about them. Reads files; called in a thread."""


class Handoff(msgspec.Struct, frozen=True, kw_only=True):
    action: str
    session_id: str | None = None


class StopForm(msgspec.Struct, frozen=True, kw_only=True):
    session_id: str
    chat_id: str


def console_app(recorder: Recorder, access: Access, beside: Sequence[Route] = ()) -> ASGIApp:
    """Return the console, and *beside* it what needs no token."""
    console = _Console(recorder, access)
    return Starlette(
        routes=[
            *beside,
            Route("/", console.page),
            Route("/static/{name}", console.static),
            Route("/api/stream", console.stream),
            Route("/api/log", console.log),
            Route("/api/handoff", console.hand_off, methods=["POST"]),
            Route("/api/stop", console.stop, methods=["POST"]),
        ],
        exception_handlers={404: console.nowhere, 405: console.nowhere},
    )


class _Console:
    def __init__(self, recorder: Recorder, access: Access) -> None:
        self._recorder = recorder
        self._access = access

    async def page(self, request: Request) -> Response:
        if self._access.role_of(request.query_params.get("token", "")) is None:
            return _answer(401, error="this address lacks its token; run: larkd console")
        return await _file("console.html", "text/html")

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in STATIC:
            raise HTTPException(404)
        return await _file(name, STATIC[name])

    async def nowhere(self, request: Request, wrong: Exception) -> Response:
        """Answer what is no address of the console; without a token not even that it is none."""
        if self._role(request) is None:
            return _answer(401, error="the token is missing or was rotated; run: larkd console")
        assert isinstance(wrong, HTTPException)
        return _answer(wrong.status_code, error=wrong.detail)

    async def stream(self, request: Request) -> Response:
        """Send what is, each second that it changes, and the daemon's clock (ms), as events."""
        role = self._role(request)
        if role is None:
            return _answer(401, error="the token is missing or was rotated; run: larkd console")
        events = self._events(may_act=role == "dispatcher")
        return ClosingStream(events, media_type="text/event-stream", headers=_HEADERS)

    async def _events(self, *, may_act: bool) -> AsyncIterator[bytes]:
        shown = b""
        while True:
            view = await self._recorder.view(texts=may_act)
            drawn = msgspec.json.encode({**view, "may_act": may_act})
            # Where nothing changes its clock goes on, and the connection is known to be open.
            peers = self._recorder.peers
            yield (
                b": still\n\n" if peers is None else b"event: clock\ndata: %d\n\n" % peers.now_ms()
            )
            if drawn != shown:
                yield b"data: " + drawn + b"\n\n"
            shown = drawn
            await trio.sleep(LOOK_EVERY_S)

    async def log(self, request: Request) -> Response:
        if self._role(request) is None:
            return _answer(401, error="the token is missing or was rotated")
        message = request.query_params.get("message", "")[:128]
        peers = self._recorder.peers
        row = None if peers is None else await _explained(peers, message)
        known = {message} | ({row.event_id, row.history.message_id or message} if row else set())
        try:
            log = await trio.to_thread.run_sync(self._access.log_about, known)
        except OSError as failed:
            return _answer(500, error=f"the log can't be read: {failed.strerror}")
        steps = None if row is None else history_text(row.history, local_clock)
        found = {
            "session_id": None if row is None else row.history.session_id,
            "steps": None if steps is None else {"en": steps.en, "zh": steps.zh},
            "log": log,
        }
        return Response(msgspec.json.encode(found), media_type="application/json", headers=_HEADERS)

    async def hand_off(self, request: Request) -> Response:
        asked, refusal = await self._asked(request, Handoff)
        peers = self._recorder.peers
        if asked is None or peers is None:
            return refusal or _answer(503, error="the daemon does not serve now")
        if asked.action not in _HANDOFF:
            return _answer(400, error=f"action: allowed: {', '.join(_HANDOFF)}")
        targeted = asked.action in ("acquire", "grant")
        args = {"session_id": asked.session_id} if targeted else {}
        done = await call_tool(peers, _HANDOFF[asked.action], args)
        if isinstance(done, ownership.ToolFailed):
            return _answer(409, error=done.error)
        return _answer(200, result=str(done.result))

    async def stop(self, request: Request) -> Response:
        asked, refusal = await self._asked(request, StopForm)
        peers = self._recorder.peers
        if asked is None or peers is None:
            return refusal or _answer(503, error="the daemon does not serve now")
        session_id, chat_id = SessionId(asked.session_id), ChatId(asked.chat_id)
        try:
            answer: lane.StopAnswer = await ask(
                peers.lanes_tx,
                lambda reply: lane.StopTurn(
                    session_id=session_id,
                    turn_id=None,
                    chat_id=chat_id,
                    by=BY,
                    by_admin=True,
                    reason="user",
                    reply=reply,
                ),
                within_s=STOP_WITHIN_S,
            )
        except (trio.TooSlowError, ActorGone):
            return _answer(503, error="the session's lane did not answer")
        if isinstance(answer, lane.Stopped):
            return _answer(200, result=f"Stopped {answer.alias}.")
        return _answer(409, error="Nothing is running.")

    # ── who may ─────────────────────────────────────────────────────────────

    def _role(self, request: Request) -> Role | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return self._access.role_of(token) if scheme.lower() == "bearer" else None

    async def _asked(
        self, request: Request, kind: type[Any]
    ) -> tuple[Any, None] | tuple[None, Response]:
        """Return what an operator who may act asked for, or the refusal."""
        role = self._role(request)
        if role is None:
            return None, _answer(401, error="the token is missing or was rotated")
        if role != "dispatcher":
            return None, _answer(403, error="this address is to look only")
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_BYTES_MAX:
                return None, _answer(413, error="too long")
        try:
            return msgspec.json.decode(body, type=kind), None
        except msgspec.MsgspecError as wrong:
            return None, _answer(400, error=str(wrong))


async def _file(name: str, media_type: str) -> Response:
    content = await trio.Path(PAGE / name).read_bytes()
    return Response(content, media_type=f"{media_type}; charset=utf-8", headers=_HEADERS)


async def _explained(peers: Peers, message: str) -> journal.Explained | None:
    """Return what the journal knows of it; None also where it does not answer."""
    answer: journal.Explained | journal.Failed | None = await journal.ask_journal(
        peers.journal_tx,
        lambda reply: journal.Explain(message=message, reply=reply),
        within_s=EXPLAIN_WITHIN_S,
    )
    return None if isinstance(answer, journal.Failed) else answer


def _answer(status: int, **content: str) -> Response:
    return JSONResponse(content, status_code=status, headers=_HEADERS)

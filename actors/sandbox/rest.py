"""The platform's own API: tokens, endpoint discovery, messages, cards, chats.

A route is a template and a handler. Around each handler: faults, token, scopes, rate
limits, the answer's envelope, and a record of the call for tests to read.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from actors.sandbox import scopes
from actors.sandbox.errors import PlatformError
from actors.sandbox.faults import HANG_S, FaultRule, Faults
from actors.sandbox.limits import CallLimits
from actors.sandbox.tokens import IssuedTokens
from actors.sandbox.world import World

CALLS_MAX: Final = 20_000
RECORDED_BYTES_MAX: Final = 64 * 1024
JSON: Final = "application/json; charset=utf-8"
PERMISSIONS_URL: Final = "https://open.feishu.cn/app"

ApiHandler = Callable[["ApiCall"], Awaitable[Any]]


class ConnectionCut(Exception):
    """The connection is to be cut without an answer."""


class _Cut(Response):
    """Promises an answer that never comes, so that the server has to cut the connection.

    As near to a lost connection as it goes from up here.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # ASGI's signature
        headers = [(b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})


class Record(msgspec.Struct, kw_only=True):
    """One call as it was received and answered."""

    n: int
    at_ms: int
    method: str
    path: str
    template: str
    app_id: str | None
    status: int = 0
    code: int = 0
    ms: float = 0.0
    request: Any = None
    response: Any = None


class ApiCall:
    """What a handler is given: the request, its JSON body, and who calls."""

    def __init__(self, request: Request, body: dict[str, Any], app_id: str) -> None:
        self.request = request
        self.body = body
        self.app_id = app_id
        self.path = request.path_params
        self.query = request.query_params


class Raw(Exception):
    """An answer that is not the usual envelope: a file."""

    def __init__(self, response: Response) -> None:
        super().__init__("raw")
        self.response = response


class OpenApi:
    """Wraps handlers into what the platform does around each of them."""

    def __init__(
        self, world: World, tokens: IssuedTokens, limits: CallLimits, faults: Faults
    ) -> None:
        self._world = world
        self.tokens = tokens
        self.limits = limits
        self.faults = faults
        self.missing_scopes: set[str] = set()
        self.is_exempt: Callable[[str, Mapping[str, Any]], bool] = lambda _template, _path: False
        """Whether a call counts towards no API's quota."""
        self.calls: deque[Record] = deque(maxlen=CALLS_MAX)
        self._numbers = itertools.count(1)
        self._run = world.rng.getrandbits(32)

    def routes(
        self, table: list[tuple[str, str, ApiHandler]], *, needs_token: bool = True
    ) -> list[Route]:
        """Return the routes of (method, template, handler) rows."""
        return [
            Route(
                _starlette(template),
                self.endpoint(method, template, handler, needs_token=needs_token),
                methods=[method],
            )
            for method, template, handler in table
        ]

    def endpoint(
        self, method: str, template: str, handler: ApiHandler, *, needs_token: bool = True
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return the starlette endpoint of one API."""

        async def serve(request: Request) -> Response:
            record = Record(
                n=next(self._numbers),
                at_ms=self._world.clock.wall_ms(),
                method=method,
                path=request.url.path,
                template=template,
                app_id=None,
            )
            started = trio.current_time()
            self.calls.append(record)
            fault = self.faults.take(method, template)
            try:
                response = await self._answer(request, record, handler, fault, needs_token)
                if fault is not None and fault.kind == "apply_then_drop":
                    raise ConnectionCut
                if fault is not None and fault.kind == "apply_then_hang":
                    await trio.sleep(HANG_S)
                return response
            except ConnectionCut:
                return _Cut()
            finally:
                record.ms = round((trio.current_time() - started) * 1000, 3)

        return serve

    async def _answer(
        self,
        request: Request,
        record: Record,
        handler: ApiHandler,
        fault: FaultRule | None,
        needs_token: bool,
    ) -> Response:
        try:
            if fault is not None:
                raw = await self._meet(fault)
                if raw is not None:
                    record.status = raw.status_code
                    return raw
            body = await self._body(request, record)
            app_id = ""
            if needs_token:
                app_id = self.tokens.check(request.headers.get("authorization"))
                record.app_id = app_id
                self._check_scope(record.method, record.template, app_id)
                if not self.is_exempt(record.template, request.path_params):
                    self.limits.check_api(app_id, f"{record.method} {record.template}")
            answer = await handler(ApiCall(request, body, app_id))
        except PlatformError as refused:
            record.status, record.code = refused.status, refused.code
            return self._refuse(refused, record)
        except Raw as raw_answer:
            record.status = raw_answer.response.status_code
            return raw_answer.response
        record.status = 200
        if isinstance(answer, dict) and "code" in answer:
            record.code = answer["code"]
            return self._respond(200, answer, record)
        return self._respond(200, {"code": 0, "msg": "success", "data": answer or {}}, record)

    async def _meet(self, fault: FaultRule) -> Response | None:
        match fault.kind:
            case "delay":
                await self.faults.delay(fault.seconds)
            case "hang":
                await trio.sleep(HANG_S)
                raise ConnectionCut
            case "drop":
                raise ConnectionCut
            case "garbage":
                return Response(b"<html>\x00 upstream error", status_code=fault.status)
            case "code":
                raise PlatformError(
                    fault.code,
                    fault.message,
                    status=fault.status,
                    headers=fault.headers,
                    error=fault.body,
                )
        return None

    async def _body(self, request: Request, record: Record) -> dict[str, Any]:
        kind = request.headers.get("content-type", "")
        if kind.startswith("multipart/"):
            return {}
        raw = await request.body()
        if not raw:
            return {}
        if kind.startswith("application/x-www-form-urlencoded"):
            record.request = dict(parse_qsl(raw.decode(errors="replace")))
            return dict(record.request)
        try:
            body = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeError) as wrong:
            raise PlatformError(9499, f"Bad Request: {wrong}") from wrong
        if not isinstance(body, dict):
            raise PlatformError(9499, "Bad Request: the body is not an object")
        if len(raw) <= RECORDED_BYTES_MAX:
            record.request = body
        return body

    def granted(self, app_id: str) -> frozenset[str]:
        """Return the scopes an app has at this moment."""
        return self._world.apps[app_id].scopes - self.missing_scopes

    def _check_scope(self, method: str, template: str, app_id: str) -> None:
        needed = scopes.needed(method, template)
        if not needed or self.granted(app_id) & set(needed):
            return
        listed = ", ".join(needed)
        query = ",".join(needed)
        url = f"{PERMISSIONS_URL}/{app_id}/auth?q={query}&op_from=openapi&token_type=tenant"
        raise PlatformError(
            99991672,
            f"Access denied. One of the following scopes is required: [{listed}]."
            f"应用尚未开通所需的应用身份权限：[{listed}]，点击链接申请并开通任一权限即可：{url}",
            error={
                "permission_violations": [
                    {"type": "action_scope_required", "subject": scope} for scope in needed
                ],
                "helps": [{"url": url, "description": "Learn more about scopes"}],
            },
        )

    def _refuse(self, refused: PlatformError, record: Record) -> Response:
        error = {
            "log_id": self._log_id(record),
            "troubleshooter": f"排查建议查看: https://open.feishu.cn/search?code={refused.code}",
            **refused.error,
        }
        return self._respond(
            refused.status,
            {"code": refused.code, "msg": refused.message, "error": error},
            record,
            refused.headers,
        )

    def _respond(
        self,
        status: int,
        body: dict[str, Any],
        record: Record,
        headers: dict[str, str] | None = None,
    ) -> Response:
        record.response = body
        return Response(
            msgspec.json.encode(body),
            status_code=status,
            headers={"Content-Type": JSON, "X-Tt-Logid": self._log_id(record), **(headers or {})},
        )

    def _log_id(self, record: Record) -> str:
        return f"{record.at_ms:014d}{self._run:08x}{record.n:010d}"


def _starlette(template: str) -> str:
    return "/".join(
        f"{{{part[1:]}}}" if part.startswith(":") else part for part in template.split("/")
    )

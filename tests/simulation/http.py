"""HTTP to an ASGI application in memory, with the faults a network and a platform have.

A call is made in a task of the platform's own: that its caller gave up does not undo it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import trio

from actors.sandbox.access import TOKEN_HEADER
from tests.simulation.clock import sleep
from tests.simulation.plan import BadHttp

OK = 200
READ_WITHIN_S = 60.0
REFUSED = b'{"code": 99991400, "msg": "request trigger frequency limit"}'
DENIED = (
    b'{"code": 99991672, "msg": "Access denied.", "error": {"permission_violations":'
    b' [{"type": "action_scope_required", "subject": "cardkit:card:write"}]}}'
)
SCOPE = "cardkit:card:write"
ROUND_TRIP_S = 0.02
MISSING_SCOPE = 99991672
ERROR_CODES = {230099: 11310}
"""What a code's message names as well."""

Answered = Callable[[str, int, bytes], None]
"""``answered(path, status, content)``: the platform has answered a call."""
Site = Callable[[Any, Any, Any], Any]
Headers = list[tuple[bytes, bytes]]


class Answer:
    """What came of one call, once it has."""

    def __init__(self) -> None:
        self.came = trio.Event()
        self.response: httpx.Response | None = None
        self.lost = False

    def set(self, response: httpx.Response | None) -> None:
        if not self.came.is_set():
            self.response = response
            self.came.set()


class Transport(httpx.AsyncBaseTransport):
    """One client's way to the platform. *fault* names what the next call of a path meets."""

    def __init__(
        self,
        site: Site,
        platform: trio.Nursery,
        fault: Callable[[str], BadHttp | None],
        is_dead: Callable[[], bool],
        answered: Answered = lambda _path, _status, _content: None,
    ) -> None:
        self._answered = answered
        self._site = site
        self._platform = platform
        self._fault = fault
        self._is_dead = is_dead

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        if self._is_dead():
            raise httpx.ConnectError("the process is gone", request=request)
        within_s = request.extensions.get("timeout", {}).get("read") or READ_WITHIN_S
        answer = Answer()
        self._platform.start_soon(self._carry, request, body, answer, self._fault(request.url.path))
        with trio.move_on_after(within_s):
            await answer.came.wait()
            if answer.response is None:
                raise httpx.ReadError("the connection broke", request=request)
            answer.response.request = request
            return answer.response
        raise httpx.ReadTimeout(f"no answer in {within_s:g} s", request=request)

    async def _carry(
        self, request: httpx.Request, body: bytes, answer: Answer, fault: BadHttp | None
    ) -> None:
        """Bring the call to the application and its answer back, as *fault* has it."""
        await sleep(ROUND_TRIP_S / 2)
        kind = fault.kind if fault is not None else ""
        seconds = fault.seconds if fault is not None else 0.0
        if kind in {"slow", "late"}:
            await sleep(seconds)
        if kind == "lost before":
            answer.set(None)
        elif kind == "refused":
            answer.set(
                httpx.Response(
                    429, stream=httpx.ByteStream(REFUSED), headers={"x-ogw-ratelimit-reset": "1"}
                )
            )
        elif fault is not None and kind == "code":
            answer.set(_refusal(fault.code, seconds))
        elif kind == "denied":
            answer.set(httpx.Response(400, stream=httpx.ByteStream(DENIED)))
        elif kind != "hangs":
            response, content = await call(self._site, request, body)
            self._answered(request.url.path, response.status_code, content)
            await sleep(ROUND_TRIP_S / 2)
            match kind:
                case "lost after":
                    answer.set(None)
                case "hangs after":
                    pass
                case "twice":
                    await sleep(seconds / 4)
                    again, _ = await call(self._site, request, body)
                    answer.set(again)
                case _:
                    answer.set(response)


def _refusal(code: int, reset_s: float) -> httpx.Response:
    problem: dict[str, Any] = {"code": code, "msg": f"injected; ErrCode: {ERROR_CODES.get(code)}"}
    if code == MISSING_SCOPE:
        problem = json.loads(DENIED)
        problem["error"]["helps"] = [{"url": f"https://open.feishu.cn/app/cli_a/auth?q={SCOPE}"}]
    headers = {"x-ogw-ratelimit-reset": f"{reset_s:g}"} if reset_s else {}
    return httpx.Response(
        400, stream=httpx.ByteStream(json.dumps(problem).encode()), headers=headers
    )


class Control:
    """What people do: calls of the sandbox's own interface, which nothing goes wrong with."""

    def __init__(self, site: Site, token: str) -> None:
        self._site = site
        self._headers = [
            (b"host", b"localhost"),
            (b"content-type", b"application/json"),
            (TOKEN_HEADER.lower().encode(), token.encode()),
        ]

    async def get(self, path: str) -> Any:
        return await self._call("GET", path, b"")

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """Return what was answered; None where that is nothing."""
        return await self._call("POST", path, msgspec.json.encode(body))

    async def _call(self, method: str, path: str, body: bytes) -> Any:
        await sleep(ROUND_TRIP_S / 2)
        scope = _scope(method, f"/sandbox/{path}", self._headers)
        status, _headers, content = await _run(self._site, scope, body)
        await sleep(ROUND_TRIP_S / 2)
        if method == "GET" and status != OK:
            raise AssertionError(f"{path} is answered with {status}: {content!r}")
        return msgspec.json.decode(content) if content else None


async def call(site: Site, request: httpx.Request, body: bytes) -> tuple[httpx.Response, bytes]:
    """Make one call of an ASGI application and return its whole answer, and the content of it."""
    url = request.url
    headers = [(name.lower(), value) for name, value in request.headers.raw]
    scope = _scope(request.method, url.path, headers, url.query)
    status, sent, content = await _run(site, scope, body)
    return httpx.Response(status, headers=sent, stream=httpx.ByteStream(content)), content


def _scope(method: str, path: str, headers: Headers, query: bytes = b"") -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


async def _run(site: Site, scope: dict[str, Any], body: bytes) -> tuple[int, Headers, bytes]:
    unread = [{"type": "http.request", "body": body, "more_body": False}]
    head: dict[str, Any] = {"status": 500, "headers": []}
    content = bytearray()

    async def receive() -> dict[str, Any]:
        return unread.pop() if unread else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            head.update(message)
        else:
            content.extend(message.get("body", b""))

    await site(scope, receive, send)
    return head["status"], head["headers"], bytes(content)

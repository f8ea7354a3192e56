"""HTTP to an ASGI application in memory, with the faults a network and a platform have.

A call is made in a task of the platform's own: that its caller gave up does not undo it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import trio

from tests.simulation.plan import BadHttp

READ_WITHIN_S = 60.0
REFUSED = b'{"code": 99991400, "msg": "request trigger frequency limit"}'
DENIED = (
    b'{"code": 99991672, "msg": "Access denied.", "error": {"permission_violations":'
    b' [{"type": "action_scope_required", "subject": "cardkit:card:write"}]}}'
)
ROUND_TRIP_S = 0.02
MISSING_SCOPE = 99991672
ERROR_CODES = {230099: 11310}
"""What a code's message names as well."""

Answered = Callable[[str, int, bytes], None]
"""``answered(path, status, content)``: the platform has answered a call."""
Site = Callable[[Any, Any, Any], Any]


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
    """One client's way to the platform. *fault* says what the next call of a path meets."""

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
        await trio.sleep(ROUND_TRIP_S / 2)
        kind = fault.kind if fault is not None else ""
        seconds = fault.seconds if fault is not None else 0.0
        if kind in {"slow", "late"}:
            await trio.sleep(seconds)
        if kind == "lost before":
            answer.set(None)
        elif kind == "refused":
            answer.set(
                httpx.Response(
                    429, stream=httpx.ByteStream(REFUSED), headers={"x-ogw-ratelimit-reset": "1"}
                )
            )
        elif fault is not None and kind == "code":
            answer.set(_refusal(fault.code))
        elif kind == "denied":
            answer.set(httpx.Response(400, stream=httpx.ByteStream(DENIED)))
        elif kind != "hangs":
            response, content = await call(self._site, request, body)
            self._answered(request.url.path, response.status_code, content)
            await trio.sleep(ROUND_TRIP_S / 2)
            match kind:
                case "lost after":
                    answer.set(None)
                case "hangs after":
                    pass
                case "twice":
                    await trio.sleep(seconds / 4)
                    again, _ = await call(self._site, request, body)
                    answer.set(again)
                case _:
                    answer.set(response)


def _refusal(code: int) -> httpx.Response:
    problem: dict[str, Any] = {"code": code, "msg": f"injected; ErrCode: {ERROR_CODES.get(code)}"}
    if code == MISSING_SCOPE:
        return httpx.Response(400, stream=httpx.ByteStream(DENIED))
    return httpx.Response(400, stream=httpx.ByteStream(json.dumps(problem).encode()))


async def call(site: Site, request: httpx.Request, body: bytes) -> tuple[httpx.Response, bytes]:
    """Make one call of an ASGI application and return its whole answer, and the content of it."""
    url = request.url
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": url.scheme,
        "path": url.path,
        "raw_path": url.raw_path.split(b"?")[0],
        "query_string": url.query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": ("127.0.0.1", 1),
        "server": (url.host, url.port or 80),
    }
    unread = [{"type": "http.request", "body": body, "more_body": False}]
    head: dict[str, Any] = {"status": 500, "headers": []}
    content = bytearray()

    async def receive() -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        return unread.pop() if unread else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        if message["type"] == "http.response.start":
            head.update(message)
        else:
            content.extend(message.get("body", b""))

    await site(scope, receive, send)
    whole = bytes(content)
    stream = httpx.ByteStream(whole)
    return httpx.Response(head["status"], headers=head["headers"], stream=stream), whole

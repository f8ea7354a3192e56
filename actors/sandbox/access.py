"""Who may use the sandbox: the person who started it, and nobody a browser brings along.

Every request must name this machine in ``Host`` and, if it has one, in ``Origin``, so
that no web page can reach the sandbox under a name of its own. The control API, which
acts as Alice, wants the run's token in a header (no form or foreign page can send one)
and JSON only. The platform's API has the platform's own credentials.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from starlette.datastructures import Headers
from starlette.responses import Response

AsgiScope = MutableMapping[str, Any]
AsgiReceive = Callable[[], Awaitable[MutableMapping[str, Any]]]
AsgiSend = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Site = Callable[[AsgiScope, AsgiReceive, AsgiSend], Awaitable[None]]

TOKEN_HEADER: Final = "X-Sandbox-Token"  # noqa: S105  # the name of a header
CONTROL: Final = "/sandbox/"
STATIC: Final = "/sandbox/static/"
"""The page itself holds no secret: it reads the token from its own address."""
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_SPELT: Final = {b"content-type": b"Content-Type", b"x-tt-logid": b"X-Tt-Logid"}
"""One official client looks these up by exactly this spelling."""


class GuardedSite:
    """An ASGI application that refuses strangers, and spells headers as the platform does."""

    def __init__(self, site: Site, token: str, hosts: frozenset[str]) -> None:
        self._site = site
        self._token = token
        self._hosts = hosts | LOOPBACK

    async def __call__(self, scope: AsgiScope, receive: AsgiReceive, send: AsgiSend) -> None:
        async def spelt(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    (_SPELT.get(name, name), value) for name, value in message["headers"]
                ]
            await send(message)

        if scope["type"] != "http":
            await self._site(scope, receive, send)
            return
        refused = self._refusal(scope, Headers(scope=scope))
        if refused is not None:
            await refused(scope, receive, spelt)
            return
        await self._site(scope, receive, spelt)

    def _refusal(self, scope: AsgiScope, headers: Headers) -> Response | None:
        if _hostname(f"//{headers.get('host', '')}") not in self._hosts:
            return _refuse(403, "this Host is not the sandbox's; open the address it printed")
        origin = headers.get("origin")
        if origin is not None and _hostname(origin) not in self._hosts:
            return _refuse(403, "this Origin may not use the sandbox")
        path, method = scope["path"], scope["method"]
        if not path.startswith(CONTROL) or path == CONTROL or path.startswith(STATIC):
            return None
        given = headers.get(TOKEN_HEADER, "")
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            return _refuse(
                401, f"{TOKEN_HEADER} is missing or of an earlier run; open the printed address"
            )
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if method == "POST" and kind != "application/json":
            return _refuse(415, "the body must be application/json")
        return None


def _hostname(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _refuse(status: int, reason: str) -> Response:
    return Response(
        msgspec.json.encode({"error": reason}),
        status_code=status,
        headers={"Content-Type": "application/json; charset=utf-8"},
    )

"""HTTP to the platform of one account: a pool, a deadline, a token, and what came back.

Every call ends in an :class:`~protocol.platform.Outcome`; nothing about the network
is raised. The tenant token is fetched once for all calls that need it, renewed ahead
of its end, and renewed once more when the platform does not take it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

import httpx
import msgspec
import trio

from actors.feishu import calls
from actors.messages import gateway
from protocol.codes import classify
from protocol.platform import (
    CredentialsRefused,
    NoAnswer,
    Outcome,
    Rejected,
    TokenRefused,
)

CALL_WITHIN_S: Final = 10.0
CONNECT_WITHIN_S: Final = 3.0
CONNECTIONS_MAX: Final = 64
KEEP_ALIVE_S: Final = 60.0
ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024
RENEW_AHEAD_S: Final = 600.0
"""The platform gives a new token only in the last 30 minutes of the old; 10 are ours."""
TOKEN_PATH: Final = "/open-apis/auth/v3/tenant_access_token/internal"  # noqa: S105  # an address


class _Token(msgspec.Struct, frozen=True, kw_only=True):
    value: str
    renew_at: float


class Platform:
    """The platform as one account sees it. Use it inside ``async with``."""

    def __init__(self, base_url: str, app_id: str, app_secret: str) -> None:
        self._app_id = app_id
        self._app_secret = app_secret
        self._token: _Token | None = None
        self._renewing: trio.Event | None = None
        self._http = httpx.AsyncClient(
            base_url=base_url,
            # A proxy of the environment is for the outside; the sandbox is on loopback.
            trust_env=not _is_loopback(base_url),
            timeout=httpx.Timeout(CALL_WITHIN_S, connect=CONNECT_WITHIN_S),
            limits=httpx.Limits(
                max_connections=CONNECTIONS_MAX,
                max_keepalive_connections=CONNECTIONS_MAX,
                keepalive_expiry=KEEP_ALIVE_S,
            ),
            headers={"User-Agent": "larkd"},
            follow_redirects=False,
        )

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        with trio.move_on_after(1, shield=True):
            await self._http.aclose()

    async def perform(self, operation: gateway.Operation) -> Outcome:
        """Make one call, within 10 s."""
        call = calls.build(operation, app_id=self._app_id, app_secret=self._app_secret)
        with trio.move_on_after(CALL_WITHIN_S):
            return await self._perform(operation, call)
        return NoAnswer(reason=f"no answer in {CALL_WITHIN_S:g} s")

    async def _perform(self, operation: gateway.Operation, call: calls.HttpCall) -> Outcome:
        if not call.needs_token:
            return await self._send(operation, call, None)
        token = await self._valid_token()
        if not isinstance(token, _Token):
            return token
        outcome = await self._send(operation, call, token.value)
        if not isinstance(outcome, TokenRefused):
            return outcome
        if self._token is token:
            self._token = None
        token = await self._valid_token()
        if not isinstance(token, _Token):
            return token
        return await self._send(operation, call, token.value)

    async def _send(
        self, operation: gateway.Operation, call: calls.HttpCall, token: str | None
    ) -> Outcome:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        if call.json is not None:
            headers["Content-Type"] = "application/json; charset=utf-8"
        answer = await self._request(
            call.method,
            call.path,
            params=call.params,
            content=call.json,
            data=call.fields,
            files=call.files,
            headers=headers,
        )
        if isinstance(answer, NoAnswer):
            return answer
        status, answer_headers, body = answer
        if body.get("code") == 0:
            return calls.read(operation, body)
        return classify(status, answer_headers, body)

    async def _request(
        self, method: str, path: str, **request: Any
    ) -> tuple[int, Mapping[str, str], dict[str, Any]] | NoAnswer:
        try:
            answer = await self._http.request(method, path, **request)
        except (httpx.HTTPError, httpx.StreamError, OSError, ValueError) as failed:
            # ValueError: an answer that is no HTTP at all, in places of the parsers.
            return NoAnswer(reason=f"{type(failed).__name__}: {failed}"[:300])
        if len(answer.content) > ANSWER_BYTES_MAX:
            return NoAnswer(reason=f"HTTP {answer.status_code} with {len(answer.content)} bytes")
        try:
            body = msgspec.json.decode(answer.content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            body = None
        if not isinstance(body, dict):
            return NoAnswer(reason=f"HTTP {answer.status_code} without a JSON object")
        return answer.status_code, answer.headers, body

    # ── tenant token ────────────────────────────────────────────────────────

    async def _valid_token(self) -> _Token | Rejected | NoAnswer:
        """Return a token that is good for a while; only one call fetches it."""
        while True:
            token = self._token
            if token is not None and trio.current_time() < token.renew_at:
                return token
            if self._renewing is None:
                return await self._renew()
            await self._renewing.wait()
            if self._token is None:
                return NoAnswer(reason="no tenant token; another call could not fetch it")

    async def _renew(self) -> _Token | Rejected | NoAnswer:
        self._renewing = trio.Event()
        try:
            fetched = await self._fetch_token()
            if isinstance(fetched, _Token):
                self._token = fetched
            return fetched
        finally:
            self._renewing.set()
            self._renewing = None

    async def _fetch_token(self) -> _Token | Rejected | NoAnswer:
        answer = await self._request(
            "POST",
            TOKEN_PATH,
            content=msgspec.json.encode({"app_id": self._app_id, "app_secret": self._app_secret}),
            headers={"Content-Type": "application/json; charset=utf-8"},
        )
        if isinstance(answer, NoAnswer):
            return answer
        status, headers, body = answer
        value, life_s = body.get("tenant_access_token"), body.get("expire")
        if body.get("code") != 0:
            refused = classify(status, headers, body)
            if isinstance(refused, TokenRefused):
                return CredentialsRefused(code=refused.code, message=refused.message)
            return refused
        if not isinstance(value, str) or not isinstance(life_s, int):
            return NoAnswer(reason="a token answer without a token")
        ahead_s = min(RENEW_AHEAD_S, life_s / 2)
        return _Token(value=value, renew_at=trio.current_time() + life_s - ahead_s)


def _is_loopback(base_url: str) -> bool:
    host = httpx.URL(base_url).host
    return host in ("localhost", "::1") or host.startswith("127.")

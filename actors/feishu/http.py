"""HTTP to the platform of one account: connections, deadlines, a token, and what came back.

Every call ends in an :class:`~protocol.platform.outcomes.Outcome`; nothing about the network
is raised. A call is made once, and once more only with a new token when the platform
does not take the old: retries are the caller's, who knows what is freshest.

How deadlines end a call: each phase has its own; the deadline of the whole call is the
longest of all, and comes to answers that trickle.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, Self

import h11
import httpx
import msgspec
import trio

from actors.feishu import answers, calls
from actors.feishu.connections import Connections
from actors.feishu.dial import ProxyRefusedError
from actors.feishu.download import InThread, is_encoded, is_file, save
from actors.feishu.network_errors import words_of
from actors.feishu.tls import tls_context
from actors.feishu.tokens import FetchedToken, TenantToken, Tokens, tenant_token
from actors.messages import gateway
from protocol.platform.codes import classify
from protocol.platform.comments import is_comment
from protocol.platform.http_proxy import HttpProxy, ProxyUnusableError, proxy_for
from protocol.platform.outcomes import CredentialsRefused, NoAnswer, Outcome, Rejected, TokenRefused

CALL_WITHIN_S: Final = 10.0
DOWNLOAD_WITHIN_S: Final = 60.0
"""A large file over a slow line; who asks for one waits beside everything else."""
CONNECT_WITHIN_S: Final = 3.0
READ_WITHIN_S: Final = 9.0
"""Between two reads: under the whole call's, so that a hung call ends by this one."""
WRITE_WITHIN_S: Final = 9.0
TOKEN_WITHIN_S: Final = 5.0
"""Half of a call's time, so that a call that waited for the token can still be made."""
CONNECTIONS_MAX: Final = 64
"""Of one account, which the gateway sees to."""
ANSWER_BYTES_MAX: Final = 1024 * 1024
"""The answers read here are a few KB: ids, codes and an echo of what was sent."""
URLS_MAX: Final = 1024
"""Kept as httpx has parsed them, which takes a seventh of a call: a card's are used often."""
TOKEN_PATH: Final = "/open-apis/auth/v3/tenant_access_token/internal"  # noqa: S105  # an address
JSON: Final = "application/json; charset=utf-8"
HEADERS: Final = {"User-Agent": "larkd", "Accept": "*/*", "Accept-Encoding": "identity"}
"""Identity: the bytes that are counted are the bytes that are kept."""
TIMEOUTS: Final = {"connect": CONNECT_WITHIN_S, "read": READ_WITHIN_S, "write": WRITE_WITHIN_S}

_BROKEN: Final = (
    httpx.HTTPError,
    h11.ProtocolError,
    trio.TooSlowError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    OSError,
    ValueError,  # an answer that is no HTTP at all, in places of the parsers
)
Transport = httpx.AsyncBaseTransport
_Answer = tuple[int, Mapping[str, str], dict[str, Any] | None]


class Platform:
    """The platform as one account sees it. Use it inside ``async with``."""

    def __init__(
        self,
        base_url: str,
        app_id: str,
        app_secret: str,
        transport: Transport | None = None,
        in_thread: InThread = trio.to_thread.run_sync,
    ) -> None:
        """*transport* None is connections of its own."""
        self._in_thread = in_thread
        self._app_id = app_id
        self._app_secret = app_secret
        self._tokens = Tokens(self._fetch_token)
        self._unreachable: str | None = None
        self._proxy: HttpProxy | None = None
        try:
            self._proxy = None if transport is not None else proxy_of(base_url)
        except ProxyUnusableError as wrong:
            self._unreachable = str(wrong)
        self._base_url = str(httpx.URL(base_url)).rstrip("/")
        self._transport = transport or Connections(self._base_url)

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        with trio.move_on_after(1, shield=True):
            await self._transport.aclose()

    async def perform(
        self, operation: gateway.Operation, answer_within_s: float | None = None
    ) -> Outcome:
        """Make one call, within 10 s; where *answer_within_s* is less, give up its answer then.

        What comes before it, the token above all, has its own time.
        """
        if isinstance(
            operation, gateway.AddReaction | gateway.RemoveReaction | gateway.PatchMessage
        ) and is_comment(operation.message_id):
            return Rejected(code=0, message="a comment can't be reacted to, or edited")
        if self._unreachable is not None:
            return NoAnswer(reason=self._unreachable)
        try:
            call = calls.build(operation, app_id=self._app_id, app_secret=self._app_secret)
        except calls.InvalidIdError as wrong:
            return Rejected(code=0, message=str(wrong))
        is_download = isinstance(operation, gateway.DownloadResource)
        within_s = DOWNLOAD_WITHIN_S if is_download else CALL_WITHIN_S
        with trio.move_on_after(within_s):
            return await self._perform(operation, call, answer_within_s or within_s)
        return NoAnswer(reason=f"no answer in {within_s:g} s")

    async def inquire(self, method: str, path: str) -> dict[str, Any] | Outcome:
        """Ask for something that is no part of the daemon's work; return the answer's map.

        For looking at an app: its scopes, its connections, whether a call is allowed.
        """
        if self._unreachable is not None:
            return NoAnswer(reason=self._unreachable)
        with trio.move_on_after(CALL_WITHIN_S):
            token = await self._tokens.get()
            if not isinstance(token, TenantToken):
                return token
            headers = {"Authorization": f"Bearer {token.value}"}
            answer = await self._request(method, path, headers=headers)
            if isinstance(answer, NoAnswer):
                return answer
            status, answer_headers, body = answer
            if body is not None and _is_zero(body.get("code")):
                return body
            return classify(status, answer_headers, body)
        return NoAnswer(reason=f"no answer in {CALL_WITHIN_S:g} s")

    async def _perform(
        self, operation: gateway.Operation, call: calls.HttpCall, answer_within_s: float
    ) -> Outcome:
        if not call.needs_token:
            return await self._send_within(answer_within_s, operation, call, None)
        token = await self._tokens.get()
        if not isinstance(token, TenantToken):
            return token
        outcome = await self._send_within(answer_within_s, operation, call, token)
        if not isinstance(outcome, TokenRefused):
            return outcome
        self._tokens.refused(token)
        renewed = await self._tokens.get()
        if not isinstance(renewed, TenantToken):
            return renewed
        if renewed.value == token.value:
            return outcome
        return await self._send_within(answer_within_s, operation, call, renewed)

    async def _send_within(
        self,
        within_s: float,
        operation: gateway.Operation,
        call: calls.HttpCall,
        token: TenantToken | None,
    ) -> Outcome:
        with trio.move_on_after(within_s):
            return await self._send(operation, call, token)
        return NoAnswer(reason=f"no answer in {within_s:g} s")

    async def _send(
        self, operation: gateway.Operation, call: calls.HttpCall, token: TenantToken | None
    ) -> Outcome:
        headers = {} if token is None else {"Authorization": f"Bearer {token.value}"}
        if isinstance(operation, gateway.DownloadResource):
            return await self._download(operation, call, headers)
        if call.body is not None:
            headers["Content-Type"] = JSON
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
        if body is not None and _is_zero(body.get("code")):
            return answers.read(operation, body)
        return classify(status, answer_headers, body)

    async def _download(
        self, operation: gateway.DownloadResource, call: calls.HttpCall, headers: dict[str, str]
    ) -> Outcome:
        try:
            async with self._stream(
                call.method, call.path, params=call.params, headers=headers
            ) as answer:
                if is_file(answer):
                    return await save(
                        answer, Path(operation.path), operation.bytes_max, self._in_thread
                    )
                content = await _read(answer)
        except _BROKEN as failed:
            return NoAnswer(reason=reason_of(failed, self._proxy))
        return classify(answer.status_code, answer.headers, _json_object(content or b""))

    @asynccontextmanager
    async def _stream(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        params: Any = None,
        **body: Any,
    ) -> AsyncIterator[httpx.Response]:
        """Make a request; its answer's body is read inside."""
        request = httpx.Request(
            method,
            _url(self._base_url + path),
            params=params or None,
            headers={**HEADERS, **headers},
            extensions={"timeout": TIMEOUTS},
            **body,
        )
        answer = await self._transport.handle_async_request(request)
        try:
            yield answer
        finally:
            await answer.aclose()  # noqa: ASYNC102  # of an answer read to its end it waits for nothing

    async def _request(self, method: str, path: str, **request: Any) -> _Answer | NoAnswer:
        try:
            async with self._stream(method, path, **request) as answer:
                content = await _read(answer)
        except _BROKEN as failed:
            return NoAnswer(reason=reason_of(failed, self._proxy))
        if content is None:
            reason = f"HTTP {answer.status_code}, encoded or over {ANSWER_BYTES_MAX} bytes"
            return NoAnswer(reason=reason)
        return answer.status_code, answer.headers, _json_object(content)

    async def _fetch_token(self) -> FetchedToken:
        with trio.move_on_after(TOKEN_WITHIN_S):
            return await self._ask_for_token()
        return NoAnswer(reason=f"no tenant token in {TOKEN_WITHIN_S:g} s")

    async def _ask_for_token(self) -> FetchedToken:
        asked_at = trio.current_time()
        answer = await self._request(
            "POST",
            TOKEN_PATH,
            content=msgspec.json.encode({"app_id": self._app_id, "app_secret": self._app_secret}),
            headers={"Content-Type": JSON},
        )
        if isinstance(answer, NoAnswer):
            return answer
        status, headers, body = answer
        if body is None or not _is_zero(body.get("code")):
            refused = classify(status, headers, body)
            if isinstance(refused, TokenRefused):
                return CredentialsRefused(code=refused.code, message=refused.message)
            return refused
        value, valid_s = body.get("tenant_access_token"), body.get("expire")
        if not isinstance(value, str) or not value or not isinstance(valid_s, int):
            return NoAnswer(reason="a token answer without a token")
        return tenant_token(value, valid_s, asked_at)


@lru_cache(URLS_MAX)
def _url(url: str) -> httpx.URL:
    return httpx.URL(url)


def reason_of(failed: BaseException, proxy: HttpProxy | None = None) -> str:
    """Return why a call got no answer, as people search for it: the system's own words.

    *proxy* is the one it was to go through: what is not reached then is that.
    """
    if isinstance(failed, ProxyRefusedError):
        return str(failed)[:300]
    if isinstance(failed, httpx.ProxyError) and proxy is not None:
        return f"the proxy {proxy.url} answered {failed}"[:300]
    words = words_of(failed, "" if proxy is None else f"the proxy {proxy.url}")
    if words is not None:
        return words
    through = "" if proxy is None else f" through the proxy {proxy.url}"
    if isinstance(failed, httpx.TimeoutException | trio.TooSlowError):
        return f"no answer in time{through}"
    return f"{type(failed).__name__}: {failed}".removesuffix(": ")[:300] + through


def _json_object(content: bytes) -> dict[str, Any] | None:
    try:
        body = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


async def _read(answer: httpx.Response) -> bytes | None:
    """Return the body, or None: too long, or packed, to be an answer of the platform."""
    length = answer.headers.get("content-length", "")
    if is_encoded(answer) or (length.isdecimal() and int(length) > ANSWER_BYTES_MAX):
        return None
    read = bytearray()
    whole = True
    # Read to the end in any case: it is short, or the call's deadline ends it. Leaving
    # the loop early would leave generators of httpx to the garbage collector.
    assert isinstance(answer.stream, httpx.AsyncByteStream)
    async for chunk in answer.stream:
        whole = whole and len(read) + len(chunk) <= ANSWER_BYTES_MAX
        if whole:
            read += chunk
    return bytes(read) if whole else None


def _is_zero(code: object) -> bool:
    return code == 0 and isinstance(code, int) and not isinstance(code, bool)


def proxy_of(base_url: str) -> HttpProxy | None:
    """Return the proxy that the environment names for this platform; None: none.

    Raises:
        ProxyUnusableError: it names one that can't be used.
    """
    url = httpx.URL(base_url)
    scheme: Literal["http", "https"] = "https" if url.scheme == "https" else "http"
    port = url.port or (443 if scheme == "https" else 80)
    return proxy_for(os.environ, scheme, url.host, port)


def proxy_to(base_url: str) -> httpx.Proxy | None:
    """Return :func:`proxy_of` as httpx takes it.

    Raises:
        ProxyUnusableError: it names one that can't be used.
    """
    proxy = proxy_of(base_url)
    return None if proxy is None else _as_httpx(proxy)


def _as_httpx(proxy: HttpProxy) -> httpx.Proxy:
    auth = None if proxy.username is None else (proxy.username, proxy.password)
    return httpx.Proxy(proxy.url, auth=auth, ssl_context=tls_context() if proxy.tls else None)

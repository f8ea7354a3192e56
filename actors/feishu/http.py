"""HTTP to the platform of one account: connections, deadlines, a token, and what came back.

Every call ends in an :class:`~protocol.platform.outcomes.Outcome`; nothing about the network
is raised. A call is made once, and once more only with a new token when the platform
does not take the old: retries are the caller's, who knows what is freshest.

How deadlines end a call: each phase has its own; the deadline of the whole call is the
longest of all, and comes to answers that trickle.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self
from urllib.parse import quote, urlencode

import h11
import httpx
import msgspec
import trio

from actors.feishu import answers, calls
from actors.feishu.connections import Connections
from actors.feishu.dial import ProxyRefusedError
from actors.feishu.download import InThread, is_encoded, is_file, save
from actors.feishu.exchange import Deadlines, HttpAnswer, HttpRequest, Transport
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
TOKEN_PATH: Final = "/open-apis/auth/v3/tenant_access_token/internal"  # noqa: S105  # an address
JSON: Final = "application/json; charset=utf-8"
HEADERS: Final = (("User-Agent", "larkd"), ("Accept", "*/*"), ("Accept-Encoding", "identity"))
"""Identity: the bytes that are counted are the bytes that are kept."""
DEADLINES: Final = Deadlines(connect=CONNECT_WITHIN_S, write=WRITE_WITHIN_S, read=READ_WITHIN_S)
_WITH_LENGTH: Final = frozenset({"PATCH", "POST", "PUT"})
"""Methods of which a body is expected: they state its length also where there is none (RFC 9110,
8.6)."""

_BROKEN: Final = (
    httpx.HTTPError,
    h11.ProtocolError,
    trio.TooSlowError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    OSError,
    ValueError,  # an answer that is no HTTP at all, in places of the parsers
)
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
        self._transport: Transport = transport or Connections(base_url)

    async def __aenter__(self) -> Self:
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
            headers = (*HEADERS, ("Authorization", f"Bearer {token.value}"), *_no_body(method))
            answer = await self._request(HttpRequest(method=method, path=path, headers=headers))
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
        request = request_of(call, token)
        if isinstance(operation, gateway.DownloadResource):
            return await self._download(operation, request)
        answer = await self._request(request)
        if isinstance(answer, NoAnswer):
            return answer
        status, answer_headers, body = answer
        if body is not None and _is_zero(body.get("code")):
            return answers.read(operation, body)
        return classify(status, answer_headers, body)

    async def _download(self, operation: gateway.DownloadResource, request: HttpRequest) -> Outcome:
        try:
            answer = await self._transport.exchange(request, DEADLINES)
            try:
                if is_file(answer):
                    return await save(
                        answer, Path(operation.path), operation.bytes_max, self._in_thread
                    )
                content = await _read(answer)
            finally:
                answer.close()
        except _BROKEN as failed:
            return NoAnswer(reason=reason_of(failed, self._proxy))
        return classify(answer.status, answer.headers, _json_object(content or b""))

    async def _request(self, request: HttpRequest) -> _Answer | NoAnswer:
        try:
            answer = await self._transport.exchange(request, DEADLINES)
            try:
                content = await _read(answer)
            finally:
                answer.close()
        except _BROKEN as failed:
            return NoAnswer(reason=reason_of(failed, self._proxy))
        if content is None:
            reason = f"HTTP {answer.status}, encoded or over {ANSWER_BYTES_MAX} bytes"
            return NoAnswer(reason=reason)
        return answer.status, answer.headers, _json_object(content)

    async def _fetch_token(self) -> FetchedToken:
        with trio.move_on_after(TOKEN_WITHIN_S):
            return await self._ask_for_token()
        return NoAnswer(reason=f"no tenant token in {TOKEN_WITHIN_S:g} s")

    async def _ask_for_token(self) -> FetchedToken:
        asked_at = trio.current_time()
        body = msgspec.json.encode({"app_id": self._app_id, "app_secret": self._app_secret})
        headers = (*HEADERS, ("Content-Type", JSON), ("Content-Length", str(len(body))))
        answer = await self._request(
            HttpRequest(method="POST", path=TOKEN_PATH, headers=headers, body=(body,))
        )
        if isinstance(answer, NoAnswer):
            return answer
        status, answer_headers, granted = answer
        if granted is None or not _is_zero(granted.get("code")):
            refused = classify(status, answer_headers, granted)
            if isinstance(refused, TokenRefused):
                return CredentialsRefused(code=refused.code, message=refused.message)
            return refused
        value, valid_s = granted.get("tenant_access_token"), granted.get("expire")
        if not isinstance(value, str) or not value or not isinstance(valid_s, int):
            return NoAnswer(reason="a token answer without a token")
        return tenant_token(value, valid_s, asked_at)


def request_of(call: calls.HttpCall, token: TenantToken | None) -> HttpRequest:
    """Return *call* as it is sent."""
    headers: tuple[tuple[str, str], ...] = HEADERS
    if token is not None:
        headers = (*headers, ("Authorization", f"Bearer {token.value}"))
    path = f"{call.path}?{urlencode(call.params, quote_via=quote)}" if call.params else call.path
    if call.files is not None:
        form = httpx.Request("POST", "http://form", data=call.fields, files=call.files)
        assert isinstance(form.stream, httpx.SyncByteStream), "it is in memory"
        about = ((name, form.headers[name]) for name in ("Content-Type", "Content-Length"))
        return HttpRequest(
            method=call.method, path=path, headers=(*headers, *about), body=form.stream
        )
    body = call.json
    if body is not None:
        headers = (*headers, ("Content-Type", JSON), ("Content-Length", str(len(body))))
        return HttpRequest(method=call.method, path=path, headers=headers, body=(body,))
    return HttpRequest(method=call.method, path=path, headers=(*headers, *_no_body(call.method)))


def _no_body(method: str) -> tuple[tuple[str, str], ...]:
    """Return what states that there is no body, where one is to be expected."""
    return (("Content-Length", "0"),) if method in _WITH_LENGTH else ()


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


async def _read(answer: HttpAnswer) -> bytes | None:
    """Return the body, or None: too long, or packed, to be an answer of the platform."""
    length = answer.headers.get("content-length", "")
    if is_encoded(answer) or (length.isdecimal() and int(length) > ANSWER_BYTES_MAX):
        return None
    read = b""
    whole = True
    # Read to the end in any case: it is short, or the call's deadline ends it.
    while (chunk := await answer.chunk()) is not None:
        whole = whole and len(read) + len(chunk) <= ANSWER_BYTES_MAX
        if whole:
            read += chunk
    return read if whole else None


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

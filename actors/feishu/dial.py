"""Connecting to the outside: directly, or through the HTTP proxy of a network."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Final

import h11
import trio

from actors.feishu.network_errors import words_of
from actors.feishu.tls import tls_context
from protocol.platform.http_proxy import HttpProxy, ProxyUnusableError, proxy_for

Dial = Callable[[str, int, bool], Awaitable[trio.abc.Stream]]
"""``dial(host, port, tls)`` opens a stream, with the handshake of TLS done."""
HEAD_BYTES_MAX: Final = 64 * 1024
READ_BYTES: Final = 4_096


class ProxyRefusedError(OSError):
    """The proxy does not lead there; the text names it and its answer."""


async def dial_tcp(host: str, port: int, tls: bool) -> trio.abc.Stream:
    """Connect, with the TLS handshake done: a bad certificate shows here.

    Goes through the proxy that the environment names, never to loopback.

    Raises:
        OSError, trio.BrokenResourceError: nobody listens there, the proxy refuses, or no
            TLS is agreed on.
    """
    try:
        proxy = proxy_for(os.environ, "https" if tls else "http", host, port)
    except ProxyUnusableError as wrong:
        raise ProxyRefusedError(str(wrong)) from None
    if proxy is None:
        stream: trio.abc.Stream = await trio.open_tcp_stream(host, port)
    else:
        stream = await _tunnel(proxy, host, port)
    return await _with_tls(stream, host) if tls else stream


async def _tunnel(proxy: HttpProxy, host: str, port: int) -> trio.abc.Stream:
    """Return a stream that the proxy carries to *host*."""
    try:
        stream: trio.abc.Stream = await trio.open_tcp_stream(proxy.host, proxy.port)
    except OSError as failed:
        about = f"the proxy {proxy.url}"
        raise ProxyRefusedError(words_of(failed, about) or f"{about}: {failed}") from None
    if proxy.tls:
        stream = await _with_tls(stream, proxy.host)
    ready = False
    try:
        await _connect(stream, proxy, host, port)
        ready = True
    finally:
        if not ready:
            await trio.aclose_forcefully(stream)
    return stream


async def _connect(stream: trio.abc.Stream, proxy: HttpProxy, host: str, port: int) -> None:
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    headers = [("Host", target), ("User-Agent", "larkd")]
    if proxy.authorization is not None:
        headers.append(("Proxy-Authorization", proxy.authorization))
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
    request = h11.Request(method="CONNECT", target=target, headers=headers)
    try:
        await stream.send_all(http.send(request) or b"")
        while not isinstance(event := http.next_event(), h11.Response):
            if event is not h11.NEED_DATA:
                continue  # an informational one, before the answer
            data = bytes(await stream.receive_some(READ_BYTES))
            if not data:
                raise ProxyRefusedError(f"the proxy {proxy.url} closed the connection")
            http.receive_data(data)
    except h11.RemoteProtocolError:
        raise ProxyRefusedError(f"the proxy {proxy.url} does not answer in HTTP") from None
    if event.status_code // 100 != 2:  # any success opens the tunnel
        reason = event.reason.decode("latin-1")[:100]
        remedy = "; check its name and password" if event.status_code == 407 else ""
        raise ProxyRefusedError(
            f"the proxy {proxy.url} answered {event.status_code} {reason} for {target}{remedy}"
        )
    if http.trailing_data[0]:
        raise ProxyRefusedError(f"the proxy {proxy.url} sent data before we did")


async def _with_tls(stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
    over_tls = trio.SSLStream(stream, tls_context(), server_hostname=host, https_compatible=True)
    ready = False
    try:
        await over_tls.do_handshake()
        ready = True
    finally:
        if not ready:
            await trio.aclose_forcefully(over_tls)
    return over_tls

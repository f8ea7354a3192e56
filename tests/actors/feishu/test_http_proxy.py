"""Calls and the long connection through a real HTTP proxy, as a network's rules may want it."""

from __future__ import annotations

import functools
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio_websocket as ws

from actors.feishu.clock import clock_skew_s
from actors.feishu.dial import dial_tcp
from actors.feishu.http import Platform
from actors.feishu.socket import Socket, SocketEnd, SocketLimits, run_socket
from actors.feishu.tls import tls_context
from actors.messages import gateway
from protocol.platform.outcomes import ClientConfig, EndpointFound, NoAnswer
from tests.kit.certificates import self_signed
from tests.kit.daemon import open_platform
from tests.kit.proxy_names import address_of, open_http_proxy
from tests.kit.scripted_platform import ScriptedPlatform

LIMITS = SocketLimits(connect_within_s=30, close_within_s=0.2)
BODY = b'{"code":0,"data":{"URL":"wss://feishu.test/ws/v2","ClientConfig":{}}}'
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    b"Date: Sat, 21 Nov 2026 12:00:00 GMT\r\n\r\n%b" % (len(BODY), BODY)
)
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxy_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def proxy_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with open_http_proxy(tmp_path_factory.mktemp("proxy")) as port:
        yield port


def is_whole(request: bytes) -> bool:
    head, end, body = request.lower().partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: *(\d+)", head)
    return bool(end) and len(body) == (int(length[1]) if length else 0)


# ── calls ───────────────────────────────────────────────────────────────────


async def test_calls_go_through_the_proxy_with_name_and_password(
    proxy_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        request = b""
        while more := await stream.receive_some():
            request += more
            if is_whole(request):  # the proxy may pass it on in pieces
                request = b""
                await stream.send_all(ANSWER)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        base_url = f"http://feishu.test:{listeners[0].socket.getsockname()[1]}"
        async with Platform(base_url, "cli_a", "secret") as platform:
            outcome = await platform.perform(gateway.DiscoverEndpoint())
            assert isinstance(outcome, NoAnswer), "nobody else knows the name"
        monkeypatch.setenv("HTTP_PROXY", address_of(proxy_port))
        async with Platform(base_url, "cli_a", "secret") as platform:
            for _ in range(2):
                found = await platform.perform(gateway.DiscoverEndpoint())
                assert isinstance(found, EndpointFound)
        assert await clock_skew_s(base_url) is not None
        nursery.cancel_scope.cancel()


async def test_a_wrong_password_is_named_and_not_shown(
    proxy_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", address_of(proxy_port, "a-wrong-password"))
    async with Platform("https://feishu.test", "cli_a", "secret") as platform:
        outcome = await platform.perform(gateway.DiscoverEndpoint())
    assert isinstance(outcome, NoAnswer)
    assert "407" in outcome.reason
    assert "a-wrong-password" not in outcome.reason
    end = await open_link("wss://feishu.test/ws/v2")
    assert end.kind == "unreachable"
    assert "407" in end.reason
    assert "check its name and password" in end.reason
    assert "a-wrong-password" not in end.reason


async def test_loopback_is_never_reached_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES[:3]:
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with open_platform() as sandbox:
        app = sandbox.running.settings
        async with Platform(sandbox.base_url, app.app_id, app.app_secret) as platform:
            found = await platform.perform(gateway.DiscoverEndpoint())
        assert isinstance(found, EndpointFound)
        assert (await open_link(found.url)).kind == "left"


async def test_a_proxy_of_another_kind_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://10.0.0.1:1080")
    async with Platform("https://open.feishu.cn", "cli_a", "secret") as platform:
        outcome = await platform.perform(gateway.GetBotInfo())
    assert isinstance(outcome, NoAnswer)
    assert "HTTPS_PROXY names a socks5 proxy" in outcome.reason
    assert "HTTPS_PROXY" in (await open_link("wss://open.feishu.cn/")).reason


# ── the long connection ─────────────────────────────────────────────────────


async def open_link(url: str) -> SocketEnd:
    """Open a link, and leave after its first ping was answered, or with the peer."""

    async def serve(socket: Socket) -> None:
        with trio.move_on_after(60), trio.CancelScope() as answered:

            async def read() -> None:
                while await socket.receive() is not None:
                    pass
                answered.cancel()

            async def look() -> None:
                while not socket.pongs:
                    await trio.sleep(0.01)
                answered.cancel()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                nursery.start_soon(look)

    with trio.fail_after(60):
        return await run_socket(url, ClientConfig(), serve, limits=LIMITS)


async def test_the_long_connection_goes_through_the_proxy(
    proxy_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted = ScriptedPlatform()
    async with trio.open_nursery() as nursery:
        await nursery.start(scripted.serve)
        url = scripted.url.replace("127.0.0.1", "feishu.test")
        assert (await open_link(url)).kind == "unreachable", "nobody else knows the name"
        monkeypatch.setenv("http_proxy", address_of(proxy_port))
        assert (await open_link(url)).kind == "left"
        monkeypatch.setenv("NO_PROXY", "example.com, .test")
        assert (await open_link(url)).kind == "unreachable", "NO_PROXY leads past it"
        nursery.cancel_scope.cancel()


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A certificate for feishu.test that this process trusts."""
    path = self_signed(tmp_path, "DNS:feishu.test")
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    tls_context.cache_clear()
    yield path
    tls_context.cache_clear()


@asynccontextmanager
async def open_tls_server(certificate: Path) -> AsyncIterator[int]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def greet(request: ws.WebSocketRequest) -> None:
        connection = await request.accept()
        await connection.get_message()
        await connection.aclose(1001, "that was all")

    async with trio.open_nursery() as nursery:
        serve = functools.partial(ws.serve_websocket, greet, "127.0.0.1", 0, context)
        server: ws.WebSocketServer = await nursery.start(serve)
        yield server.port
        nursery.cancel_scope.cancel()


async def test_tls_is_agreed_on_with_the_platform_and_not_with_the_proxy(
    proxy_port: int, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address_of(proxy_port))
    async with open_tls_server(certificate) as port:
        assert "that was all" in (await open_link(f"wss://feishu.test:{port}/ws/v2")).reason
        async with Platform(f"https://feishu.test:{port}", "cli_a", "secret") as platform:
            outcome = await platform.perform(gateway.DiscoverEndpoint())
        # What answers is no platform, but it was reached: an HTTP status came back.
        assert isinstance(outcome, NoAnswer)
        assert "HTTP 4" in outcome.reason


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "answered 502 Bad Gateway for feishu.test:443"),
        (b"", "closed the connection"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "does not answer in HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "sent data before we did"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, "does not answer in HTTP"),
    ],
)
async def test_what_a_proxy_may_answer_instead(
    answer: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        port = listeners[0].socket.getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{port}")
        with trio.fail_after(60), pytest.raises(OSError, match=reason):
            await dial_tcp("feishu.test", 443, tls=True)
        nursery.cancel_scope.cancel()

"""One run of the WebSocket, against a real WebSocket server on loopback."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing
import trio_websocket as ws
from trio.testing import MockClock

from actors.feishu.socket import Socket, SocketEnd, SocketLimits, run_socket
from actors.feishu.tls import tls_context
from protocol.platform import longconn
from protocol.platform.longconn import Complete, Frame
from protocol.platform.outcomes import ClientConfig
from tests.kit.certificates import self_signed
from tests.kit.loopback import loopback_clock
from tests.kit.ports import deaf_port
from tests.kit.scripted_platform import (
    SERVICE,
    Link,
    Refusal,
    ScriptedPlatform,
    frames_of,
    message_event,
)

CONFIG = ClientConfig(ping_interval_s=120)
QUICK = SocketLimits(connect_within_s=30, send_within_s=30, close_within_s=30, pong_grace_s=60)
IMPATIENT = msgspec.structs.replace(QUICK, pong_grace_s=0.1)
"""For what happens when no pong comes, on a clock that no slow machine moves."""
HASTY = msgspec.structs.replace(QUICK, connect_within_s=0.5, send_within_s=0.3, close_within_s=0.2)
"""For what happens when a limit is over, in virtual time; elsewhere none ends for slowness."""


@pytest.fixture
async def platform() -> AsyncIterator[ScriptedPlatform]:
    platform = ScriptedPlatform()
    async with trio.open_nursery() as nursery:
        await nursery.start(platform.serve)
        yield platform
        nursery.cancel_scope.cancel()


class Run:
    """One run of the socket: what it received, and how it ended."""

    def __init__(
        self, url: str, config: ClientConfig = CONFIG, limits: SocketLimits = QUICK
    ) -> None:
        self.url, self.config, self.limits = url, config, limits
        self.socket: Socket | None = None
        self.end: SocketEnd | None = None
        self.events_tx, self.events = trio.open_memory_channel[Complete](64)
        self.leave = trio.CancelScope()

    async def run(self) -> None:
        with trio.fail_after(60):
            self.end = await run_socket(self.url, self.config, self.serve, limits=self.limits)

    async def serve(self, socket: Socket) -> None:
        self.socket = socket
        with self.leave:
            while (event := await socket.receive()) is not None:
                await self.events_tx.send(event)


async def serve(
    platform: ScriptedPlatform,
    script: Callable[[Link, Run], Awaitable[None]],
    config: ClientConfig = CONFIG,
    limits: SocketLimits = QUICK,
) -> Run:
    """Run one run; *script* is the platform's side of it. Returns when it is over."""
    run = Run(platform.url, config, limits)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.run)
        link = await platform.next_link()
        await script(link, run)
    return run


def end_of(run: Run) -> SocketEnd:
    assert run.end is not None
    return run.end


@pytest.fixture
def clock() -> MockClock:
    """Of the tests that ask for it: they wait for a limit, or measure how long something took."""
    return loopback_clock()


# ── pings and pongs ─────────────────────────────────────────────────────────


async def test_the_first_ping_comes_at_once_and_names_the_service(
    platform: ScriptedPlatform,
) -> None:
    async def script(link: Link, run: Run) -> None:
        assert await link.pings.receive() == longconn.ping(SERVICE)
        run.leave.cancel()

    assert end_of(await serve(platform, script)).kind == "left"


async def test_a_pong_changes_the_ping_interval_at_once(
    clock: MockClock, platform: ScriptedPlatform
) -> None:
    platform.client_config = ClientConfig(ping_interval_s=1)

    async def script(link: Link, run: Run) -> None:
        await link.pings.receive()
        began = trio.current_time()
        await link.pings.receive()
        # And not after the 120 s the endpoint named.
        assert trio.current_time() - began == pytest.approx(1.0, abs=0.01)
        assert run.socket is not None
        assert run.socket.client_config.ping_interval_s == 1
        run.leave.cancel()

    await serve(platform, script)


async def test_a_link_without_pongs_is_given_up(
    clock: MockClock, platform: ScriptedPlatform
) -> None:
    async def script(link: Link, run: Run) -> None:
        link.answers_pings = False
        await link.freeze()

    began = trio.current_time()
    run = await serve(platform, script, ClientConfig(ping_interval_s=1), IMPATIENT)
    assert end_of(run) == SocketEnd(kind="half_open", reason="no pong for 1.1 s")
    # Neither a close handshake nor the network is waited for.
    assert trio.current_time() - began == pytest.approx(1.1, abs=0.01)


async def test_a_link_with_events_but_without_pongs_is_given_up(
    clock: MockClock, platform: ScriptedPlatform
) -> None:
    async def script(link: Link, run: Run) -> None:
        link.answers_pings = False
        while not link.over.is_set():
            await link.push_event(message_event())
            await run.events.receive()
            with trio.move_on_after(0.2):
                await link.over.wait()

    run = await serve(platform, script, ClientConfig(ping_interval_s=1), IMPATIENT)
    assert end_of(run).kind == "half_open"


async def test_our_own_slowness_is_not_the_peers_silence(
    clock: MockClock, platform: ScriptedPlatform
) -> None:
    """A setup that was busy for longer than the pong's deadline keeps its link."""
    platform.client_config = ClientConfig(ping_interval_s=1)
    ended: list[SocketEnd | None] = []

    async def slow(socket: Socket) -> None:
        assert await socket.receive() is not None
        await trio.sleep(1.5)
        assert await socket.receive() is not None
        ended.append(socket.end)

    async with trio.open_nursery() as nursery:

        async def run() -> None:
            await run_socket(platform.url, ClientConfig(ping_interval_s=1), slow, limits=IMPATIENT)
            nursery.cancel_scope.cancel()

        nursery.start_soon(run)
        link = await platform.next_link()
        await link.push_event(message_event(1))
        await link.push_event(message_event(2))
    assert ended == [None]


# ── events and acks ─────────────────────────────────────────────────────────


async def test_an_event_comes_in_and_its_ack_goes_out(platform: ScriptedPlatform) -> None:
    async def script(link: Link, run: Run) -> None:
        await link.push_event(message_event(), message_id="push-7")
        event = await run.events.receive()
        assert event.payload == message_event()
        assert run.socket is not None
        assert await run.socket.send(longconn.ack(event.frame, took_ms=1))
        assert await link.next_ack() == ("push-7", {"code": 200})
        run.leave.cancel()

    await serve(platform, script)


async def test_acks_that_are_sent_together_all_arrive(platform: ScriptedPlatform) -> None:
    async def script(link: Link, run: Run) -> None:
        for number in range(3):
            await link.push_event(message_event(number), message_id=f"push-{number}")
        events = [await run.events.receive() for _ in range(3)]
        assert run.socket is not None
        assert await run.socket.send(*(longconn.ack(one.frame, took_ms=1) for one in events))
        assert [(await link.next_ack())[0] for _ in range(3)] == ["push-0", "push-1", "push-2"]
        run.leave.cancel()

    await serve(platform, script)


async def test_a_websocket_ping_is_answered(platform: ScriptedPlatform) -> None:
    """The platform pings in its own frames; what is between may ping in the WebSocket's."""

    async def script(link: Link, run: Run) -> None:
        with trio.fail_after(60):
            await link.connection.ping(b"from a load balancer")
        run.leave.cancel()

    assert end_of(await serve(platform, script)).kind == "left"


async def test_bytes_that_are_no_frame_end_the_link(platform: ScriptedPlatform) -> None:
    async def script(link: Link, run: Run) -> None:
        await link.pings.receive()
        await link.push_event(message_event())
        await link.stream.send_all(b"\xff\xff junk")
        assert (await run.events.receive()).payload == message_event()

    end = end_of(await serve(platform, script))
    assert (end.kind, end.reason[:16]) == ("closed", "closed with 1002")


async def test_fragments_in_any_order_are_one_event(platform: ScriptedPlatform) -> None:
    async def script(link: Link, run: Run) -> None:
        await link.push(reversed(frames_of(message_event(), parts=5)))
        await link.push_event(message_event(2))
        assert (await run.events.receive()).payload == message_event()
        assert (await run.events.receive()).payload == message_event(2)
        run.leave.cancel()

    await serve(platform, script)


async def test_what_is_no_event_is_passed_over(platform: ScriptedPlatform) -> None:
    async def script(link: Link, run: Run) -> None:
        await link.connection.send_message("text")
        await link.connection.send_message(b"junk")
        await link.connection.send_message(b"")
        (frame,) = frames_of(b"{}")
        await link.push([Frame(service=1, method=1, headers=(("type", "card"),))])
        await link.push([Frame(service=1, method=9), Frame(service=1, method=0)])
        await link.push([frame])
        assert (await run.events.receive()).payload == b"{}"
        run.leave.cancel()

    assert end_of(await serve(platform, script)).kind == "left"


# ── ends ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("code", "reason", "refusal"),
    [(1000, "", None), (1001, "deploy", None), (3001, "too many conns", "connection_limit")],
)
async def test_the_peer_closes(
    platform: ScriptedPlatform, code: int, reason: str, refusal: str | None
) -> None:
    async def script(link: Link, run: Run) -> None:
        await link.close(code, reason)

    end = end_of(await serve(platform, script))
    assert (end.kind, end.refusal.kind if end.refusal else None) == ("closed", refusal)
    assert str(code) in end.reason
    assert reason in end.reason


async def test_events_before_the_close_are_not_lost(platform: ScriptedPlatform) -> None:
    async def script(link: Link, run: Run) -> None:
        for number in range(10):
            await link.push_event(message_event(number))
        await link.close()
        for number in range(10):
            assert (await run.events.receive()).payload == message_event(number)

    assert end_of(await serve(platform, script)).kind == "closed"


async def test_the_network_goes_away(platform: ScriptedPlatform) -> None:
    async def script(link: Link, run: Run) -> None:
        await link.abort()

    assert end_of(await serve(platform, script)).kind == "lost"


async def test_sending_on_a_link_that_is_over_raises(platform: ScriptedPlatform) -> None:
    sent: list[bool] = []

    async def serve(socket: Socket) -> None:
        assert await socket.receive() is None
        sent.append(await socket.send(longconn.ping(1)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: run_socket(platform.url, CONFIG, serve, limits=QUICK))
        await (await platform.next_link()).abort()
    assert sent == [False]


async def test_a_peer_that_stops_reading_is_given_up(
    clock: MockClock, platform: ScriptedPlatform
) -> None:
    large = Frame(service=1, method=1, payload=bytes(32 * 1024 * 1024))
    sent: list[bool] = []

    async def serve(socket: Socket) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(await socket.send(large))
        assert await socket.receive() is None

    async with trio.open_nursery() as nursery:
        ends: list[SocketEnd] = []

        async def run() -> None:
            with trio.fail_after(60):
                ends.append(await run_socket(platform.url, CONFIG, serve, limits=HASTY))

        nursery.start_soon(run)
        await (await platform.next_link()).freeze()
    assert sent == [False]
    assert ends == [
        SocketEnd(kind="half_open", reason="the peer does not take what is sent"),
    ]


async def test_a_message_without_end_is_not_kept(platform: ScriptedPlatform) -> None:
    async def script(link: Link, run: Run) -> None:
        with contextlib.suppress(ws.ConnectionClosed):  # it may hang up before the last byte
            await link.push_event(bytes(5 * 1024 * 1024))

    assert "1009" in end_of(await serve(platform, script)).reason


async def test_leaving_closes_with_the_handshake(platform: ScriptedPlatform) -> None:
    async def script(link: Link, run: Run) -> None:
        await link.pings.receive()
        run.leave.cancel()
        await link.over.wait()
        assert link.connection.closed is not None
        assert link.connection.closed.code == 1000

    assert end_of(await serve(platform, script)).kind == "left"


async def test_leaving_does_not_wait_for_a_dead_peer(
    clock: MockClock, platform: ScriptedPlatform
) -> None:
    async def script(link: Link, run: Run) -> None:
        await link.pings.receive()
        await link.freeze()
        run.leave.cancel()

    began = trio.current_time()
    assert end_of(await serve(platform, script, limits=HASTY)).kind == "left"
    assert trio.current_time() - began <= HASTY.close_within_s + 0.01


async def test_a_ping_into_our_close_is_no_crash(
    clock: MockClock, platform: ScriptedPlatform
) -> None:
    """The library refuses to answer it; the link was over anyway."""

    async def script(link: Link, run: Run) -> None:
        await link.pings.receive()
        await link.freeze()
        await trio.testing.wait_all_tasks_blocked()
        run.leave.cancel()
        await link.stream.receive_some()
        await link.stream.send_all(b"\x89\x00")

    assert end_of(await serve(platform, script)).kind == "left"


async def test_cancellation_closes_with_the_handshake_too(platform: ScriptedPlatform) -> None:
    run = Run(platform.url)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.run)
        link = await platform.next_link()
        await link.pings.receive()
        nursery.cancel_scope.cancel()
    await link.over.wait()
    assert link.connection.closed is not None
    assert link.connection.closed.code == 1000


# ── links that never come to be ─────────────────────────────────────────────


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (
            Refusal(400, Handshake_Status="514", Handshake_Autherrcode="1000040350"),
            "connection_limit",
        ),
        (Refusal(400, Handshake_Status="514", Handshake_Autherrcode="1000040346"), "busy"),
        (Refusal(403, Handshake_Status="403", Handshake_Msg="forbidden"), "credentials"),
        (Refusal(503), "busy"),
    ],
    ids=["limit", "ticket", "forbidden", "bare"],
)
async def test_refusals_are_distinguished(
    platform: ScriptedPlatform, refusal: Refusal, kind: str
) -> None:
    platform.refusals.append(refusal)
    run = Run(platform.url)
    await run.run()
    end = end_of(run)
    assert end.kind == "refused"
    assert end.refusal is not None
    assert end.refusal.kind == kind
    assert run.socket is None


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 101 Sure\r\n\r\n"])
async def test_a_peer_that_is_no_websocket(
    clock: MockClock, platform: ScriptedPlatform, answer: bytes
) -> None:
    platform.raw_answer = answer
    run = Run(platform.url, limits=HASTY)
    await run.run()
    assert end_of(run).kind in {"unreachable", "lost"}
    assert run.socket is None


async def test_nobody_listens() -> None:
    with deaf_port() as port:
        run = Run(f"ws://127.0.0.1:{port}/ws/v2?ticket=secret")
        await run.run()
    assert end_of(run).kind == "unreachable"
    assert "secret" not in end_of(run).reason


async def test_tls_to_a_peer_without_tls(platform: ScriptedPlatform) -> None:
    platform.raw_answer = b"plain text\r\n"
    run = Run(platform.url.replace("ws://", "wss://"))
    await run.run()
    assert end_of(run).kind == "unreachable"
    assert "no TLS is agreed on" in end_of(run).reason


class TestTls:
    """The platform is reached over TLS; here with a certificate made for the test."""

    @pytest.fixture
    def certificate(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """A self-signed certificate for 127.0.0.1, and whom to trust still open."""
        path = self_signed(tmp_path, "IP:127.0.0.1")
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        tls_context.cache_clear()
        yield path
        tls_context.cache_clear()

    async def test_a_peer_with_a_good_certificate(
        self, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        run = await self.visit(certificate)
        assert end_of(run).kind == "closed"
        assert run.socket is not None

    async def test_leaving_while_nothing_comes(
        self, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A read that is cancelled does not harm the close handshake after it."""
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        codes: list[int] = []

        async def read_to_the_end(connection: ws.WebSocketConnection, run: Run) -> None:
            # Shielded: our side may be done, and the server with it, before this has seen it.
            with trio.fail_after(60, shield=True), contextlib.suppress(ws.ConnectionClosed):
                await connection.get_message()
                run.leave.cancel()
                await connection.get_message()
            assert connection.closed is not None
            codes.append(connection.closed.code)

        assert end_of(await self.visit(certificate, read_to_the_end)).kind == "left"
        assert codes == [1000]

    async def test_a_peer_nobody_vouches_for(self, certificate: Path) -> None:
        run = await self.visit(certificate)
        assert end_of(run).kind == "unreachable"
        assert "its certificate is not trusted: self-signed" in end_of(run).reason

    async def visit(
        self,
        certificate: Path,
        serve: Callable[[ws.WebSocketConnection, Run], Awaitable[None]] | None = None,
    ) -> Run:
        """Run one run; *serve* is the platform's side of it, which else hangs up."""
        serve = serve or self.hang_up
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)

        async def greet(request: ws.WebSocketRequest) -> None:
            await serve(await request.accept(), run)

        async with trio.open_nursery() as nursery:
            server: ws.WebSocketServer = await nursery.start(
                lambda task_status: ws.serve_websocket(
                    greet, "127.0.0.1", 0, context, task_status=task_status
                )
            )
            run = Run(f"wss://127.0.0.1:{server.port}/ws/v2")
            await run.run()
            nursery.cancel_scope.cancel()
        return run

    async def hang_up(self, connection: ws.WebSocketConnection, _run: Run) -> None:
        await connection.get_message()
        await connection.aclose(1001, "that was all")


@pytest.mark.parametrize("url", ["", "https://open.feishu.cn/", "ws://", "ws://[::1", "ws://h:x/"])
async def test_an_address_that_is_none(url: str) -> None:
    run = Run(url)
    await run.run()
    assert end_of(run).kind == "unreachable"

"""Pictures of the web: only public ones, whatever the name or a redirect leads to."""

from __future__ import annotations

import contextlib
import gzip
import re
import resource
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.feishu.pictures import PictureRefused, PicturesSettings, fetch, run
from actors.kit.mailbox import ask
from actors.messages import gateway, pictures
from protocol.ids import AccountId
from protocol.platform.outcomes import ImageUploaded, NoAnswer
from protocol.platform.public_address import is_public

PNG = b"\x89PNG\r\n\x1a\n" + bytes(1_000)


@asynccontextmanager
async def web(*answers: bytes) -> AsyncIterator[tuple[str, list[str]]]:
    """Serve the answers, one a connection; give the address, and the requests' heads."""
    heads: list[str] = []
    rest = list(answers)

    async def serve(stream: trio.SocketStream) -> None:
        heads.append((await stream.receive_some(65_536)).decode())
        await stream.send_all(rest.pop(0))

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield f"example.com:{listeners[0].socket.getsockname()[1]}", heads
        nursery.cancel_scope.cancel()


def ok(body: bytes, kind: str = "image/png", encoding: str | None = None) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    if encoding is not None:
        head += f"Content-Encoding: {encoding}\r\n"
    return head.encode() + b"\r\n" + body


def moved(to: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


def names(**addresses: str) -> Callable[[str, int], object]:
    async def look_up(host: str, _port: int) -> list[str]:
        await trio.lowlevel.checkpoint()
        return [addresses.get(host.replace(".", "_"), "127.0.0.1")]

    return look_up


async def get(url: str, *, bytes_max: int = 10_000, inside: str = "127.0.0.1") -> bytes:
    """Fetch as if *inside* were on the public network."""
    return await fetch(
        url,
        bytes_max,
        allowed=lambda address: address == inside or is_public(address),
        lookup=names(internal_example="10.0.0.1", azure_example="168.63.129.16"),  # type: ignore[arg-type]
    )


async def test_a_picture_is_fetched_by_its_name() -> None:
    async with web(ok(PNG)) as (host, heads):
        assert await get(f"http://{host}/a/cat.png?x=1") == PNG
        assert heads[0].startswith("GET /a/cat.png?x=1 HTTP/1.1")
        assert f"host: {host}" in heads[0].lower()


async def test_a_bomb_in_layers_costs_neither_memory_nor_the_loops_time() -> None:
    """A thousand bytes of gzip in gzip unpack to gigabytes, in one step of the loop."""
    packing = zlib.compressobj(9, wbits=31)  # piece by piece: what this costs is no peak
    piece = bytes(1 << 20)
    bomb = b"".join((*(packing.compress(piece) for _ in range(256)), packing.flush()))
    for _ in range(2):
        bomb = gzip.compress(bomb, 9)
    assert len(bomb) < 10_000
    longest = 0.0
    forget_peak()
    before = peak_kib()

    async def watch() -> None:
        nonlocal longest
        while True:
            since = time.thread_time()  # of this thread's own work, whatever else runs
            await trio.sleep(0.01)
            longest = max(longest, time.thread_time() - since)

    async with web(ok(bomb, encoding="gzip, gzip, gzip")) as (host, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            with pytest.raises(PictureRefused):
                await get(f"http://{host}/a.png", bytes_max=5_000_000)
            nursery.cancel_scope.cancel()
    assert longest < 1
    assert peak_kib() - before < 50_000


def forget_peak() -> None:
    """Let what this process held before count no more, or a lower peak would be hidden by it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_kib() -> int:
    """The most memory that was resident, since the last peak was forgotten."""
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
        if found is not None:
            return int(found[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


async def test_a_stream_without_end_is_left_as_soon_as_it_is_too_large() -> None:
    sent = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal sent
        await stream.receive_some(65_536)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n" + PNG)
        try:
            while True:
                await stream.send_all(bytes(65_536))
                sent += 65_536
        except trio.BrokenResourceError:
            return

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        with pytest.raises(PictureRefused, match="over 200000 bytes"):
            await get(f"http://example.com:{port}/a.png", bytes_max=200_000)
        nursery.cancel_scope.cancel()
    assert sent < 30_000_000, "what the kernel buffers, and no more"


async def test_what_is_declared_as_too_large_is_not_waited_for() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 10001\r\n\r\n"

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some(65_536)
        await stream.send_all(head)
        await stream.receive_some(1)  # nothing more is sent until the other side goes

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        with pytest.raises(PictureRefused, match="over 10000 bytes"):
            await get(f"http://example.com:{port}/a.png")
        nursery.cancel_scope.cancel()


async def test_redirects_are_followed_to_public_places_only() -> None:
    async with web(moved("/b.png"), ok(PNG)) as (host, _):
        assert await get(f"http://{host}/a.png") == PNG
    async with web(moved("http://internal.example/secret")) as (host, heads):
        with pytest.raises(PictureRefused, match="not on the public network"):
            await get(f"http://{host}/a.png")
        assert len(heads) == 1
    async with web(moved("http://azure.example/machine?comp=goalstate")) as (host, heads):
        with pytest.raises(PictureRefused, match="not on the public network"):
            await get(f"http://{host}/a.png")
        assert len(heads) == 1
    async with web(*[moved("/again")] * 10) as (host, _):
        with pytest.raises(PictureRefused, match="too many redirects"):
            await get(f"http://{host}/a.png")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (ok(b"<html>", "text/html"), "no picture"),
        (ok(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"), "no picture"),
        (ok(b"", "image/png"), "no picture"),
        (ok(PNG + bytes(10_001)), "over 10000 bytes"),
        (ok(gzip.compress(PNG), encoding="gzip"), "encoded as 'gzip'"),
        (ok(gzip.compress(gzip.compress(PNG)), encoding="gzip, gzip"), "encoded"),
        (ok(PNG, encoding="br"), "encoded as 'br'"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"4e20\r\n" + (PNG + bytes(20_000))[:20_000] + b"\r\n0\r\n\r\n",
            "over 10000 bytes",
        ),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP 404"),
        (b"rubbish\r\n\r\n", "RemoteProtocolError"),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", "HTTP 304"),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "HTTP 302"),
        (moved("//[::1"), "moved to no address|RemoteProtocolError"),
        (moved("file:///etc/passwd"), "no http or https address"),
        (moved("/" + "x" * 66_000), "moved to no address|RemoteProtocolError"),
    ],
)
async def test_what_is_no_picture_is_refused(answer: bytes, why: str) -> None:
    async with web(answer) as (host, _):
        with pytest.raises(PictureRefused, match=why):
            await get(f"http://{host}/a.png")


@pytest.mark.parametrize(
    "host", ["a" * 64 + ".com", "a..b", ".", "\udcff.com", "a b", "xn--\u00e9", "*", "a" * 9_999]
)
async def test_what_no_host_is_called_is_refused(host: str) -> None:
    with pytest.raises(PictureRefused):
        await fetch(f"http://{host}/", 10_000)


async def test_this_machine_and_its_network_are_not_the_web() -> None:
    async with web(ok(PNG)) as (host, heads):
        port = host.partition(":")[2]
        for name in ("127.0.0.1", "localhost", "[::1]", "2130706433"):
            with pytest.raises(PictureRefused):
                await fetch(f"http://{name}:{port}/", 10_000)
        assert heads == []


# ── the actor ───────────────────────────────────────────────────────────────


FIRST, SECOND = AccountId("first"), AccountId("second")


class Uploads:
    """The actor, and a gateway that takes pictures once *let* is set."""

    def __init__(self, *, takes: bool = True) -> None:
        self.taken: list[gateway.Operation] = []
        self.let = trio.Event()
        self.begun = trio.Event()
        self._takes = takes
        self._gateway_tx, self._calls = trio.open_memory_channel[gateway.GatewayMessage](8)
        self._mailbox, self._inbox = trio.open_memory_channel[pictures.PicturesMessage](8)

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        settings = PicturesSettings(
            gateways={FIRST: self._gateway_tx, SECOND: self._gateway_tx},
            bytes_max={FIRST: 10_000, SECOND: 10_000},
            allowed=lambda _address: True,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._upload)
            await nursery.start(run, settings, self._inbox)
            task_status.started()

    async def _upload(self) -> None:
        async for call in self._calls:
            assert isinstance(call, gateway.Call)
            self.taken.append(call.operation)
            self.begun.set()
            await self.let.wait()
            key = ImageUploaded(image_key=f"img_{len(self.taken)}")
            call.reply.send(key if self._takes else NoAnswer(reason="no answer in 10 s"))

    async def key(self, account: AccountId, host: str, name: str) -> str | None:
        url = f"http://127.0.0.1:{host.partition(':')[2]}/{name}.png"
        return await ask(
            self._mailbox,
            lambda reply: pictures.Resolve(account=account, url=url, reply=reply),
            within_s=60,
        )


async def test_a_picture_is_uploaded_once_for_an_account_wherever_it_stands() -> None:
    """By its content; an address that was asked for lately is not even fetched again."""
    uploads = Uploads()
    uploads.let.set()
    async with web(ok(PNG), ok(PNG), ok(PNG), ok(PNG + b"x")) as (host, heads):
        async with trio.open_nursery() as nursery:
            await nursery.start(uploads.serve)
            for name in ("a", "b", "a"):
                assert await uploads.key(FIRST, host, name) == "img_1"
            assert await uploads.key(SECOND, host, "a") == "img_2"
            assert await uploads.key(FIRST, host, "c") == "img_3"
            nursery.cancel_scope.cancel()
    assert uploads.taken == [gateway.UploadImage(image=body) for body in (PNG, PNG, PNG + b"x")]
    assert len(heads) == 4


@pytest.mark.parametrize(("takes", "named"), [(True, "abb"), (False, "aaa")])
async def test_turns_that_name_a_new_picture_at_once_share_its_upload(
    takes: bool, named: str
) -> None:
    """Of one address they share the fetch as well, and what came of it."""
    uploads = Uploads(takes=takes)
    keys: list[str | None] = []
    async with web(*4 * [ok(PNG)]) as (host, heads):
        async with trio.open_nursery() as nursery:
            await nursery.start(uploads.serve)
            async with trio.open_nursery() as turns:

                async def one_turn(name: str) -> None:
                    keys.append(await uploads.key(FIRST, host, name))

                turns.start_soon(one_turn, "a")
                await uploads.begun.wait()
                for name in named:
                    turns.start_soon(one_turn, name)
                while len(heads) < len(set(named)):
                    await trio.sleep(0.01)
                await wait_all_tasks_blocked(0.05)  # they have what they fetched
                uploads.let.set()
            nursery.cancel_scope.cancel()
    assert keys == ["img_1" if takes else None] * 4
    assert uploads.taken == [gateway.UploadImage(image=PNG)]
    assert len(heads) == len(set(named))

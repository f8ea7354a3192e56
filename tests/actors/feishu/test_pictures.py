"""Pictures of the web: only public ones, whatever the name or a redirect leads to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from actors.feishu.pictures import PictureRefused, fetch
from protocol.platform.public_address import is_public, read_target

PNG = b"\x89PNG\r\n" + bytes(1_000)


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


def ok(body: bytes, kind: str = "image/png") -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


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
        allowed=lambda address: address == inside,
        lookup=names(internal_example="10.0.0.1"),  # type: ignore[arg-type]
    )


async def test_a_picture_is_fetched_by_its_name() -> None:
    async with web(ok(PNG)) as (host, heads):
        assert await get(f"http://{host}/a/cat.png?x=1") == PNG
        assert heads[0].startswith("GET /a/cat.png?x=1 HTTP/1.1")
        assert f"host: {host}" in heads[0].lower()


async def test_redirects_are_followed_to_public_places_only() -> None:
    async with web(moved("/b.png"), ok(PNG)) as (host, _):
        assert await get(f"http://{host}/a.png") == PNG
    async with web(moved("http://internal.example/secret")) as (host, heads):
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
        (ok(bytes(10_001)), "over 10000 bytes"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"4e20\r\n" + bytes(20_000) + b"\r\n0\r\n\r\n",
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


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        "0.0.0.0",  # noqa: S104  # an address to refuse
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1"),
        *("::", "::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1"),
        *("2002:7f00:1::", "64:ff9b::7f00:1", "2001:db8::1", "nonsense", ""),
    ],
)
def test_private_addresses_in_every_dress(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://x/y", "file:///etc/passwd", "http://", "http://user:pw@x/", "http://x:99999/"),
        *("https://[::1", "//x/y", "x.png"),
    ],
)
def test_odd_addresses_are_no_target(url: str) -> None:
    assert read_target(url) is None

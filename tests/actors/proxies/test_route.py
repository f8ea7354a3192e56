"""Which address of a cluster is tried next."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import trio

from actors.proxies.endpoint import Endpoint, Route, another_serves
from actors.proxies.settings import ProxySettings
from protocol.wire import messages as wire
from protocol.wire.addresses import Address, parse_address
from protocol.wire.framing import frame


def address(name: str) -> Address:
    found = parse_address(f"tls://{name}:7346")
    assert found is not None
    return found


@pytest.fixture
def settings(tmp_path: Path) -> ProxySettings:
    token = tmp_path / "session.token"
    token.write_text("t" * 43)
    return ProxySettings(
        session_id="s",
        addresses=(address("a"), address("b"), address("c")),
        token_file=token,
        ca_file=tmp_path / "ca.pem",
    )


def tried(route: Route, refusals: dict[str, list[str]] | None = None) -> list[str]:
    """Make a round in which each node stands by, and some name the holder."""
    hosts = []
    for endpoint in route.round():
        hosts.append(endpoint.address.host)
        route.named((refusals or {}).get(endpoint.address.host, []))
    return hosts


def test_addresses_are_tried_in_order(settings: ProxySettings) -> None:
    assert tried(Route(settings)) == ["a", "b", "c"]


def test_who_served_last_comes_first(settings: ProxySettings) -> None:
    route = Route(settings)
    route.served(address("b"))
    assert tried(route) == ["b", "a", "c"]


def test_where_a_standby_sees_the_holder_comes_next_and_once(settings: ProxySettings) -> None:
    route = Route(settings)
    route.served(address("b"))
    assert tried(route, {"b": ["tls://new:7346"]}) == ["b", "new", "a", "c"]
    assert tried(route) == ["b", "a", "c"], "nobody names it any more"
    assert tried(route, {"c": ["tls://new:7346"]}) == ["b", "a", "c", "new"]


def test_two_that_name_each_other_are_each_tried_once(settings: ProxySettings) -> None:
    named = {"a": ["tls://b:7346"], "b": ["tls://a:7346"]}
    assert tried(Route(settings), named) == ["a", "b", "c"]


def test_only_a_verified_address_is_followed(settings: ProxySettings) -> None:
    unverified = msgspec.structs.replace(settings, ca_file=None)
    assert tried(Route(unverified), {"a": ["tls://new:7346"]}) == ["a", "b", "c"]
    for wrong in ("tcp://new:7346", "new:7346", "tls://new"):
        assert tried(Route(settings), {"a": [wrong]}) == ["a", "b", "c"]


GREETING = frame(wire.Hello(nonce=bytes(32)))


@pytest.mark.parametrize(
    "other", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\x00\x00\x03abc", b""]
)
async def test_who_sends_rubbish_or_hangs_up_is_not_the_one_that_serves(
    settings: ProxySettings, other: bytes
) -> None:
    async def listen(nursery: trio.Nursery, first: bytes) -> Address:
        async def greet(stream: trio.SocketStream) -> None:
            async with stream:
                await stream.send_all(first)

        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, greet, [listener])
        return Address(host="127.0.0.1", port=listener.socket.getsockname()[1], tls=False)

    async with trio.open_nursery() as nursery:
        wrong, right = await listen(nursery, other), await listen(nursery, GREETING)
        silent = Endpoint(address("a"), b"t")
        both = msgspec.structs.replace(settings, addresses=(silent.address, wrong, right))
        assert await another_serves(silent, both) == right
        neither = msgspec.structs.replace(settings, addresses=(silent.address, wrong))
        assert await another_serves(silent, neither) is None
        nursery.cancel_scope.cancel()

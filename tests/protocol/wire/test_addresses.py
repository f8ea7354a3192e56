"""Where a daemon listens, as people write it."""

from __future__ import annotations

import pytest

from protocol.wire.addresses import Address, parse_address, parse_addresses


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:7345", Address("127.0.0.1", 7345)),
        ("tls://node-a.example:7346", Address("node-a.example", 7346, tls=True)),
        ("[::1]:1", Address("::1", 1)),
        ("tls://[fe80::1]:65535", Address("fe80::1", 65_535, tls=True)),
        ("  host:80 ", Address("host", 80)),
    ],
)
def test_addresses_are_read_and_written_back(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        ":80",
        "host:",
        "host:0",
        "host:65536",
        "host:123456",
        "host:8o",
        "::1:80",
        "[::1]",
        "[host]:80",
        "http://host:80",
        "tls://",
        "a host:80",
        "host:80/path",
    ],
)
def test_what_is_no_address(text: str) -> None:
    assert parse_address(text) is None


def test_a_list_has_commas() -> None:
    assert parse_addresses("a:1, tls://b:2,,") == (Address("a", 1), Address("b", 2, tls=True))


@pytest.mark.parametrize("text", ["", " , ", "a:1,b", "a:1;b:2"])
def test_a_list_with_one_that_is_none_is_no_list(text: str) -> None:
    assert parse_addresses(text) is None

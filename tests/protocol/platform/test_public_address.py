"""Which addresses of the web may be fetched."""

from __future__ import annotations

import pytest

from protocol.platform.public_address import is_public, read_target


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        "0.0.0.0",  # noqa: S104  # an address to refuse
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1"),
        *("::", "::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1"),
        *("168.63.129.16", "100.100.100.200", "192.0.0.192", "169.254.170.2", "fd00:ec2::254"),
        *("fec0::1", "feff::1", "::ffff:168.63.129.16", "64:ff9b::a83f:8110", "64:ff9b:1::1"),
        *("2002:a83f:8110::", "2002:7f00:1::", "64:ff9b::7f00:1", "2001:db8::1", "nonsense", ""),
    ],
)
def test_private_addresses_in_every_dress(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "2002:808:808::", "64:ff9b::808:808"),
        *("2001:0:808:808::f7f7:f7f7", "2606:4700::1111%eth0"),
    ],
)
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


@pytest.mark.parametrize(
    ("url", "target", "header"),
    [
        ("http://a.example", ("http", "a.example", 80, "/"), "a.example"),
        ("https://A.example:443/x?y=1#z", ("https", "a.example", 443, "/x?y=1"), "a.example"),
        ("https://a.example:8443?y", ("https", "a.example", 8443, "/?y"), "a.example:8443"),
        ("http://[2606:4700::1]/", ("http", "2606:4700::1", 80, "/"), "[2606:4700::1]"),
        ("http://a.example:0/", ("http", "a.example", 0, "/"), "a.example:0"),
    ],
)
def test_an_address_is_taken_apart(
    url: str, target: tuple[str, str, int, str], header: str
) -> None:
    found = read_target(url)
    assert found is not None
    assert (found.scheme, found.host, found.port, found.path) == target
    assert found.host_header == header

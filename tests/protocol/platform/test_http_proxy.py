"""Which proxy the environment names."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.platform.http_proxy import HttpProxy, ProxyUnusableError, is_loopback, proxy_for

PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("environ", "scheme", "host", "through"),
    [
        ({"HTTPS_PROXY": PROXY}, "https", "open.feishu.cn", True),
        ({"https_proxy": PROXY}, "https", "open.feishu.cn", True),
        ({"HTTP_PROXY": PROXY}, "https", "open.feishu.cn", False),
        ({"ALL_PROXY": PROXY}, "https", "open.feishu.cn", True),
        ({"HTTPS_PROXY": "", "ALL_PROXY": PROXY}, "https", "open.feishu.cn", True),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, "https", "open.feishu.cn", False),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "feishu.cn"}, "https", "open.feishu.cn", False),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": " .feishu.cn"}, "https", "open.feishu.cn", False),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "*.feishu.cn"}, "https", "open.feishu.cn", False),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "eishu.cn"}, "https", "open.feishu.cn", True),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "feishu.cn:443"}, "https", "open.feishu.cn", False),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "feishu.cn:80"}, "https", "open.feishu.cn", True),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8"}, "https", "10.1.2.3", False),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "fd00::/8"}, "https", "fd00::1", False),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "2001:db8::443"}, "https", "2001:db8::443", False),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "2001:db8::443"}, "https", "2001:db8::1", True),
        ({"HTTPS_PROXY": PROXY}, "https", "localhost.", False),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "10.9.9.9/8"}, "https", "10.1.2.3", False),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8,"}, "https", "11.1.2.3", True),
        ({"HTTPS_PROXY": PROXY}, "https", "127.0.0.1", False),
        ({"HTTPS_PROXY": PROXY}, "https", "localhost", False),
        ({"HTTPS_PROXY": PROXY}, "https", "::1", False),
        ({"HTTPS_PROXY": PROXY}, "https", "127.evil.example", True),
    ],
)
def test_the_environment_decides(
    environ: dict[str, str], scheme: str, host: str, through: bool
) -> None:
    found = proxy_for(environ, scheme, host, 443)  # type: ignore[arg-type]
    assert (found is None) is not through
    if found is not None:
        (name,) = (name for name, value in environ.items() if value == PROXY)
        wanted = HttpProxy(tls=False, host="proxy.example", port=3128, variable=name)
        assert found == wanted


def test_a_proxys_address_is_taken_apart() -> None:
    environ = {"ALL_PROXY": "https://a%40b:p%3Aw@[2001:db8::1]"}
    found = proxy_for(environ, "https", "open.feishu.cn", 443)
    assert found is not None
    assert (found.tls, found.host, found.port) == (True, "2001:db8::1", 443)
    assert found.authorization == "Basic YUBiOnA6dw=="
    assert "p:w" not in repr(found)
    assert found.url == "https://[2001:db8::1]:443"


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_environment_names_a_proxy_none_or_what_is_wrong(value: str, excepted: str) -> None:
    environ = {"https_proxy": value, "no_proxy": excepted}
    with contextlib.suppress(ProxyUnusableError):
        proxy_for(environ, "https", "open.feishu.cn", 443)


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("proxy.example", "http://proxy.example:80"),
        ("proxy.example:3128", "http://proxy.example:3128"),
        ("https://proxy.example", "https://proxy.example:443"),
        (" http://proxy.example:8080/path ", "http://proxy.example:8080"),
    ],
)
def test_what_is_left_out_of_an_address_is_filled_in(value: str, url: str) -> None:
    found = proxy_for({"http_proxy": value}, "http", "open.feishu.cn", 80)
    assert found is not None
    assert (found.url, found.authorization, repr(found)) == (url, None, f"HttpProxy({url})")


def test_small_letters_win_and_a_name_needs_no_password() -> None:
    environ = {
        "http_proxy": "http://ann@a:1",
        "HTTP_PROXY": "http://b:2",
        "all_proxy": "http://c:3",
    }
    found = proxy_for(environ, "http", "open.feishu.cn", 80)
    assert found is not None
    assert (found.host, found.username, found.password) == ("a", "ann", "")
    excepted = environ | {"no_proxy": "example.com", "NO_PROXY": "*"}
    assert proxy_for(excepted, "http", "open.feishu.cn", 80) == found


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("http://[::1", "HTTPS_PROXY is no address of a proxy"),
        ("http://a:port", "HTTPS_PROXY is no address of a proxy"),
        ("http://:3128", "HTTPS_PROXY names no host; write http://host:port"),
        (
            "socks5h://secret@a:1",
            "HTTPS_PROXY names a socks5h proxy; larkd takes http://host:port or https://",
        ),
    ],
)
def test_what_can_t_be_used_is_named_without_what_it_holds(value: str, error: str) -> None:
    with pytest.raises(ProxyUnusableError) as caught:
        proxy_for({"HTTPS_PROXY": value}, "https", "open.feishu.cn", 443)
    assert str(caught.value) == error


@pytest.mark.parametrize(
    ("excepted", "host", "direct"),
    [
        ("[2001:db8::]/32", "2001:db8::5", False),
        ("2001:db8::/32", "2001:db8::5", True),
        ("[2001:db8::5]", "2001:db8::5", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("Feishu.CN", "open.FEISHU.cn", True),
        ("a.example,feishu.cn", "open.feishu.cn", True),
        ("feishu.cn:port", "open.feishu.cn", False),
        (":443", "open.feishu.cn", False),
        ("", "open.feishu.cn", False),
    ],
)
def test_what_is_reached_directly(excepted: str, host: str, direct: bool) -> None:
    found = proxy_for({"https_proxy": PROXY, "no_proxy": excepted}, "https", host, 443)
    assert (found is None) is direct


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("a.localhost", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("localhost.example", False),
        ("notlocalhost", False),
        ("10.0.0.1", False),
    ],
)
def test_this_machine_by_its_name(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback

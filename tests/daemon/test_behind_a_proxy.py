"""``daemon --check`` and ``doctor`` in a network whose only way out is an HTTP proxy."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from tests.kit import preloaded
from tests.kit.certificates import self_signed
from tests.kit.daemon import Platform, configuration, environment, open_platform
from tests.kit.ports import free_port
from tests.kit.proxy_names import address_of, open_http_proxy
from tests.kit.tls_front import open_tls_front

HOST: Final = "feishu.test"
FORBIDDEN: Final = "forbidden.test"


@pytest.fixture(scope="module")
def proxy_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with open_http_proxy(tmp_path_factory.mktemp("proxy")) as port:
        yield port


class Network:
    """The platform at ``https://feishu.test``, which only the proxy finds."""

    def __init__(self, platform: Platform, folder: Path, port: int, certificate: Path) -> None:
        self._platform = platform
        self._folder = folder
        self._port = port
        self._trusted = {"SSL_CERT_FILE": str(certificate)}

    def link_at(self, host: str) -> None:
        """Give clients another host for the long connection."""
        sockets = self._platform.running.sockets
        sockets.url = sockets.url.replace(HOST, host)

    def config(self, host: str) -> Path:
        app = self._platform.running.settings
        path = self._folder / f"{host}.json"
        url = f"https://{host}:{self._port}"
        path.write_text(configuration(url, app.app_id, app.app_secret))
        return path

    async def larkd(
        self, variables: Mapping[str, str], *arguments: str, host: str = HOST
    ) -> tuple[int, str, str]:
        """Return status, output and errors of a command in an environment with *variables*."""
        given = {
            name: value
            for name, value in environment().items()
            if not name.lower().endswith("_proxy")
        }
        places = ["--config", str(self.config(host)), "--state-dir", str(self._folder / "state")]
        with trio.fail_after(120):
            done = await preloaded.run(
                "actors.cli", [*arguments, *places], given | self._trusted | dict(variables)
            )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    async def finding(
        self, variables: Mapping[str, str], check: str, host: str = HOST
    ) -> dict[str, Any]:
        _, output, _ = await self.larkd(variables, "doctor", "--json", host=host)
        (found,) = (one for one in json.loads(output)["findings"] if one["check"] == check)
        return dict(found)


@asynccontextmanager
async def open_network(folder: Path) -> AsyncIterator[Network]:
    certificate = self_signed(folder, f"DNS:{HOST}")
    async with open_platform(hosts=frozenset({HOST})) as platform:
        sockets = platform.running.sockets
        async with (
            open_tls_front(certificate, platform.base_url) as port,
            open_tls_front(certificate, sockets.url) as socket_port,
        ):
            sockets.url = f"wss://{HOST}:{socket_port}"
            yield Network(platform, folder, port, certificate)


async def test_both_ways_lead_through_it(tmp_path: Path, proxy_port: int) -> None:
    through = {"HTTPS_PROXY": address_of(proxy_port)}
    async with open_network(tmp_path) as network:
        status, output, errors = await network.larkd(through, "daemon", "--check")
        assert (status, errors) == (0, "")
        assert output.rstrip().endswith("the long connection opens")
        _, output, _ = await network.larkd(through, "doctor", "--json")
        found = {one["check"]: one for one in json.loads(output)["findings"]}
        for check in ("credentials default", "scopes default", "connection default"):
            assert found[check]["state"] == "ok", found[check]

        past = through | {"NO_PROXY": HOST}
        status, _, errors = await network.larkd(past, "daemon", "--check")
        assert status == 1
        assert "the platform's name can't be resolved" in errors, "NO_PROXY leads past it"


@pytest.mark.parametrize("kind", ["wrong password", "refused", "down", "of another kind"])
async def test_what_the_proxy_does_instead_is_found(
    tmp_path: Path, proxy_port: int, kind: str
) -> None:
    down = free_port()
    url = f"http://127.0.0.1:{down if kind == 'down' else proxy_port}"
    variable, address, host, found = {
        "wrong password": (
            *("HTTPS_PROXY", address_of(proxy_port, "not-this-one"), HOST),
            f"the proxy {url} answered 407 Proxy Authentication Required",
        ),
        "refused": (
            *("ALL_PROXY", address_of(proxy_port), FORBIDDEN),
            f"the proxy {url} answered 403 Forbidden",
        ),
        "down": (
            *("https_proxy", address_of(down, "not-this-one"), HOST),
            f"the proxy {url} can't be reached: Connection refused",
        ),
        "of another kind": (
            *("HTTPS_PROXY", "socks5://127.0.0.1:1", HOST),
            "HTTPS_PROXY names a socks5 proxy",
        ),
    }[kind]
    remedy = (
        "name a proxy as http://name:password@host:port"
        if kind == "of another kind"
        else f"check {variable}: the proxy's address, its name and password, and that it lets"
        f" CONNECT to {host} through; NO_PROXY={host} goes around it"
    )
    async with open_network(tmp_path) as network:
        variables = {variable: address}
        status, output, errors = await network.larkd(variables, "daemon", "--check", host=host)
        assert (status, output) == (1, "")
        assert found in errors
        assert remedy in errors
        finding = await network.finding(variables, "credentials default", host)
        assert finding["state"] == "fail"
        assert found in finding["found"]
        assert remedy in finding["remedy"]
        assert "not-this-one" not in errors + str(finding), "the password is not shown"


async def test_only_the_long_connection_is_not_let_through(tmp_path: Path, proxy_port: int) -> None:
    through = {"HTTPS_PROXY": address_of(proxy_port)}
    async with open_network(tmp_path) as network:
        network.link_at(FORBIDDEN)
        _, _, errors = await network.larkd(through, "daemon", "--check")
        assert "the long connection does not open: unreachable: forbidden.test" in errors
        assert f"the proxy http://127.0.0.1:{proxy_port} answered 403 Forbidden" in errors
        finding = await network.finding(through, "connection default")
        assert finding["state"] == "fail"
        assert "answered 403 Forbidden" in finding["found"]
        assert finding["remedy"].startswith("check HTTPS_PROXY")


async def test_a_network_that_shows_its_own_certificate_is_named(
    tmp_path: Path, proxy_port: int
) -> None:
    through = {"HTTPS_PROXY": address_of(proxy_port), "SSL_CERT_FILE": str(tmp_path / "other")}
    (tmp_path / "of another").mkdir()
    self_signed(tmp_path / "of another", "DNS:other.test").rename(tmp_path / "other")
    async with open_network(tmp_path) as network:
        finding = await network.finding(through, "credentials default")
        assert "its certificate is not trusted: self" in finding["found"]
        assert "SSL_CERT_FILE" in finding["found"]

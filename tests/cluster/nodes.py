"""Nodes of a cluster as real processes, each with its state directory and certificate."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
import trio

from actors.proxies.client import ProxyError, ProxySettings, open_proxy
from protocol.wire import messages as wire
from protocol.wire.addresses import parse_address
from tests.kit import preloaded
from tests.kit.daemon import Platform, configuration, environment, whole_lines
from tests.kit.ports import free_port
from tests.kit.preloaded import ForkedProcess

WITHIN_S = 120.0
"""For a machine that runs other tests beside; what is promised is measured where it counts."""


class Certificates(msgspec.Struct, frozen=True, kw_only=True):
    """One authority, and a certificate of it, for ``localhost`` and 127.0.0.1 or *names*."""

    ca: Path
    cert: Path
    key: Path

    @classmethod
    def made(
        cls, folder: Path, *, days: int = 2, names: str = "DNS:localhost,IP:127.0.0.1"
    ) -> Self:
        def openssl(*arguments: str) -> None:
            try:
                subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
            except FileNotFoundError:
                pytest.skip("openssl is not installed; Debian: apt-get install openssl")

        openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key"),
            *("-out", "ca.pem", "-days", "2", "-subj", "/CN=tests"),
        )
        openssl(
            *("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "node.key"),
            *("-out", "node.csr", "-subj", "/CN=localhost"),
        )
        (folder / "names").write_text(f"subjectAltName={names}\n")
        openssl(
            *("x509", "-req", "-in", "node.csr", "-CA", "ca.pem", "-CAkey", "ca.key"),
            *("-CAcreateserial", "-out", "node.pem", "-days", str(days), "-extfile", "names"),
        )
        return cls(ca=folder / "ca.pem", cert=folder / "node.pem", key=folder / "node.key")


async def larkd(*arguments: str, **variables: str) -> tuple[int, str, str]:
    """Run ``larkd …``; return status, output and errors."""
    done = await preloaded.run("actors.cli", arguments, environment() | variables)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class Node:
    """One process that serves the cluster or stands by for it."""

    def __init__(self, name: str, state_dir: Path, process: ForkedProcess, address: str) -> None:
        self.name = name
        self.state_dir = state_dir
        self.process = process
        self.tls_address = address
        self.lines: list[tuple[float, str]] = []
        """Its standard output: when each line came, and the line."""
        self.errors = b""
        self._changed = trio.Event()

    async def read(self) -> None:
        assert self.process.stdout is not None
        rest = b""
        async for chunk in self.process.stdout:
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                self.lines.append((trio.current_time(), line.decode()))
            self._changed.set()
            self._changed = trio.Event()

    async def read_errors(self) -> None:
        assert self.process.stderr is not None
        async for chunk in self.process.stderr:
            self.errors += chunk

    async def wait_line(self, start: str, *, count: int = 1, within_s: float = WITHIN_S) -> float:
        """Wait for the *count*-th line that starts so; return when it came."""
        with trio.move_on_after(within_s):
            while True:
                found = [at for at, line in self.lines if line.startswith(start)]
                if len(found) >= count:
                    return found[count - 1]
                await self._changed.wait()
        raise AssertionError(
            f"node {self.name} did not print {start!r}: {self.lines}\n"
            f"{self.errors.decode()[-3000:]}\n{(await self.log())[-3000:]}"
        )

    async def wait_ready(self, *, count: int = 1, within_s: float = WITHIN_S) -> float:
        return await self.wait_line("larkd ready on", count=count, within_s=within_s)

    async def wait_standing_by(self, *, count: int = 1) -> float:
        return await self.wait_line("larkd standing by on", count=count)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    async def log(self) -> str:
        return whole_lines(self.state_dir / "larkd.log")

    async def events(self) -> list[dict[str, Any]]:
        lines = (await self.log()).splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    async def wait_event(self, name: str, *, within_s: float = WITHIN_S) -> dict[str, Any]:
        with trio.move_on_after(within_s):
            while True:
                for event in await self.events():
                    if event.get("event") == name:
                        return event
                await trio.sleep(0.02)
        raise AssertionError(f"node {self.name} did not log {name}: {(await self.log())[-3000:]}")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """How a node is reached, and reaches others, where that is not directly."""

    tls_port: int | None = None
    advertise: str | None = None
    platform_url: str | None = None
    client_ca: Path | None = None
    module: str = "actors.daemon"
    variables: dict[str, str] = {}
    """Of its environment."""


class Fleet:
    """What the nodes of one cluster share."""

    def __init__(
        self, platform: Platform, root: Path, database: str, cluster: str, tls: Certificates
    ) -> None:
        self.platform = platform
        self.root = root
        self.database = database
        self.cluster = cluster
        self.tls = tls

    def configuration(self, name: str, tls_port: int, place: Place, **options: Any) -> str:
        settings = self.platform.running.settings
        platform_url = place.platform_url or self.platform.base_url
        whole = json.loads(
            configuration(platform_url, settings.app_id, settings.app_secret, **options)
        )
        whole["listen"]["tls"] = {
            "host": "127.0.0.1",
            "port": tls_port,
            "certFile": str(self.tls.cert),
            "keyFile": str(self.tls.key),
            "clientCaFile": None if place.client_ca is None else str(place.client_ca),
        }
        whole["cluster"] = {
            "name": self.cluster,
            "node": name,
            "database": {"env": "LARKD_DATABASE"},
            "advertise": [place.advertise or f"tls://localhost:{tls_port}"],
        }
        return json.dumps(whole)

    async def command(self, node: str, *arguments: str) -> tuple[int, str, str]:
        """Run ``larkd …`` with a node's configuration; return status, output and errors."""
        config = ("--config", str(self.root / f"{node}.json"))
        return await larkd(*arguments, *config, LARKD_DATABASE=self.database)

    async def from_afar(
        self, of: Node, *arguments: str, at: str, **variables: str
    ) -> tuple[int, str, str]:
        """Run ``larkd …`` as on a machine without a node, with the tokens of one."""
        variables = {
            "LARKD_ADDRESS": at,
            "LARKD_TOKEN_FILE": str(of.state_dir / "tokens" / "session.token"),
            "LARKD_CA_FILE": str(self.tls.ca),
        } | variables
        nowhere = str(self.root / "nowhere")
        return await larkd(*arguments, "--state-dir", nowhere, **variables)

    @asynccontextmanager
    async def node(
        self,
        name: str,
        *,
        place: Place | None = None,
        database: str | None = None,
        name_in_cluster: str | None = None,
        **options: Any,
    ) -> AsyncIterator[Node]:
        """Start a node; kill it at the end. It is not waited for."""
        place = place or Place()
        state_dir = self.root / name
        config = self.root / f"{name}.json"
        tls_port = place.tls_port or free_port()
        config.write_text(self.configuration(name_in_cluster or name, tls_port, place, **options))
        command = [place.module, "--config", str(config), "--state-dir", str(state_dir)]
        variables = {"LARKD_DATABASE": database or self.database} | place.variables
        address = place.advertise or f"tls://localhost:{tls_port}"
        async with started(
            name, command, environment() | variables, state_dir, address=address
        ) as node:
            yield node

    @asynccontextmanager
    async def pair(self, **options: Any) -> AsyncIterator[tuple[Node, Node]]:
        """Start two nodes, with *options* of the first: it serves, the second stands by."""
        async with self.node("a", **options) as a:
            await a.wait_ready()
            async with self.node("b") as b:
                await b.wait_standing_by()
                yield a, b


@asynccontextmanager
async def started(
    name: str, command: list[str], env: dict[str, str], state_dir: Path, *, address: str = ""
) -> AsyncIterator[Node]:
    """Run ``python -m …`` as a node; kill it at the end. It is not waited for."""
    module, *arguments = command
    process = await preloaded.start(module, arguments, env, stderr=True)
    node = Node(name, state_dir, process, address)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.read)
            nursery.start_soon(node.read_errors)
            yield node
            nursery.cancel_scope.cancel()
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        with trio.move_on_after(60, shield=True):
            await process.wait()
            process.close()


@asynccontextmanager
async def echoing(
    nodes: list[Node], names: list[str], tls: Certificates
) -> AsyncIterator[list[Attached]]:
    """Attach sessions that find the holder among the nodes and answer with what was asked."""
    async with trio.open_nursery() as nursery:
        attached = [Attached(name) for name in names]
        for one in attached:
            nursery.start_soon(one.run, nodes, tls)
        yield attached
        nursery.cancel_scope.cancel()


class Attached:
    """One session over the real client; what it was given, and when it was registered."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.registered: list[tuple[float, str | None]] = []
        """When, and with which node."""
        self.given: list[tuple[str, int]] = []
        """Event and attempt of every turn."""
        self._changed = trio.Event()

    async def run(self, nodes: list[Node], tls: Certificates) -> None:
        settings = ProxySettings(
            session_id=self.name,
            role="dispatcher" if self.name == "boss" else "session",
            addresses=tuple(filter(None, (parse_address(one.tls_address) for one in nodes))),
            token_file=nodes[0].state_dir / "tokens" / f"{self.role}.token",
            ca_file=tls.ca,
            waits_for_daemon=True,
        )
        async with open_proxy(settings, link_changed=self._note) as proxy:
            async for turn in proxy.turns():
                self.given.append((turn.deliver.event_id, turn.deliver.attempt))
                try:
                    async with turn:
                        await turn.send(f"echo: {turn.deliver.content}")
                except ProxyError:
                    continue

    @property
    def role(self) -> str:
        return "dispatcher" if self.name == "boss" else "session"

    def _note(self, registered: wire.Registered | None, _why: ProxyError | None) -> None:
        if registered is not None:
            self.registered.append((trio.current_time(), registered.node))
            self._changed.set()
            self._changed = trio.Event()

    async def wait_registered(self, node: str, *, within_s: float = WITHIN_S) -> float:
        """Wait until it is registered with *node*; return when."""
        with trio.move_on_after(within_s):
            while True:
                found = [at for at, name in self.registered if name == node]
                if found:
                    return found[-1]
                await self._changed.wait()
        raise AssertionError(f"{self.name} is not registered with {node}: {self.registered}")

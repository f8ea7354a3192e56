"""Sessions over the real client that note what they were given, for runs with faults."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import trio

from actors.proxies.client import Proxy, ProxyError, ProxySettings, ProxyTurn, open_proxy
from protocol.wire import messages as wire
from protocol.wire.addresses import parse_address
from protocol.wire.vocabulary import Role
from tests.cluster.nodes import Certificates
from tests.faults.history import Delivered, Seen, Settled

DISPATCHERS = ("boss", "deputy")


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery, as its session saw it."""

    session: str
    event: str
    attempt: int
    epoch: int
    term: int
    node: str | None


class Session:
    """One session that is kept attached; everything it sees goes to *note*."""

    def __init__(
        self, name: str, note: Callable[[Seen], None], chance: random.Random, piece_s: float
    ) -> None:
        self.name = name
        self.given: list[Given] = []
        self.registered: list[tuple[float, wire.Registered]] = []
        self.whole: dict[str, str] = {}
        """Turn id to the text of a turn that was ended, and its end taken."""
        self.proxy: Proxy | None = None
        self._note = note
        self._chance = chance
        self._piece_s = piece_s
        self.may_end = trio.Event()
        """While it is not set, a turn goes on after all but its last piece."""
        self.may_end.set()
        self._changed = trio.Event()

    @property
    def role(self) -> Role:
        return "dispatcher" if self.name in DISPATCHERS else "session"

    async def run(self, addresses: Sequence[str], tls: Certificates, tokens: Path) -> None:
        settings = ProxySettings(
            session_id=self.name,
            role=self.role,
            addresses=tuple(filter(None, map(parse_address, addresses))),
            token_file=tokens / f"{self.role}.token",
            ca_file=tls.ca,
            waits_for_daemon=True,
        )
        async with open_proxy(settings, link_changed=self._link_changed) as self.proxy:
            async for turn in self.proxy.turns():
                await self._handle(turn)

    async def status(self) -> dict[str, Any] | None:
        """Ask for the status; None where nobody answers."""
        try:
            assert self.proxy is not None
            found: dict[str, Any] = await self.proxy.call_tool("feishu_channel_status")
        except (ProxyError, AssertionError):
            return None
        return found

    async def wait_registered(self, node: str, since: float) -> float:
        """Wait until it is registered with *node*, at *since* or later; return when."""
        while True:
            for at, registered in self.registered:
                if registered.node == node and at >= since:
                    return at
            await self._changed.wait()

    def _link_changed(self, registered: wire.Registered | None, _why: ProxyError | None) -> None:
        if registered is not None:
            self.registered.append((trio.current_time(), registered))
            self._changed.set()
            self._changed = trio.Event()

    async def _handle(self, turn: ProxyTurn) -> None:
        deliver = turn.deliver
        at = self.registered[-1][1]
        self.given.append(
            Given(
                session=self.name,
                event=deliver.event_id,
                attempt=deliver.attempt,
                epoch=deliver.lease_epoch,
                term=at.generation,
                node=at.node,
            )
        )
        self._note(Delivered(self.name, deliver.event_id, deliver.attempt, deliver.lease_epoch))
        text = f"to {deliver.event_id}: " + "on and on " * self._chance.randrange(1, 6) + "and done"
        try:
            async with turn:
                status = await self.status()
                if (
                    status is not None
                    and is_served(status)
                    and status["lease_epoch"] == deliver.lease_epoch
                ):  # an ack that was sent before is committed by now
                    self._note(Settled(deliver.event_id))
                for start in range(0, len(text), 12):
                    if start + 12 >= len(text):
                        await self.may_end.wait()
                    await turn.send(text[start : start + 12])
                    await trio.sleep(self._piece_s)
            if not turn.lost and turn.cancel_reason is None and await self.status() is not None:
                self.whole[deliver.turn_id] = text
        except ProxyError:
            return


def is_served(status: dict[str, Any]) -> bool:
    """Whether who answers holds the cluster: it has committed a batch to answer."""
    return status["daemon"].get("hold") == "holding" and "error" not in status["queue"]

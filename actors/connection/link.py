"""One link of an account to the platform: opened, read, and opened again when it ends.

It asks the gateway for an address, opens, reads, and when the link ends waits as the
platform wants it and begins again. There is never more than one socket of a link: the
old one is closed before the next address is asked for.

Where another node may take over, a link is closed as soon as the claim is not fresh, and
opened again once it is.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

import structlog
import trio

from actors.connection.pipeline import Pipeline
from actors.connection.settings import FRESH_EVERY_S, ConnectionSettings, Peers
from actors.feishu.socket import Socket, run_socket
from actors.messages import gateway
from protocol.platform import longconn
from protocol.platform.outcomes import (
    ClientConfig,
    ConnectionLimit,
    CredentialsRefused,
    EndpointFound,
    NoAnswer,
    Outcome,
    Rejected,
)

REMEDIES: Final = {
    "credentials": "check appId, appSecret and domain, and that the app is enabled",
    "connection_limit": "the app has 50 long connections; stop its other clients",
}

log = structlog.get_logger()


class FeishuLink:
    """Keeps one link open. *set_state* is called with each state and the last error."""

    def __init__(
        self,
        settings: ConnectionSettings,
        peers: Peers,
        pipeline: Pipeline,
        rng: random.Random,
        set_state: Callable[[str, str | None], None],
    ) -> None:
        self._settings = settings
        self._peers = peers
        self._rng = rng
        self._pipeline = pipeline
        self._set_state = set_state
        self._log = log.bind(account=settings.account)
        self._socket: Socket | None = None
        self._reading = trio.CancelScope()
        self._trying = trio.CancelScope()
        self._config = ClientConfig()
        # Tries that failed in a row. It starts below 0 because the first wait is the
        # platform's jitter, after a link that worked as after a first try that failed.
        self._failures = -1
        self._leaving = False

    def disconnect(self) -> None:
        """Close the link and stay away; what is committed is acked before."""
        self._leaving = True
        if self._socket is None:
            self._trying.cancel(reason="leaving")
        else:
            self._reading.cancel(reason="leaving")

    async def run(self) -> CredentialsRefused | None:
        """Stay connected; return when asked to disconnect, or refused at the first try."""
        refused: CredentialsRefused | None = None
        async with trio.open_nursery() as nursery:
            if self._settings.fresh is not None:
                nursery.start_soon(self._close_when_frozen, self._settings.fresh)
            with self._trying:
                refused = await self._keep_connected()
            nursery.cancel_scope.cancel(reason="disconnected")
        return refused

    async def _close_when_frozen(self, fresh: Callable[[], bool]) -> None:
        while True:
            await trio.sleep(FRESH_EVERY_S)
            if not fresh():
                self._reading.cancel(reason="the claim is not fresh")

    async def _wait_until_fresh(self) -> None:
        fresh = self._settings.fresh
        if fresh is None or fresh():
            return
        self._set_state("frozen", "the claim of this node is not confirmed")
        while not fresh():  # noqa: ASYNC110  # the claim is asked, it notifies nobody
            await trio.sleep(FRESH_EVERY_S)

    async def _keep_connected(self) -> CredentialsRefused | None:
        """Reconnect for ever; return when asked to disconnect, or refused at the first try."""
        known = False
        while not self._leaving:
            await self._wait_until_fresh()
            outcome = await self._discover()
            if isinstance(outcome, EndpointFound):
                known = True
                self._config = longconn.bounded(outcome.client_config)
                end = await run_socket(
                    outcome.url,
                    self._config,
                    self._serve,
                    limits=self._settings.socket,
                    dial=self._settings.dial,
                )
                if end.kind not in {"unreachable", "refused"}:
                    self._log.info("feishu.disconnected", kind=end.kind, reason=end.reason)
                if not self._leaving and end.kind != "left":
                    refusal = end.refusal.kind if end.refusal else None
                    await self._pause(f"{end.kind}: {end.reason}", refusal)
            elif isinstance(outcome, CredentialsRefused) and not known:
                return outcome
            else:
                await self._pause(_reason_of(outcome), _refusal_of(outcome))
        return None

    async def _discover(self) -> Outcome:
        """Ask for a fresh address: the ticket in it is good for one try."""
        return await gateway.call(
            self._peers.gateway,
            gateway.DiscoverEndpoint(),
            gateway.Priority.CREATE,
            within_s=self._settings.discover_within_s,
        )

    async def _pause(self, reason: str, refusal: str | None) -> None:
        """Wait before the next try: as the platform asks, or long after a refusal."""
        self._failures += 1
        delay_s = longconn.reconnect_delay_s(
            self._config, failures=self._failures, fraction=self._rng.random()
        )
        if refusal in REMEDIES:
            slow_s = max(self._settings.slow_retry_s, self._config.reconnect_interval_s)
            delay_s = max(delay_s, slow_s)
            self._set_state("refused", f"{reason}; {REMEDIES[refusal]}")
            self._log.error(
                "feishu.refused", reason=reason, remedy=REMEDIES[refusal], retry_in_s=delay_s
            )
        else:
            self._set_state("reconnecting", reason)
            self._log.warning("feishu.reconnecting", reason=reason, retry_in_s=delay_s)
        await trio.sleep(delay_s)

    async def _serve(self, socket: Socket) -> None:
        """Read one link until it ends or we leave."""
        self._socket = socket
        self._reading = trio.CancelScope()
        self._set_state("connected", None)
        self._log.info("feishu.connected", service=socket.service)
        try:
            with self._reading:
                while (event := await socket.receive()) is not None:
                    await self._pipeline.take(socket, event)
            if self._leaving:
                await self._pipeline.drain()
        finally:
            self._socket = None
            self._config = socket.client_config
            if socket.pongs:
                self._failures = -1


def _refusal_of(outcome: Outcome) -> str | None:
    match outcome:
        case CredentialsRefused():
            return "credentials"
        case ConnectionLimit():
            return "connection_limit"
        case _:
            return None


def _reason_of(outcome: Outcome) -> str:
    match outcome:
        case Rejected():
            return f"discovery refused with {outcome.code}: {outcome.message[:200]}"
        case NoAnswer():
            return f"discovery got no answer: {outcome.reason[:200]}"
        case _:
            return f"discovery came to {type(outcome).__name__}"

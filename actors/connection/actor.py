"""Connection: the long connection of one account, from discovery to ack.

It owns the WebSocket to the platform and keeps it open for ever. Every event goes:
frame → journal → ack → intake. An event whose commit is not confirmed in time is not
acked; the platform sends it again.

The way of one event is in ``pipeline.py``; here is the link that brings them: ask the
gateway for an address, open, read, and when it ends wait as the platform wants it and
begin again. There is never more than one socket: the old one is closed before the
next address is asked for.
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
from actors.kit.mailbox import ActorGone, ask
from actors.messages import connection, gateway, ownership
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


async def run(
    settings: ConnectionSettings,
    inbox: trio.MemoryReceiveChannel[connection.ConnectionMessage],
    peers: Peers,
    *,
    rng: random.Random,
    now_ms: Callable[[], int],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled. Started at once: the link may take its time to open.

    Raises:
        CredentialsRefusedError: the platform refused the first try of this run.
    """
    actor = _Connection(settings, peers, rng, now_ms)
    with inbox:
        refused = await actor.serve(inbox, task_status)
    raise connection.CredentialsRefusedError(settings.account, refused.code, refused.message)


class _Connection:
    def __init__(
        self,
        settings: ConnectionSettings,
        peers: Peers,
        rng: random.Random,
        now_ms: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._peers = peers
        self._rng = rng
        self._pipeline = Pipeline(settings, peers, now_ms=now_ms, noticed=self._notice)
        self._log = log.bind(account=settings.account)
        self._socket: Socket | None = None
        self._reading = trio.CancelScope()
        self._trying = trio.CancelScope()
        self._config = ClientConfig()
        # Tries that failed in a row. It starts below 0 because the first wait is the
        # platform's jitter, after a link that worked as after a first try that failed.
        self._failures = -1
        self._leaving = False
        self._frozen = False
        self._state = "connecting"
        self._last_error: str | None = None
        self._state_changed = trio.Event()

    async def serve(
        self,
        inbox: trio.MemoryReceiveChannel[connection.ConnectionMessage],
        task_status: trio.TaskStatus[None],
    ) -> CredentialsRefused:
        """Serve until cancelled, or until the platform refuses the app from the start."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pipeline.run)
            nursery.start_soon(self._report)
            nursery.start_soon(self._obey, inbox)
            if self._settings.fresh is not None:
                nursery.start_soon(self._close_when_frozen, self._settings.fresh)
            self._set_state("connecting", None)
            task_status.started()
            refused: CredentialsRefused | None = None
            with self._trying:
                refused = await self._keep_connected()
            if refused is None:
                self._set_state("closed", self._last_error)
                await trio.sleep_forever()
            nursery.cancel_scope.cancel(reason="credentials refused")
        assert refused is not None
        return refused

    async def _obey(self, inbox: trio.MemoryReceiveChannel[connection.ConnectionMessage]) -> None:
        async for _disconnect in inbox:
            self._leaving = True
            if self._socket is None:
                self._trying.cancel(reason="leaving")
            else:
                self._reading.cancel(reason="leaving")

    async def _close_when_frozen(self, fresh: Callable[[], bool]) -> None:
        """Close the socket while another process may hold the claim: it serves then."""
        while True:
            await trio.sleep(FRESH_EVERY_S)
            if not fresh() and self._socket is not None:
                self._frozen = True
                self._reading.cancel(reason="the claim is not fresh")

    async def _until_fresh(self) -> None:
        while self._settings.fresh is not None and not self._settings.fresh():
            self._frozen = True
            if self._state != "frozen":
                self._set_state("frozen", "the claim is not confirmed")
            await trio.sleep(FRESH_EVERY_S)
        self._frozen = False

    # ── keep a link open ────────────────────────────────────────────────────

    async def _keep_connected(self) -> CredentialsRefused | None:
        """Reconnect for ever; return when asked to disconnect, or refused at the first try."""
        known = False
        while not self._leaving:
            await self._until_fresh()
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
                if not self._leaving and not self._frozen:
                    refusal = end.refusal.kind if end.refusal else None
                    await self._pause(f"{end.kind}: {end.reason}", refusal)
            elif isinstance(outcome, CredentialsRefused) and not known:
                return outcome
            else:
                await self._pause(_reason_of(outcome), _refusal_of(outcome))
        return None

    async def _discover(self) -> Outcome:
        """Ask for a fresh address: the ticket in it is good for one try."""
        operation = gateway.DiscoverEndpoint()
        try:
            outcome: Outcome = await ask(
                self._peers.gateway,
                lambda reply: gateway.Call(
                    operation=operation, priority=gateway.Priority.CREATE, reply=reply
                ),
                within_s=self._settings.discover_within_s,
            )
        except (trio.TooSlowError, ActorGone) as error:
            return NoAnswer(reason=f"{type(error).__name__} from the gateway")
        return outcome

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

    # ── the state of the link ─────────────────────────────────────────────────────

    def _set_state(self, state: str, last_error: str | None) -> None:
        self._state, self._last_error = state, last_error
        self._notice()

    def _notice(self) -> None:
        self._state_changed.set()

    async def _report(self) -> None:
        """Keep ownership informed. What changes while it waits is merged into one."""
        while True:
            await self._state_changed.wait()
            self._state_changed = trio.Event()
            await self._peers.ownership.send(
                ownership.ConnectionState(
                    account=self._settings.account,
                    state=self._state,
                    last_event_at_ms=self._pipeline.last_event_at_ms,
                    last_error=self._last_error,
                )
            )
            await trio.sleep(self._settings.report_every_s)


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

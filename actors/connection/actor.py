"""Connection: the long connection of one account, from discovery to ack.

It owns the WebSocket to the platform and keeps it open for ever. Every event goes:
frame → journal → ack → intake. An event whose commit is not confirmed in time is not
acked; the platform sends it again.

The way of one event is in ``pipeline.py``, the link that brings it in ``link.py``. One
link an account; more of them for a while after another node was silent, which may still
be connected and get a part of the events: the more links here, the smaller that part.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import trio

from actors.connection.link import FeishuLink
from actors.connection.pipeline import Pipeline
from actors.connection.settings import ConnectionSettings, Peers
from actors.messages import connection, ownership
from protocol.platform.outcomes import (
    CredentialsRefused,
)


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
        self._link = self._open_link(self._set_state)
        self._more_links = [self._open_link(_no_state) for _ in range(settings.more_links)]
        self._state = "connecting"
        self._last_error: str | None = None
        self._state_changed = trio.Event()

    def _open_link(self, set_state: Callable[[str, str | None], None]) -> FeishuLink:
        return FeishuLink(self._settings, self._peers, self._pipeline, self._rng, set_state)

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
            self._set_state("connecting", None)
            task_status.started()
            if self._settings.opens_after is not None:
                await self._settings.opens_after()
            for link in self._more_links:
                nursery.start_soon(self._run_for_a_while, link)
            refused = await self._link.run()
            if refused is None:
                self._set_state("closed", self._last_error)
                await trio.sleep_forever()
            nursery.cancel_scope.cancel(reason="credentials refused")
        assert refused is not None
        return refused

    async def _obey(self, inbox: trio.MemoryReceiveChannel[connection.ConnectionMessage]) -> None:
        async for _disconnect in inbox:
            for link in (self._link, *self._more_links):
                link.disconnect()

    async def _run_for_a_while(self, link: FeishuLink) -> None:
        with trio.move_on_after(self._settings.more_links_for_s):
            await link.run()

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


def _no_state(_state: str, _last_error: str | None) -> None:
    """The first link's state is the account's."""

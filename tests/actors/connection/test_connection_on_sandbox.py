"""The connection among its real peers: sandbox, gateway and journal.

Only intake and ownership are mailboxes of the test.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from actors import connection as connection_actor
from actors import journal as journal_actor
from actors.connection import ConnectionSettings, Peers
from actors.feishu import gateway as gateway_actor
from actors.feishu.socket import SocketLimits
from actors.messages import connection, gateway, intake, journal, ownership
from actors.sandbox.access import TOKEN_HEADER
from actors.sandbox.server import RunningSandbox, SandboxSettings, serve_sandbox
from protocol.ids import AccountId
from protocol.platform import events
from protocol.routing.delivery import StoredEvent

ACCOUNT = AccountId("main")
MAILBOX = 256
WITHIN_S = 60.0


class Setup:
    """What a test sees: the sandbox's control endpoints, and what reached intake."""

    def __init__(self, sandbox: RunningSandbox, http: httpx.AsyncClient) -> None:
        self.sandbox = sandbox
        self._http = http
        self._token = {TOKEN_HEADER: sandbox.settings.token}
        self.intake_tx, self.intake = trio.open_memory_channel[intake.IntakeMessage](MAILBOX)
        self.ownership_tx, self._ownership = trio.open_memory_channel[ownership.OwnershipMessage](
            MAILBOX
        )
        self.gateway_tx, self._gateway = trio.open_memory_channel[gateway.GatewayMessage](MAILBOX)
        self.journal_tx, self._journal = trio.open_memory_channel[journal.JournalMessage](MAILBOX)
        self._leave_tx, self._inbox = trio.open_memory_channel[connection.ConnectionMessage](1)

    async def run(self, state_dir: Path, *, app_secret: str, pong_grace_s: float) -> None:
        settings = gateway_actor.GatewaySettings(
            account=ACCOUNT,
            base_url=self.sandbox.base_url,
            app_id=self.sandbox.settings.app_id,
            app_secret=app_secret,
        )
        mailboxes = Peers(
            gateway=self.gateway_tx,
            journal=self.journal_tx,
            intake=self.intake_tx,
            ownership=self.ownership_tx,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(
                journal_actor.run, journal_actor.sqlite_store(state_dir / "larkd.db"), self._journal
            )
            await nursery.start(gateway_actor.run, settings, self._gateway)
            await connection_actor.run(
                ConnectionSettings(
                    account=ACCOUNT,
                    socket=SocketLimits(pong_grace_s=pong_grace_s),
                    append_within_s=WITHIN_S,
                    press_within_s=WITHIN_S,
                    slow_retry_s=0.1,
                    report_every_s=0.0,
                ),
                self._inbox,
                mailboxes,
                rng=random.Random(1),
                now_ms=lambda: int(time.time() * 1_000),
            )

    async def post(self, path: str, **body: Any) -> Any:
        response = await self._http.post(
            f"{self.sandbox.base_url}/sandbox/{path}", json=body, headers=self._token
        )
        response.raise_for_status()
        return response.json()

    async def get(self, path: str) -> Any:
        response = await self._http.get(
            f"{self.sandbox.base_url}/sandbox/{path}", headers=self._token
        )
        response.raise_for_status()
        return response.json()

    async def send(self, text: str, **body: Any) -> Any:
        chat_id = next(iter(self.sandbox.world.chats))
        return await self.post("send", chat_id=chat_id, text=text, **body)

    async def arrived(self) -> StoredEvent:
        with trio.fail_after(WITHIN_S):
            message = await self.intake.receive()
        assert isinstance(message, StoredEvent)
        return message

    async def reported(self, state: str) -> ownership.ConnectionState:
        with trio.fail_after(WITHIN_S):
            while True:
                message = await self._ownership.receive()
                assert isinstance(message, ownership.ConnectionState)
                if message.state == state:
                    return message

    async def link_other_than(self, number: int | None) -> int:
        """Wait for a link the sandbox pushes to, and return its number."""
        with trio.fail_after(WITHIN_S):
            while True:
                for link in self.sandbox.sockets.connections.values():
                    if link.listening and link.number != number:
                        return link.number
                await trio.sleep(0.01)

    async def acks(self, event_id: str) -> list[int | None]:
        """What each push of the event was answered with, once the last was answered."""
        with trio.fail_after(WITHIN_S):
            while True:
                (event,) = [e for e in await self.get("events") if e["event_id"] == event_id]
                codes = [push["ack"] for push in event["pushes"]]
                if codes and codes[-1] is not None:
                    return codes
                await trio.sleep(0.01)


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    settings = SandboxSettings(ping_interval_s=1, reconnect_interval_s=1, reconnect_nonce_s=0)
    async with httpx.AsyncClient(timeout=WITHIN_S) as http, trio.open_nursery() as nursery:
        sandbox: RunningSandbox = await nursery.start(serve_sandbox, settings)
        sandbox.sockets.press_within_s = WITHIN_S
        yield Setup(sandbox, http)
        nursery.cancel_scope.cancel()


@pytest.fixture
def pong_grace_s() -> float:
    return WITHIN_S


@pytest.fixture
async def connected(setup: Setup, tmp_path: Path, pong_grace_s: float) -> AsyncIterator[Setup]:
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            secret = setup.sandbox.settings.app_secret
            await setup.run(tmp_path, app_secret=secret, pong_grace_s=pong_grace_s)

        nursery.start_soon(run)
        await setup.reported("connected")
        yield setup
        nursery.cancel_scope.cancel()


async def test_a_message_of_a_person_reaches_intake_and_is_acked(connected: Setup) -> None:
    sent = await connected.send("hello")
    stored = await connected.arrived()
    assert stored.event_id == sent["event_id"]
    received = events.decode_message(stored.payload)
    assert received.message_id == sent["message_id"]
    assert (received.chat_type, received.message_type) == ("p2p", "text")
    assert await connected.acks(sent["event_id"]) == [200]


async def test_pushes_again_and_in_pieces_are_one_row(connected: Setup) -> None:
    sent = await connected.send("hello")
    await connected.arrived()
    for frames in ("normal", "reversed", "split:7"):
        await connected.post("push", repeat_event_id=sent["event_id"], times=2, frames=frames)
    assert await connected.acks(sent["event_id"]) == [200] * 7
    assert connected.intake.statistics().current_buffer_used == 0


async def test_a_recall_is_an_event_of_its_own(connected: Setup) -> None:
    sent = await connected.send("oops")
    await connected.arrived()
    await connected.post("recall", message_id=sent["message_id"])
    stored = await connected.arrived()
    assert stored.kind == "recalled"
    assert events.decode_recalled(stored.payload).message_id == sent["message_id"]


async def test_a_press_shows_intakes_toast(connected: Setup) -> None:
    sent = await connected.send("a message to press on")
    await connected.arrived()
    results: list[Any] = []

    async def click() -> None:
        results.append(
            await connected.post("click", message_id=sent["message_id"], value={"do": "stop"})
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(click)
        press = await connected.intake.receive()
        assert isinstance(press, intake.PressArrived)
        assert events.decode_card_action(press.event.payload).value == {"do": "stop"}
        press.reply.send(intake.Toast(kind="success", en="Stopped", zh="已停止"))
    assert results[0]["code"] == 0
    assert results[0]["toast"]["i18n"] == {"zh_cn": "已停止", "en_us": "Stopped"}


@pytest.mark.parametrize(
    ("trouble", "pong_grace_s"),
    [
        ({"action": "close", "code": 1001}, WITHIN_S),
        ({"action": "abort"}, WITHIN_S),
        ({"action": "freeze"}, 1.0),  # only silence shows it
    ],
    ids=["close", "abort", "freeze"],
)
async def test_after_any_end_of_the_link_events_come_again(
    connected: Setup, trouble: dict[str, Any]
) -> None:
    first = await connected.link_other_than(None)
    await connected.post("connections", **trouble)
    await connected.link_other_than(first)
    sent = await connected.send("still there?")
    assert (await connected.arrived()).event_id == sent["event_id"]


async def test_a_full_platform_is_logged_and_tried_again(connected: Setup) -> None:
    await connected.post(
        "connections",
        action="refuse",
        status=400,
        handshake_status=514,
        autherrcode=1000040350,
        times=1,
    )
    await connected.post("connections", action="close", code=1000)
    assert "50 long connections" in ((await connected.reported("refused")).last_error or "")
    await connected.reported("connected")


async def test_a_wrong_secret_ends_the_start(setup: Setup, tmp_path: Path) -> None:
    with pytest.RaisesGroup(connection.CredentialsRefusedError):
        with trio.fail_after(WITHIN_S):
            await setup.run(tmp_path, app_secret="wrong", pong_grace_s=WITHIN_S)

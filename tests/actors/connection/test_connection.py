"""The connection actor: event → journal → ack → intake, and a link that is kept open.

The platform's end is a real WebSocket server on loopback; journal, gateway, intake and
ownership are mailboxes whose answers the test chooses.
"""

from __future__ import annotations

import base64
import itertools
import json
import random
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from actors import connection as connection_actor
from actors.connection import ConnectionSettings, Peers
from actors.connection.settings import DRAIN_WITHIN_S, PRESSES_MAX
from actors.feishu.socket import SocketLimits
from actors.messages import connection, gateway, intake, journal, ownership
from protocol.ids import AccountId, RowId
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
from protocol.routing.delivery import StoredEvent
from tests.kit.loopback import loopback_clock
from tests.kit.scripted_platform import (
    Link,
    Refusal,
    ScriptedPlatform,
    frames_of,
    message_event,
    press_event,
)

ACCOUNT = AccountId("main")
QUICK_CONFIG = ClientConfig(reconnect_interval_s=0, reconnect_nonce_s=0, ping_interval_s=1)
SETTINGS = ConnectionSettings(
    account=ACCOUNT,
    socket=SocketLimits(
        connect_within_s=30.0, send_within_s=30.0, close_within_s=30.0, pong_grace_s=60.0
    ),
    discover_within_s=30.0,
    append_within_s=30.0,
    press_within_s=30.0,
    slow_retry_s=0.6,  # above the half second of any other second try
    report_every_s=0.0,
)
MAILBOX = 64
HASTY = msgspec.structs.replace(
    SETTINGS,
    socket=msgspec.structs.replace(SETTINGS.socket, close_within_s=0.2),
    discover_within_s=0.3,
    append_within_s=0.4,
    press_within_s=0.4,
)
"""For what happens when a limit is over, in virtual time; elsewhere none ends for slowness."""
IMPATIENT = msgspec.structs.replace(
    SETTINGS, socket=msgspec.structs.replace(SETTINGS.socket, pong_grace_s=0.2)
)
hasty = pytest.mark.parametrize("settings", [HASTY], ids=["hasty"])
WITHIN_S = 60.0
NOW_MS = 1_700_000_000_000


class Journal:
    """Answers appends as the real one does, or as a test wants them answered."""

    def __init__(self) -> None:
        self.tx, self.rx = trio.open_memory_channel[journal.JournalMessage](MAILBOX)
        self.appends: list[journal.Append] = []
        self.rows: dict[str, RowId] = {}
        self.answer: Callable[[journal.Append], None] = self.commit
        self._arrived = trio.Event()

    async def run(self) -> None:
        async for message in self.rx:
            assert isinstance(message, journal.Append)
            self.appends.append(message)
            self.answer(message)
            self._arrived.set()
            self._arrived = trio.Event()

    async def wait_appends(self, number: int) -> None:
        with trio.fail_after(WITHIN_S):
            while len(self.appends) < number:
                await self._arrived.wait()

    def commit(self, append: journal.Append) -> None:
        key = append.message_key or append.event_id
        duplicate = key in self.rows
        row_id = self.rows.setdefault(key, RowId(len(self.rows) + 1))
        append.reply.send(journal.Appended(row_id=row_id, duplicate=duplicate))

    def hold(self, append: journal.Append) -> None:
        """Keep the question; the test answers it later, or never."""

    def fail(self, append: journal.Append) -> None:
        append.reply.send(journal.Failed(reason="disk full"))

    def commit_and_fail(self, append: journal.Append) -> None:
        """Commit, over a connection that is lost before it can be known."""
        self.rows.setdefault(append.message_key or append.event_id, RowId(len(self.rows) + 1))
        self.fail(append)

    def drop(self, append: journal.Append) -> None:
        append.reply.close()

    def commit_unanswered(self, append: journal.Append) -> None:
        """Commit, and answer too late."""
        self.rows.setdefault(append.message_key or append.event_id, RowId(len(self.rows) + 1))


class Setup:
    """The actor with its peers."""

    def __init__(self, platform: ScriptedPlatform) -> None:
        self.platform = platform
        self.journal = Journal()
        self.outcomes: deque[Outcome] = deque()
        """What discovery answers first; then it finds the platform."""
        self.discoveries: list[float] = []
        self.gateway_tx, self._gateway_rx = trio.open_memory_channel[gateway.GatewayMessage](
            MAILBOX
        )
        self.intake_tx, self.intake = trio.open_memory_channel[intake.IntakeMessage](MAILBOX)
        self.ownership_tx, self._ownership = trio.open_memory_channel[ownership.OwnershipMessage](
            MAILBOX
        )
        self.inbox_tx, self._inbox = trio.open_memory_channel[connection.ConnectionMessage](1)
        self.settings = SETTINGS

    async def run(self) -> None:
        mailboxes = Peers(
            gateway=self.gateway_tx,
            journal=self.journal.tx,
            intake=self.intake_tx,
            ownership=self.ownership_tx,
        )
        await connection_actor.run(
            self.settings, self._inbox, mailboxes, rng=random.Random(1), now_ms=lambda: NOW_MS
        )

    async def run_gateway(self) -> None:
        async for message in self._gateway_rx:
            assert isinstance(message, gateway.Call)
            assert isinstance(message.operation, gateway.DiscoverEndpoint)
            self.discoveries.append(trio.current_time())
            message.reply.send(self.outcomes.popleft() if self.outcomes else self.found())

    def found(self) -> EndpointFound:
        return EndpointFound(url=self.platform.url, client_config=QUICK_CONFIG)

    async def arrived(self) -> StoredEvent:
        message = await self._next_for_intake()
        assert isinstance(message, StoredEvent)
        return message

    async def pressed(self) -> intake.PressArrived:
        message = await self._next_for_intake()
        assert isinstance(message, intake.PressArrived)
        return message

    async def _next_for_intake(self) -> intake.IntakeMessage:
        with trio.fail_after(WITHIN_S):
            return await self.intake.receive()

    async def reported(self, state: str) -> ownership.ConnectionState:
        """Wait until ownership was sent *state*."""
        with trio.fail_after(WITHIN_S):
            while True:
                message = await self._ownership.receive()
                assert isinstance(message, ownership.ConnectionState)
                if message.state == state:
                    return message

    async def nothing_for_intake(self) -> bool:
        """Whether nothing is passed on, nor will be of what has arrived."""
        await trio.testing.wait_all_tasks_blocked()
        return self.intake.statistics().current_buffer_used == 0


@pytest.fixture
async def platform() -> AsyncIterator[ScriptedPlatform]:
    platform = ScriptedPlatform()
    platform.client_config = QUICK_CONFIG
    async with trio.open_nursery() as nursery:
        await nursery.start(platform.serve)
        yield platform
        nursery.cancel_scope.cancel()


@pytest.fixture
def clock() -> MockClock:
    """Of the tests that ask for it: they wait for a limit, or measure how long something took."""
    return loopback_clock()


@pytest.fixture
def settings() -> ConnectionSettings:
    return SETTINGS


@pytest.fixture
async def setup(platform: ScriptedPlatform, settings: ConnectionSettings) -> AsyncIterator[Setup]:
    setup = Setup(platform)
    setup.settings = settings
    async with trio.open_nursery() as nursery:
        nursery.start_soon(setup.journal.run)
        nursery.start_soon(setup.run_gateway)
        nursery.start_soon(setup.run)
        yield setup
        nursery.cancel_scope.cancel()


async def next_ack(link: Link) -> tuple[str, dict[str, Any]]:
    with trio.fail_after(WITHIN_S):
        return await link.next_ack()


async def no_ack_yet(link: Link) -> bool:
    """Whether nothing was acked: what was sent before an answered ping has arrived."""
    with trio.fail_after(WITHIN_S):
        await link.connection.ping()
    await trio.testing.wait_all_tasks_blocked()
    return link.acks.statistics().current_buffer_used == 0


# ── an event's way ──────────────────────────────────────────────────────────


async def test_a_message_is_journaled_then_acked_then_passed_on(setup: Setup) -> None:
    link = await setup.platform.next_link()
    await link.push_event(message_event(), message_id="push-1")
    assert await next_ack(link) == ("push-1", {"code": 200})
    (append,) = setup.journal.appends
    assert (append.account, append.event_id, append.message_key) == (ACCOUNT, "evt-1", "om_1")
    assert (append.kind, append.payload) == ("message", message_event())
    assert append.received_at_ms == NOW_MS
    stored = await setup.arrived()
    assert (stored.row_id, stored.event_id, stored.kind) == (1, "evt-1", "message")
    assert stored.payload == message_event()


async def test_no_ack_before_the_commit(setup: Setup) -> None:
    setup.journal.answer = setup.journal.hold
    link = await setup.platform.next_link()
    await link.push_event(message_event())
    await setup.journal.wait_appends(1)
    assert await no_ack_yet(link)
    assert await setup.nothing_for_intake()
    setup.journal.commit(setup.journal.appends[0])
    assert (await next_ack(link))[1] == {"code": 200}
    assert (await setup.arrived()).event_id == "evt-1"


async def test_an_event_in_fragments_is_one_row_and_one_ack(setup: Setup) -> None:
    link = await setup.platform.next_link()
    await link.push(reversed(frames_of(message_event(), parts=4)))
    await next_ack(link)
    assert await no_ack_yet(link)
    (append,) = setup.journal.appends
    assert append.payload == message_event()


async def test_the_same_event_five_times_is_one_row_and_five_acks(setup: Setup) -> None:
    link = await setup.platform.next_link()
    pushes = [f"push-{number}" for number in range(5)]
    for push in pushes:
        await link.push_event(message_event(), message_id=push)
    assert [await next_ack(link) for _ in pushes] == [(each, {"code": 200}) for each in pushes]
    assert len(setup.journal.rows) == 1
    await setup.arrived()
    assert await setup.nothing_for_intake()


async def test_the_same_message_under_another_event_id_is_passed_on_once(setup: Setup) -> None:
    link = await setup.platform.next_link()
    await link.push_event(message_event(1, event_id="evt-a"))
    await link.push_event(message_event(1, event_id="evt-b"))
    await next_ack(link)
    await next_ack(link)
    assert (await setup.arrived()).event_id == "evt-a"
    assert await setup.nothing_for_intake()


async def test_an_event_nobody_can_read_is_kept_acked_and_never_loops(setup: Setup) -> None:
    link = await setup.platform.next_link()
    for number, payload in enumerate([b"junk", b"{}", b""]):
        await link.push_event(payload, message_id=f"push-{number}")
        assert await next_ack(link) == (f"push-{number}", {"code": 200})
        append = setup.journal.appends[number]
        assert append.event_id.startswith("unreadable-")
        assert (append.kind, append.message_key, append.payload) == ("other", None, payload)
        assert (await setup.arrived()).kind == "other"


async def test_commits_under_way_are_many_and_keep_their_order(setup: Setup) -> None:
    setup.journal.answer = setup.journal.hold
    link = await setup.platform.next_link()
    for number in range(50):
        await link.push_event(message_event(number), message_id=f"push-{number}")
    await setup.journal.wait_appends(50)
    for append in reversed(setup.journal.appends):
        setup.journal.commit(append)
    assert [(await next_ack(link))[0] for _ in range(50)] == [f"push-{n}" for n in range(50)]
    received = [(await setup.arrived()).event_id for _ in range(50)]
    assert received == [f"evt-{number}" for number in range(50)]


async def test_a_slow_intake_holds_up_no_ack(setup: Setup) -> None:
    link = await setup.platform.next_link()
    for number in range(MAILBOX + 50):
        await link.push_event(message_event(number), message_id=f"push-{number}")
    for number in range(MAILBOX + 50):
        assert (await next_ack(link))[0] == f"push-{number}"
    await trio.testing.wait_all_tasks_blocked()  # what is acked is passed on after it
    assert setup.intake.statistics().current_buffer_used == MAILBOX


async def test_status_knows_the_last_event(setup: Setup) -> None:
    link = await setup.platform.next_link()
    await setup.reported("connected")
    await link.push_event(message_event())
    assert (await setup.reported("connected")).last_event_at_ms == NOW_MS


# ── a journal in trouble ────────────────────────────────────────────────────


async def test_a_failed_commit_is_not_acked_and_the_next_push_is_new(setup: Setup) -> None:
    setup.journal.answer = setup.journal.fail
    link = await setup.platform.next_link()
    await link.push_event(message_event(), message_id="first")
    await setup.journal.wait_appends(1)
    assert await no_ack_yet(link)
    setup.journal.answer = setup.journal.commit
    await link.push_event(message_event(), message_id="again")
    assert await next_ack(link) == ("again", {"code": 200})
    assert (await setup.arrived()).event_id == "evt-1"


async def test_what_was_committed_though_it_failed_reaches_intake_with_the_next_push(
    setup: Setup,
) -> None:
    """It stayed received until the next start, acked and given to nobody."""
    setup.journal.answer = setup.journal.commit_and_fail
    link = await setup.platform.next_link()
    await link.push_event(message_event(), message_id="first")
    await setup.journal.wait_appends(1)
    assert await no_ack_yet(link)
    setup.journal.answer = setup.journal.commit
    for again in ("again", "and again"):
        await link.push_event(message_event(), message_id=again)
        assert await next_ack(link) == (again, {"code": 200})
    assert (await setup.arrived()).event_id == "evt-1"
    assert await setup.nothing_for_intake(), "once"


@hasty
@pytest.mark.parametrize("trouble", ["hold", "drop", "commit_unanswered"])
async def test_an_unconfirmed_commit_is_not_acked_and_not_forgotten(
    clock: MockClock, setup: Setup, trouble: str
) -> None:
    """The next push may find a duplicate that intake never received.

    There may be none, as for a press, which is pushed once: intake reads the journal at once.
    What was committed late comes before what is committed after it.
    """
    setup.journal.answer = getattr(setup.journal, trouble)
    link = await setup.platform.next_link()
    await link.push_event(message_event(1), message_id="first")
    await setup.journal.wait_appends(1)
    with trio.fail_after(WITHIN_S):
        assert isinstance(await setup.intake.receive(), intake.Recover)
    setup.journal.answer = setup.journal.commit
    await link.push_event(message_event(2), message_id="other")
    assert (await next_ack(link))[0] == "other", "the first one was given up, not acked"
    await link.push_event(message_event(1), message_id="again")
    assert (await next_ack(link))[0] == "again"
    received = [(await setup.arrived()).event_id for _ in range(2)]
    assert received == ["evt-2", "evt-1"]
    await link.push_event(message_event(1), message_id="and again")
    await next_ack(link)
    assert await setup.nothing_for_intake()


async def test_a_journal_that_takes_nothing_is_not_waited_for(
    clock: MockClock, platform: ScriptedPlatform
) -> None:
    setup = Setup(platform)
    setup.settings = HASTY
    setup.journal.tx, setup.journal.rx = trio.open_memory_channel[journal.JournalMessage](0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(setup.run_gateway)
        nursery.start_soon(setup.run)
        link = await platform.next_link()
        await link.push_event(message_event(1), message_id="first")
        assert await no_ack_yet(link)
        await trio.sleep(HASTY.append_within_s)  # the clock waits for the first one to arrive
        nursery.start_soon(setup.journal.run)
        await link.push_event(message_event(2), message_id="other")
        assert (await next_ack(link))[0] == "other"
        nursery.cancel_scope.cancel()


async def test_a_journal_that_is_gone_is_no_crash_here(platform: ScriptedPlatform) -> None:
    setup = Setup(platform)
    setup.journal.rx.close()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(setup.run_gateway)
        nursery.start_soon(setup.run)
        link = await platform.next_link()
        await link.push_event(message_event())
        assert await no_ack_yet(link)
        nursery.cancel_scope.cancel()


# ── presses on cards ────────────────────────────────────────────────────────


async def test_a_press_is_answered_with_a_toast(setup: Setup) -> None:
    link = await setup.platform.next_link()
    await link.push_event(press_event())
    message = await setup.pressed()
    assert message.event.kind == "card_action"
    assert message.event.row_id == 1
    message.reply.send(intake.Toast(kind="success", en="Stopped", zh="已停止"))
    _, answer = await next_ack(link)
    assert answer["code"] == 200
    assert json.loads(base64.b64decode(answer["data"])) == {
        "toast": {
            "type": "success",
            "content": "Stopped",
            "i18n": {"zh_cn": "已停止", "en_us": "Stopped"},
        }
    }


async def test_a_press_without_a_toast_is_just_acked(setup: Setup) -> None:
    link = await setup.platform.next_link()
    await link.push_event(press_event())
    (await setup.pressed()).reply.send(None)
    assert (await next_ack(link))[1] == {"code": 200}


async def test_a_press_is_journaled_first(setup: Setup) -> None:
    setup.journal.answer = setup.journal.hold
    link = await setup.platform.next_link()
    await link.push_event(press_event())
    await setup.journal.wait_appends(1)
    assert await no_ack_yet(link)
    assert await setup.nothing_for_intake()
    setup.journal.commit(setup.journal.appends[0])
    await setup.pressed()


@hasty
async def test_a_press_waits_for_nobody_too_long(clock: MockClock, setup: Setup) -> None:
    link = await setup.platform.next_link()
    began = trio.current_time()
    await link.push_event(press_event())
    message = await setup.pressed()
    assert (await next_ack(link))[1] == {"code": 200}
    assert trio.current_time() - began == pytest.approx(HASTY.press_within_s, abs=0.01)
    message.reply.send(intake.Toast(kind="info", en="late", zh="迟"))


async def test_a_press_whose_handler_dies_is_acked_at_once(setup: Setup) -> None:
    link = await setup.platform.next_link()
    await link.push_event(press_event())
    (await setup.pressed()).reply.close()
    assert (await next_ack(link))[1] == {"code": 200}


async def test_a_press_that_waits_holds_up_nothing(setup: Setup) -> None:
    link = await setup.platform.next_link()
    await link.push_event(press_event(), message_id="press")
    message = await setup.pressed()
    await link.push_event(message_event(), message_id="message")
    assert (await next_ack(link))[0] == "message"
    message.reply.send(None)
    assert (await next_ack(link))[0] == "press"


@hasty
async def test_a_press_is_not_lost_when_intakes_mailbox_is_full(
    clock: MockClock, setup: Setup
) -> None:
    link = await setup.platform.next_link()
    for number in range(MAILBOX):
        await link.push_event(message_event(number))
        await next_ack(link)
    await link.push_event(press_event())
    assert (await next_ack(link))[1] == {"code": 200}, "in time, although nobody has seen it"
    for _ in range(MAILBOX):
        await setup.arrived()
    await setup.pressed()


async def test_presses_that_are_answered_make_way_for_more(setup: Setup) -> None:
    link = await setup.platform.next_link()
    for number in range(PRESSES_MAX + 3):
        await link.push_event(press_event(number), message_id=f"press-{number}")
        (await setup.pressed()).reply.send(None)
        assert (await next_ack(link))[0] == f"press-{number}"


@hasty
async def test_a_presss_time_counts_from_its_receipt(clock: MockClock, setup: Setup) -> None:
    """The platform counts from its push, so a slow commit leaves less for the toast."""
    setup.journal.answer = setup.journal.hold
    link = await setup.platform.next_link()
    began = trio.current_time()
    await link.push_event(press_event())
    await setup.journal.wait_appends(1)
    await trio.sleep(0.75 * HASTY.press_within_s)
    setup.journal.commit(setup.journal.appends[0])
    message = await setup.pressed()
    assert (await next_ack(link))[1] == {"code": 200}
    assert trio.current_time() - began == pytest.approx(HASTY.press_within_s, abs=0.01)
    message.reply.send(None)


async def test_a_second_push_of_a_press_is_only_acked(setup: Setup) -> None:
    link = await setup.platform.next_link()
    for push in ("first", "again"):
        await link.push_event(press_event(), message_id=push)
    (await setup.pressed()).reply.send(None)
    assert sorted([(await next_ack(link))[0], (await next_ack(link))[0]]) == ["again", "first"]
    assert await setup.nothing_for_intake()


# ── a link that is kept open ────────────────────────────────────────────────


@pytest.mark.parametrize("end", ["close", "abort"])
async def test_a_link_that_ends_is_replaced_by_a_fresh_one(setup: Setup, end: str) -> None:
    first = await setup.platform.next_link()
    await setup.reported("connected")
    await getattr(first, end)()
    second = await setup.platform.next_link()
    assert len(setup.discoveries) == 2
    assert setup.platform.most_open_links == 1
    await second.push_event(message_event())
    assert (await next_ack(second))[1] == {"code": 200}


async def test_a_link_that_worked_is_replaced_at_once(clock: MockClock, setup: Setup) -> None:
    """Each time: only tries that fail in a row are spaced by the interval."""
    for _ in range(3):
        link = await setup.platform.next_link()
        await link.pings.receive()
        await trio.testing.wait_all_tasks_blocked()  # the pong is on its way
        await link.close()
    await setup.platform.next_link()
    waits = [later - earlier for earlier, later in itertools.pairwise(setup.discoveries)]
    assert max(waits) < longconn.RETRY_MIN_S


@pytest.mark.parametrize("settings", [IMPATIENT], ids=["impatient"])
async def test_a_half_open_link_is_closed_and_replaced(clock: MockClock, setup: Setup) -> None:
    first = await setup.platform.next_link()
    await first.freeze()
    with trio.fail_after(WITHIN_S):
        second = await setup.platform.next_link()
        while await first.stream.receive_some():
            pass  # what was sent before it was given up; then its end
    await second.push_event(message_event())
    await next_ack(second)


async def test_what_was_committed_on_a_lost_link_is_passed_on(setup: Setup) -> None:
    setup.journal.answer = setup.journal.hold
    link = await setup.platform.next_link()
    await link.push_event(message_event())
    await setup.journal.wait_appends(1)
    await link.abort()
    await setup.platform.next_link()
    setup.journal.commit(setup.journal.appends[0])
    assert (await setup.arrived()).event_id == "evt-1"


REFUSED = CredentialsRefused(code=1000040345, message="app_id or app_secret is invalid")
FULL = ConnectionLimit(code=1000040350, message="the number of connections exceeded the limit")


async def test_credentials_refused_at_the_first_try_end_the_actor(
    platform: ScriptedPlatform,
) -> None:
    setup = Setup(platform)
    setup.outcomes.append(REFUSED)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(setup.run_gateway)
        with trio.fail_after(WITHIN_S):
            with pytest.raises(connection.CredentialsRefusedError, match="check appId") as caught:
                await setup.run()
        nursery.cancel_scope.cancel()
    assert (caught.value.account, caught.value.code) == ("main", 1000040345)


@pytest.mark.parametrize(("outcome", "reason"), [(REFUSED, "appSecret"), (FULL, "50 long")])
async def test_a_later_refusal_is_shown_and_tried_again(
    clock: MockClock, setup: Setup, outcome: Rejected, reason: str
) -> None:
    link = await setup.platform.next_link()
    await setup.reported("connected")
    setup.outcomes.append(outcome)
    await link.close()
    refused = await setup.reported("refused")
    assert refused.last_error is not None
    assert reason in refused.last_error
    assert str(outcome.code) in refused.last_error
    await setup.platform.next_link()
    assert setup.discoveries[-1] - setup.discoveries[-2] >= SETTINGS.slow_retry_s
    assert (await setup.reported("connected")).last_error is None


@pytest.mark.parametrize(
    ("headers", "state", "reason"),
    [
        (
            {"Handshake_Status": "514", "Handshake_Autherrcode": "1000040350"},
            "refused",
            "50 long connections",
        ),
        ({"Handshake_Status": "403", "Handshake_Msg": "no"}, "refused", "check appId"),
        (
            {"Handshake_Status": "514", "Handshake_Autherrcode": "1000040346"},
            "reconnecting",
            "1000040346",
        ),
    ],
    ids=["limit", "forbidden", "ticket"],
)
async def test_refused_handshakes_are_distinguished(
    clock: MockClock,
    platform: ScriptedPlatform,
    setup: Setup,
    headers: dict[str, str],
    state: str,
    reason: str,
) -> None:
    link = await platform.next_link()
    platform.refusals.append(Refusal(400, **headers))
    await link.close()
    report = await setup.reported(state)
    while report.last_error is None or reason not in report.last_error:
        report = await setup.reported(state)
    await platform.next_link()


@pytest.mark.parametrize(
    "outcome",
    [
        NoAnswer(reason="HTTP 502"),
        Rejected(code=1, message="system busy"),
        EndpointFound(url="ws://127.0.0.1:1/", client_config=QUICK_CONFIG),
    ],
    ids=["no answer", "busy", "nobody listens"],
)
async def test_what_passes_is_tried_again(
    clock: MockClock, platform: ScriptedPlatform, outcome: Outcome
) -> None:
    setup = Setup(platform)
    setup.outcomes.extend([setup.found(), outcome])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(setup.run_gateway)
        nursery.start_soon(setup.run)
        await (await platform.next_link()).abort()
        await platform.next_link()
        assert len(setup.discoveries) == 3
        nursery.cancel_scope.cancel()


async def test_retries_keep_to_the_platforms_times(autojump_clock: trio.abc.Clock) -> None:
    """Jitter first, then the interval, again and again."""
    setup = Setup(ScriptedPlatform())
    setup.outcomes.extend([NoAnswer(reason="no network")] * 5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(setup.run_gateway)
        nursery.start_soon(setup.run)
        await trio.sleep(450)
        nursery.cancel_scope.cancel()
    jitter = random.Random(1).random() * ClientConfig().reconnect_nonce_s
    waits = [later - earlier for earlier, later in itertools.pairwise(setup.discoveries)]
    assert waits == pytest.approx([jitter, 120, 120, 120])


async def test_a_gateway_that_does_not_answer_is_asked_again(
    autojump_clock: trio.abc.Clock,
) -> None:
    setup = Setup(ScriptedPlatform())
    setup.outcomes.extend([NoAnswer(reason="never used")] * 9)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(setup.run)
        assert "no answer in" in ((await setup.reported("reconnecting")).last_error or "")
        nursery.start_soon(setup.run_gateway)
        await trio.sleep(200)
        assert setup.discoveries
        nursery.cancel_scope.cancel()


# ── leaving ─────────────────────────────────────────────────────────────────


async def test_leaving_closes_the_socket_and_stays_away(clock: MockClock, setup: Setup) -> None:
    link = await setup.platform.next_link()
    await link.pings.receive()
    setup.inbox_tx.send_nowait(connection.Disconnect())
    with trio.fail_after(60):
        await link.over.wait()
    assert link.connection.closed is not None
    assert link.connection.closed.code == 1000
    await setup.reported("closed")
    await trio.sleep(600)
    assert len(setup.discoveries) == 1


async def test_leaving_acks_what_is_committed_and_nothing_else(
    clock: MockClock, setup: Setup
) -> None:
    link = await setup.platform.next_link()
    setup.journal.answer = setup.journal.hold
    for number in range(2):
        await link.push_event(message_event(number), message_id=f"push-{number}")
    await setup.journal.wait_appends(2)
    setup.inbox_tx.send_nowait(connection.Disconnect())
    await trio.testing.wait_all_tasks_blocked()
    await link.push_event(message_event(9), message_id="too late")
    setup.journal.commit(setup.journal.appends[0])
    assert (await next_ack(link))[0] == "push-0"
    began = trio.current_time()
    with trio.fail_after(60):
        await link.over.wait()
    assert trio.current_time() - began <= DRAIN_WITHIN_S + 0.01, "nor is the other waited for"
    assert link.acks.statistics().current_buffer_used == 0
    assert len(setup.journal.appends) == 2


@hasty
async def test_leaving_does_not_wait_for_a_dead_peer(clock: MockClock, setup: Setup) -> None:
    link = await setup.platform.next_link()
    await link.pings.receive()
    await link.freeze()
    began = trio.current_time()
    setup.inbox_tx.send_nowait(connection.Disconnect())
    with trio.fail_after(60):
        while await link.stream.receive_some():
            pass
    assert trio.current_time() - began <= HASTY.socket.close_within_s + 0.01


async def test_leaving_while_there_is_no_link(clock: MockClock, platform: ScriptedPlatform) -> None:
    setup = Setup(platform)
    setup.outcomes.append(NoAnswer(reason="no network"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(setup.run_gateway)
        nursery.start_soon(setup.run)
        await setup.reported("reconnecting")
        setup.inbox_tx.send_nowait(connection.Disconnect())
        await setup.reported("closed")
        await trio.sleep(600)
        assert len(setup.discoveries) == 1
        nursery.cancel_scope.cancel()


async def test_leaving_twice_is_leaving(setup: Setup) -> None:
    await setup.platform.next_link()
    with trio.fail_after(60):
        for _ in range(3):
            await setup.inbox_tx.send(connection.Disconnect())
    await setup.reported("closed")


# ── where another node may take over ────────────────────────────────────────


async def test_a_claim_that_is_not_fresh_closes_the_link_and_acks_nothing(
    clock: MockClock,
    platform: ScriptedPlatform,
) -> None:
    fresh = True
    setup = Setup(platform)
    setup.settings = msgspec.structs.replace(SETTINGS, fresh=lambda: fresh)
    setup.journal.answer = setup.journal.hold
    async with trio.open_nursery() as nursery:
        nursery.start_soon(setup.journal.run)
        nursery.start_soon(setup.run_gateway)
        nursery.start_soon(setup.run)
        link = await platform.next_link()
        await link.push_event(message_event())
        await setup.journal.wait_appends(1)
        fresh = False
        setup.journal.commit(setup.journal.appends[0])
        with trio.fail_after(60):
            await link.over.wait()
        assert link.acks.statistics().current_buffer_used == 0
        state = await setup.reported("frozen")
        assert "not confirmed" in (state.last_error or "")
        discovered = len(setup.discoveries)
        await trio.sleep(0.5)
        assert len(setup.discoveries) == discovered, "nothing is called meanwhile"
        fresh = True
        await platform.next_link()
        await setup.reported("connected")
        nursery.cancel_scope.cancel()


async def test_after_a_claim_by_silence_more_links_are_kept_for_a_while(
    clock: MockClock, platform: ScriptedPlatform
) -> None:
    setup = Setup(platform)
    setup.settings = msgspec.structs.replace(SETTINGS, more_links=3, more_links_for_s=2.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(setup.journal.run)
        nursery.start_soon(setup.run_gateway)
        nursery.start_soon(setup.run)
        links = [await platform.next_link() for _ in range(4)]
        for number, link in enumerate(links):
            await link.push_event(message_event(number), message_id=f"push-{number}")
            assert (await next_ack(link))[0] == f"push-{number}"
        assert not any(link.over.is_set() for link in links)
        await trio.sleep(setup.settings.more_links_for_s + 0.5)
        (last,) = (link for link in links if not link.over.is_set())
        await last.push_event(message_event(9), message_id="push-9")
        assert (await next_ack(last))[0] == "push-9"
        setup.inbox_tx.send_nowait(connection.Disconnect())
        with trio.fail_after(60):
            await last.over.wait()
        nursery.cancel_scope.cancel()

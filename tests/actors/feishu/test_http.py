"""Tokens, deadlines and broken answers: what a call comes to when the network is bad."""

from __future__ import annotations

import gzip
import random

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.feishu.http import (
    ANSWER_BYTES_MAX,
    CALL_WITHIN_S,
    CONNECTIONS_MAX,
    TOKEN_WITHIN_S,
    Platform,
)
from actors.feishu.tokens import FetchedToken, TenantToken, Tokens, tenant_token
from actors.messages import gateway
from protocol.platform.outcomes import (
    Accepted,
    BotInfo,
    CredentialsRefused,
    MessageSent,
    NoAnswer,
    Outcome,
    RateLimited,
    Rejected,
    TokenRefused,
)
from tests.kit.gateway_client import BOT_INFO, ELEMENT, TOKEN, content, open_gateway
from tests.kit.loopback import loopback_clock
from tests.kit.ports import deaf_port

WHO = gateway.GetBotInfo()
DAY_OF_A_TOKEN_S = 7200
CREATE = "/open-apis/im/v1/messages"


@pytest.fixture
def clock() -> MockClock:
    return loopback_clock()


# ── tenant token ────────────────────────────────────────────────────────────


async def test_many_calls_at_once_need_one_token() -> None:
    async with open_gateway() as client:
        await client.fault(TOKEN, "delay", seconds=0.2)
        outcomes = await client.together(*[WHO] * 10)
        assert {type(outcome) for outcome in outcomes} == {BotInfo}
        assert len(await client.arrived(TOKEN)) == 1
        assert isinstance(await client.call(WHO), BotInfo)
        assert len(await client.arrived(TOKEN)) == 1, "and later calls use it too"


async def test_a_token_is_renewed_before_it_ends(clock: MockClock) -> None:
    async with open_gateway() as client:
        await client.call(WHO)
        clock.jump(DAY_OF_A_TOKEN_S - 700)
        await client.call(WHO)
        assert len(await client.arrived(TOKEN)) == 1, "it is valid for more than ten minutes"
        clock.jump(200)
        outcomes = await client.together(*[WHO] * 10)
        assert {type(outcome) for outcome in outcomes} == {BotInfo}
        assert len(await client.arrived(TOKEN)) == 2
        clock.jump(600)
        assert isinstance(await client.call(WHO), BotInfo)
        assert len(await client.arrived(TOKEN)) == 2, "the new one outlives the old"


async def test_a_renewal_that_fails_leaves_the_old_token_in_use(clock: MockClock) -> None:
    async with open_gateway() as client:
        await client.call(WHO)
        clock.jump(DAY_OF_A_TOKEN_S - 500)
        await client.fault(TOKEN, "garbage", status=502, times=1)
        assert isinstance(await client.call(WHO), BotInfo)
        assert isinstance(await client.call(WHO), BotInfo)
        assert len(await client.arrived(TOKEN)) == 2, "not tried again at once"
        clock.jump(60)
        assert isinstance(await client.call(WHO), BotInfo)
        assert len(await client.arrived(TOKEN)) == 3


async def test_a_token_the_platform_forgot_is_renewed_once_and_the_calls_repeated() -> None:
    async with open_gateway() as client:
        await client.call(WHO)
        await client.platform.post("expire_token")
        outcomes = await client.together(*[WHO] * 10)
        assert {type(outcome) for outcome in outcomes} == {BotInfo}
        assert len(await client.arrived(TOKEN)) == 2


async def test_a_call_refused_with_a_new_token_too_is_not_repeated_again() -> None:
    async with open_gateway() as client:
        await client.call(WHO)
        await client.platform.post("expire_token")
        await client.fault(BOT_INFO, "code", code=99991663, times=2)
        assert isinstance(await client.call(WHO), TokenRefused)
        assert len(await client.arrived(BOT_INFO)) == 3


async def test_a_token_that_is_the_same_again_is_not_tried_again() -> None:
    async with open_gateway() as client:
        await client.fault(BOT_INFO, "code", code=99991668, times=1)
        assert isinstance(await client.call(WHO), TokenRefused)
        assert len(await client.arrived(BOT_INFO)) == 1
        assert isinstance(await client.call(WHO), BotInfo)


async def test_wrong_credentials_are_the_outcome_of_every_call_that_waited() -> None:
    async with open_gateway(app_secret="wrong") as client:
        await client.fault(TOKEN, "delay", seconds=0.2)
        outcomes = await client.together(*[WHO] * 5)
        assert {type(outcome) for outcome in outcomes} == {CredentialsRefused}
        assert len(await client.arrived(TOKEN)) == 1


async def test_a_token_call_that_hangs_ends_every_call_that_waited(clock: MockClock) -> None:
    async with open_gateway() as client:
        await client.fault(TOKEN, "hang")
        asked_at = trio.current_time()
        outcomes = await client.together(*[WHO] * 5)
        assert {type(outcome) for outcome in outcomes} == {NoAnswer}
        assert trio.current_time() - asked_at <= TOKEN_WITHIN_S + 0.5
        assert isinstance(await client.call(WHO), BotInfo)


async def test_a_rate_limit_of_the_token_call_is_reported() -> None:
    async with open_gateway() as client:
        await client.fault(TOKEN, "code", code=99991400, status=429)
        assert isinstance(await client.call(WHO), RateLimited)


async def test_when_the_call_that_fetches_is_cut_off_another_fetches() -> None:
    fetching = 0

    async def fetch() -> FetchedToken:
        nonlocal fetching
        fetching += 1
        if fetching == 1:
            await trio.sleep_forever()
        return tenant_token("t-2", 7200, trio.current_time())

    tokens, got = Tokens(fetch), []

    async def get() -> None:
        got.append(await tokens.get())

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            leader = trio.CancelScope()

            async def lead() -> None:
                with leader:
                    await get()

            nursery.start_soon(lead)
            await wait_all_tasks_blocked()
            for _ in range(3):
                nursery.start_soon(get)
            await wait_all_tasks_blocked()
            leader.cancel()
    assert [token.value for token in got if isinstance(token, TenantToken)] == ["t-2"] * 3
    assert fetching == 2


@pytest.mark.parametrize("valid_s", [-5, 0, 1, 60, 599, 7200])
def test_a_token_serves_while_it_is_valid_however_short(valid_s: int) -> None:
    token = tenant_token("t-1", valid_s, 1000.0)
    assert token.renew_at <= token.ends_at <= max(1000.0 + valid_s, 1000.0)


# ── deadlines ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["hang", "apply_then_hang"])
async def test_a_call_without_an_answer_ends_by_its_deadline(clock: MockClock, kind: str) -> None:
    async with open_gateway() as client:
        card_id = await client.card()
        await client.fault(ELEMENT, kind)
        asked_at = trio.current_time()
        update = content(card_id, "ab", 1)
        assert isinstance(await client.call(update), NoAnswer)
        assert trio.current_time() - asked_at <= CALL_WITHIN_S
        assert await client.call(update) == Accepted(), "the same uuid: applied once at most"
        (card,) = await client.platform.cards()
        assert card["sequence"] == 1


async def test_an_answer_that_trickles_ends_by_the_deadline_of_the_whole(
    clock: MockClock, nursery: trio.Nursery
) -> None:
    async def trickle(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await trio.sleep(1)
                await stream.send_all(b" ")

    outcome, took_s = await ask_a(nursery, trickle)
    assert isinstance(outcome, NoAnswer)
    assert took_s == pytest.approx(CALL_WITHIN_S, abs=0.5)


async def test_calls_cut_at_any_moment_leave_no_connection_open() -> None:
    rng = random.Random(7)
    async with open_gateway(enforce_limits=False) as client:
        app = client.platform.running.settings
        async with Platform(client.platform.base_url, app.app_id, app.app_secret) as platform:

            async def cut(after_s: float) -> None:
                with trio.move_on_after(after_s):
                    await platform.perform(WHO)

            for _ in range(6):
                async with trio.open_nursery() as nursery:
                    for _ in range(CONNECTIONS_MAX):
                        nursery.start_soon(cut, rng.random() * 0.3)

            # All connections there may be, at once: none is held by a call that is gone.
            outcomes: list[Outcome] = []

            async def whole() -> None:
                outcomes.append(await platform.perform(WHO))

            await client.fault(BOT_INFO, "delay", seconds=0.3, times=CONNECTIONS_MAX)
            async with trio.open_nursery() as nursery:
                for _ in range(CONNECTIONS_MAX):
                    nursery.start_soon(whole)
            assert {type(outcome) for outcome in outcomes} == {BotInfo}


# ── broken answers ──────────────────────────────────────────────────────────


async def test_a_dropped_connection_is_no_answer_and_the_next_call_finds_another() -> None:
    async with open_gateway() as client:
        await client.call(WHO)
        await client.fault(BOT_INFO, "drop")
        assert isinstance(await client.call(WHO), NoAnswer)
        assert isinstance(await client.call(WHO), BotInfo)


async def test_a_send_whose_answer_was_lost_is_repeated_without_a_second_message() -> None:
    async with open_gateway() as client:
        chat = await client.platform.chat()
        send = gateway.CreateMessage(
            chat_id=await client.chat_id(),
            msg_type="text",
            content_json=msgspec.json.encode({"text": "once"}).decode(),
            uuid="once",
        )
        await client.fault(CREATE, "apply_then_drop")
        assert isinstance(await client.call(send), NoAnswer)
        sent = await client.call(send)
        assert isinstance(sent, MessageSent)
        assert [m["message_id"] for m in await client.platform.messages(chat)] == [sent.message_id]


@pytest.mark.parametrize("status", [200, 400, 404, 502, 504])
async def test_rubbish_is_no_answer_whatever_its_status(status: int) -> None:
    async with open_gateway() as client:
        await client.call(WHO)
        await client.fault(BOT_INFO, "garbage", status=status)
        outcome = await client.call(WHO)
        assert isinstance(outcome, NoAnswer)
        assert str(status) in outcome.reason


async def test_http_200_with_another_code_is_a_failure() -> None:
    async with open_gateway() as client:
        await client.call(WHO)
        await client.fault(BOT_INFO, "code", code=230013, status=200, message="no availability")
        outcome = await client.call(WHO)
        assert type(outcome) is Rejected
        assert (outcome.code, outcome.message) == (230013, "no availability")
        assert outcome.log_id


PACKED = gzip.compress(b'{"code":0}' + b" " * 100_000)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe",
        b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"code":0}',
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n" + b"[" * 30,
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
        % (len(PACKED), PACKED),
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (ANSWER_BYTES_MAX + 1),
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b" " * (ANSWER_BYTES_MAX + 1),
    ],
)
async def test_what_is_not_an_answer_of_the_platform_is_no_answer(
    nursery: trio.Nursery, answer: bytes
) -> None:
    async def trickle(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)

    outcome, _ = await ask_a(nursery, trickle)
    assert isinstance(outcome, NoAnswer)


async def test_a_platform_that_is_not_there_is_no_answer() -> None:
    with deaf_port() as port:
        async with Platform(f"http://127.0.0.1:{port}", "cli_a", "secret") as platform:
            assert isinstance(await platform.perform(WHO), NoAnswer)


async def ask_a(nursery: trio.Nursery, handler: object) -> tuple[Outcome, float]:
    """Discover the endpoint of a platform made of *handler*; return what came, and when."""
    listeners = await nursery.start(trio.serve_tcp, handler, 0)
    port = listeners[0].socket.getsockname()[1]
    asked_at = trio.current_time()
    async with Platform(f"http://127.0.0.1:{port}", "cli_a", "secret") as platform:
        outcome = await platform.perform(gateway.DiscoverEndpoint())
    return outcome, trio.current_time() - asked_at

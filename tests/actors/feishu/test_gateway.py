"""The gateway against a platform that enforces its limits: operations, shares, endings."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import msgspec
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from actors.feishu import calls, tokens
from actors.feishu import gateway as gateway_actor
from actors.feishu.monthly import MonthlyCount
from actors.kit.mailbox import ActorGone, ask
from actors.messages import gateway
from actors.messages.gateway import Api, Priority
from actors.sandbox.server import RunningSandbox
from protocol.ids import AccountId, CardId, MessageId
from protocol.platform.outcomes import (
    Accepted,
    BotInfo,
    CardCreated,
    EndpointFound,
    ImageUploaded,
    MessageSent,
    MissingScope,
    NoAnswer,
    RateLimited,
    ReactionAdded,
    ReactionsFound,
    Rejected,
    SequenceRefused,
)
from tests.kit.asking import gone_asker
from tests.kit.gateway_client import (
    BOT_INFO,
    CARD_JSON,
    CARDS,
    ELEMENT,
    REACTIONS,
    GatewayClient,
    content,
    open_gateway,
)
from tests.kit.httpx_transport import HttpxTransport
from tests.kit.loopback import loopback_clock


@pytest.fixture
def clock() -> MockClock:
    return loopback_clock()


# ── operations ──────────────────────────────────────────────────────────────


async def test_a_card_is_created_sent_updated_and_closed() -> None:
    async with open_gateway() as client:
        card_id = await client.card()
        sent = await client.call(
            gateway.CreateMessage(
                chat_id=await client.chat_id(),
                msg_type="interactive",
                content_json=msgspec.json.encode(
                    {"type": "card", "data": {"card_id": card_id}}
                ).decode(),
                uuid="send-1",
            )
        )
        assert isinstance(sent, MessageSent)
        assert sent.chat_id == await client.chat_id()
        assert await client.call(content(card_id, "ab", 1)) == Accepted()
        assert isinstance(await client.call(content(card_id, "ab", 1)), Accepted), "same uuid"
        again = gateway.ElementContent(
            card_id=card_id, element_id="answer", content="x", sequence=1, uuid="other"
        )
        assert isinstance(await client.call(again), SequenceRefused)
        closed = gateway.CardSettings(
            card_id=card_id,
            settings_json='{"config":{"streaming_mode":false}}',
            sequence=2,
            uuid="close",
        )
        assert await client.call(closed) == Accepted()
        final = CARD_JSON.replace('"content":"a"', '"content":"whole"').replace("true", "false")
        replaced = gateway.UpdateCard(card_id=card_id, card_json=final, sequence=3, uuid="final")
        assert await client.call(replaced) == Accepted()
        (card,) = await client.platform.cards()
        assert (card["sequence"], card["streaming"]) == (3, False)
        assert card["card"]["body"]["elements"][0]["content"] == "whole"


async def test_a_batch_and_a_patch_change_elements_with_the_cards_own_sequence() -> None:
    async with open_gateway() as client:
        card_id = await client.card()
        footer = {"tag": "markdown", "element_id": "footer", "content": "1 s"}
        actions = [
            {
                "action": "add_elements",
                "params": {
                    "type": "insert_after",
                    "target_element_id": "answer",
                    "elements": [footer],
                },
            },
            {
                "action": "partial_update_element",
                "params": {"element_id": "answer", "partial_element": {"content": "ab"}},
            },
        ]
        batch = gateway.BatchUpdate(
            card_id=card_id,
            actions_json=msgspec.json.encode(actions).decode(),
            sequence=1,
            uuid="batch-1",
        )
        assert await client.call(batch) == Accepted()
        streamed = gateway.ElementContent(
            card_id=card_id, element_id="answer", content="ab later", sequence=2, uuid="later"
        )
        assert await client.call(streamed) == Accepted()
        first, _ = await client.platform.get(f"cards/{card_id}/history")
        assert "ab later" not in str(first), "as it was then"
        patch = gateway.PatchElement(
            card_id=card_id,
            element_id="footer",
            partial_json='{"content":"2 s"}',
            sequence=3,
            uuid="patch-2",
        )
        assert await client.call(patch) == Accepted()
        stale = msgspec.structs.replace(patch, uuid="patch-3")
        assert isinstance(await client.call(stale), SequenceRefused)
        (card,) = await client.platform.cards()
        texts = [element["content"] for element in card["card"]["body"]["elements"]]
        assert texts == ["ab later", "2 s"]


async def test_a_message_is_answered_and_gets_a_reaction() -> None:
    async with open_gateway() as client:
        chat = await client.platform.chat()
        sent = await client.platform.send(chat, "hello")
        message_id = MessageId(sent["message_id"])
        reply = gateway.ReplyMessage(
            message_id=message_id,
            msg_type="text",
            content_json='{"text":"你好 🙂"}',
            uuid="reply-1",
            chat_id=await client.chat_id(),
        )
        first, second = await client.call(reply), await client.call(reply)
        assert isinstance(first, MessageSent)
        assert first == second, "the same uuid is the same message"
        _, answer = await client.platform.messages(chat)
        assert answer["message_id"] == first.message_id
        assert answer["parent_id"] == message_id
        assert answer["content"] == '{"text":"你好 🙂"}'

        added = await client.call(gateway.AddReaction(message_id=message_id, emoji_type="Typing"))
        assert isinstance(added, ReactionAdded)
        listed = await client.call(
            gateway.ListReactions(message_id=message_id, emoji_type="Typing")
        )
        assert listed == ReactionsFound(reaction_ids=(added.reaction_id,))
        removed = gateway.RemoveReaction(message_id=message_id, reaction_id=added.reaction_id)
        assert await client.call(removed) == Accepted()
        question, _ = await client.platform.messages(chat)
        assert question["reactions"] == []


async def test_the_bot_its_socket_and_its_images() -> None:
    async with open_gateway() as client:
        state = await client.platform.get("state")
        bot = await client.call(gateway.GetBotInfo())
        assert bot == BotInfo(open_id=state["app"]["bot_open_id"], name="larkd")
        found = await client.call(gateway.DiscoverEndpoint())
        assert isinstance(found, EndpointFound)
        assert found.url.startswith("ws://127.0.0.1:")
        assert found.client_config.ping_interval_s == 120
        uploaded = await client.call(
            gateway.UploadImage(image=b"\x89PNG\r\n\x1a\n" + bytes(300_000))
        )
        assert isinstance(uploaded, ImageUploaded)
        assert uploaded.image_key.startswith("img_")


async def test_what_comes_from_outside_stays_inside_its_part_of_the_path() -> None:
    async with open_gateway() as client:
        strange = MessageId("om_../../../bot?x=1#y")
        outcome = await client.call(gateway.AddReaction(message_id=strange, emoji_type="Typing"))
        assert isinstance(outcome, Rejected)
        assert await client.arrived(BOT_INFO) == []


async def test_a_missing_scope_comes_with_the_page_that_grants_it() -> None:
    async with open_gateway() as client:
        await client.platform.post("scopes", missing=["cardkit:card:write"])
        outcome = await client.call(gateway.CreateCard(card_json=CARD_JSON))
        assert isinstance(outcome, MissingScope)
        assert outcome.scopes == ("cardkit:card:write",)
        assert outcome.grant_url is not None
        assert "/auth?q=cardkit:card:write" in outcome.grant_url


# ── shares ──────────────────────────────────────────────────────────────────


async def test_a_platform_that_counts_exactly_never_has_to_refuse(clock: MockClock) -> None:
    async with open_gateway() as client:
        message_id = MessageId(
            (await client.platform.send(await client.platform.chat(), "hi"))["message_id"]
        )
        reaction = gateway.AddReaction(message_id=message_id, emoji_type="Typing")
        outcomes = await client.together(*[reaction] * 130)
        assert {type(outcome) for outcome in outcomes} == {ReactionAdded}
        counted = {one.outcome for one in (await client.state()).outcomes}
        assert "rate_limited" not in counted
        assert len(await client.arrived(REACTIONS)) == 130


async def test_calls_that_arrive_late_are_never_counted_with_too_many_others(
    clock: MockClock,
) -> None:
    """Forty that took their time, and those sent a second after them, arrive together."""
    async with open_gateway() as client:
        await client.call(gateway.GetBotInfo())
        await client.fault(CARDS, "delay", seconds=0.95, times=40)
        outcomes = await client.together(*[gateway.CreateCard(card_json=CARD_JSON)] * 120)
        assert {type(outcome) for outcome in outcomes} == {CardCreated}
        counted = {one.outcome for one in (await client.state()).outcomes}
        assert "rate_limited" not in counted


async def test_a_rate_limit_is_reported_learned_and_logged(clock: MockClock) -> None:
    async with open_gateway() as client:
        await client.call(gateway.GetBotInfo())
        await client.fault(
            CARDS, "code", code=99991400, status=429, headers={"x-ogw-ratelimit-reset": "7"}
        )
        create = gateway.CreateCard(card_json=CARD_JSON)
        with capture_logs() as logs:
            limited = await client.call(create)
        assert isinstance(limited, RateLimited)
        assert limited.retry_after_s == 7
        (sent,) = [entry for entry in logs if entry["event"] == "feishu.rate_limited"]
        assert sent["account"] == "main"
        assert sent["retry_after_s"] == 7
        state = await client.state()
        limits = [one.calls for one in state.outcomes if one.outcome == "rate_limited"]
        assert (limits, state.calls) == ([1], 2)
        assert state.last_error is not None
        assert "99991400" in state.last_error

        answered_at = trio.current_time()
        assert isinstance(await client.call(gateway.GetBotInfo()), BotInfo)
        assert trio.current_time() - answered_at < 1, "another API goes on"
        assert isinstance(await client.call(create), CardCreated)
        assert trio.current_time() - answered_at >= 6.9


async def test_a_limit_of_one_card_pauses_that_card_alone(clock: MockClock) -> None:
    async with open_gateway() as client:
        one, other = await client.card(), await client.card()
        await client.fault(ELEMENT, "code", code=230020, headers={"retry-after": "5"})
        assert isinstance(await client.call(content(one, "b", 1)), RateLimited)
        answered_at = trio.current_time()
        assert await client.call(content(other, "b", 1)) == Accepted()
        assert trio.current_time() - answered_at < 1
        assert await client.call(content(one, "c", 2)) == Accepted()
        assert trio.current_time() - answered_at >= 4.9


async def permit(
    mailbox: trio.MemorySendChannel[gateway.GatewayMessage],
    priority: Priority,
    apis: tuple[Api, ...] = (Api.ELEMENT_CONTENT,),
    card_id: str = "7",
) -> gateway.Granted:
    granted: gateway.Granted = await ask(
        mailbox,
        lambda reply: gateway.Permit(
            apis=apis, priority=priority, card_id=CardId(card_id), reply=reply
        ),
        within_s=300,
    )
    return granted


async def test_text_spills_over_to_the_next_api_as_one_runs_short(clock: MockClock) -> None:
    async with open_gateway() as client:
        granted: list[gateway.Granted] = []

        async def want(number: int) -> None:
            card = f"c{number}"
            granted.append(await permit(client.mailbox, Priority.TEXT, gateway.TEXT_APIS, card))

        asked_at = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number in range(120):
                nursery.start_soon(want, number)
        assert trio.current_time() - asked_at < 1.2
        apis = [one.api for one in granted]
        assert apis[0] is Api.ELEMENT_CONTENT
        assert set(apis) >= {Api.ELEMENT_CONTENT, Api.BATCH_UPDATE, Api.PATCH_ELEMENT}
        assert granted[-1].text_every_s > granted[0].text_every_s > 0


async def test_a_permit_that_was_not_used_is_void_and_costs_nothing(clock: MockClock) -> None:
    async with open_gateway() as client:
        card_id = await client.card()
        granted = [await permit(client.mailbox, Priority.FINAL, card_id=card_id) for _ in range(9)]
        await trio.sleep(1.1)
        outcomes = [
            await client.call(content(card_id, "x" * number, number), Priority.FINAL, one.permit)
            for number, one in enumerate(granted, start=1)
        ]
        assert {type(outcome) for outcome in outcomes} == {Accepted}
        used = {use.endpoint: use for use in (await client.state()).budgets}
        assert used[Api.ELEMENT_CONTENT].in_minute == 9


async def test_a_permit_for_another_api_is_not_taken(clock: MockClock) -> None:
    async with open_gateway() as client:
        card_id = await client.card()
        granted = await permit(client.mailbox, Priority.TEXT, (Api.BATCH_UPDATE,), card_id)
        assert await client.call(content(card_id, "a", 1), permit=granted.permit) == Accepted()
        used = {use.endpoint: use.in_minute for use in (await client.state()).budgets}
        assert (used[Api.ELEMENT_CONTENT], used[Api.BATCH_UPDATE]) == (1, 0)


async def test_an_end_goes_while_text_waits_out_its_rate_limit(clock: MockClock) -> None:
    async with open_gateway() as client:
        card_id = await client.card()
        await client.fault(
            ELEMENT, "code", code=99991400, status=429, headers={"x-ogw-ratelimit-reset": "6"}
        )
        limited = await client.call(content(card_id, "ab", 1), Priority.TEXT)
        assert isinstance(limited, RateLimited)
        began = trio.current_time()
        granted = await permit(client.mailbox, Priority.TEXT, gateway.TEXT_APIS, card_id)
        assert granted.api is Api.BATCH_UPDATE, "text goes on by another endpoint"
        await permit(client.mailbox, Priority.FINAL, (Api.ELEMENT_CONTENT,), card_id)
        assert trio.current_time() - began < 1, "what text was answered does not hold up an end"


async def test_every_call_is_counted_by_endpoint_and_outcome() -> None:
    async with open_gateway() as client:
        await client.call(gateway.GetBotInfo())
        await client.call(gateway.GetBotInfo())
        await client.fault(CARDS, "code", code=99991400, status=429)
        await client.call(gateway.CreateCard(card_json=CARD_JSON))
        state = await client.state()
        assert {(one.endpoint, one.outcome): one.calls for one in state.outcomes} == {
            (Api.BOT_INFO, "accepted"): 2,
            (Api.CREATE_CARD, "rate_limited"): 1,
        }
        (bot_info,) = [one for one in state.budgets if one.endpoint == Api.BOT_INFO]
        assert (bot_info.in_minute, bot_info.second_max, bot_info.minute_max) == (2, 50, 1_000)
        assert bot_info.seconds > 0
        assert (state.waiting, state.under_way) == (0, 0)


# ── where another node may take over ────────────────────────────────────────


async def test_a_frozen_gateway_cuts_what_is_under_way_and_starts_nothing(
    clock: MockClock,
) -> None:
    fresh = True
    async with open_gateway(fresh=lambda: fresh) as client, trio.open_nursery() as nursery:
        assert isinstance(await client.call(gateway.GetBotInfo()), BotInfo)
        await client.fault(BOT_INFO, "hang")
        outcomes: list[object] = []

        async def call() -> None:
            outcomes.append(await client.call(gateway.GetBotInfo()))

        nursery.start_soon(call)
        while len(await client.arrived(BOT_INFO)) < 2:
            await trio.sleep(0.01)
        fresh = False
        with trio.fail_after(60):
            while not outcomes:
                await trio.sleep(0.01)
        assert outcomes == [NoAnswer(reason="another node may hold the cluster")]
        nursery.start_soon(call)
        await trio.sleep(0.5)
        assert len(await client.arrived(BOT_INFO)) == 2, "nothing is called while it is frozen"
        fresh = True
        with trio.fail_after(60):
            while len(outcomes) < 2:
                await trio.sleep(0.01)
        assert isinstance(outcomes[1], BotInfo), "what waited goes on"


async def test_after_a_takeover_the_first_minute_is_careful(clock: MockClock) -> None:
    async with open_gateway(careful=True) as client:
        message_id = MessageId(
            (await client.platform.send(await client.platform.chat(), "hi"))["message_id"]
        )
        reaction = gateway.AddReaction(message_id=message_id, emoji_type="Typing")
        began = trio.current_time()
        await client.together(*[reaction] * 80)
        assert 3.5 < trio.current_time() - began < 7, "16 in a second"


async def test_a_call_with_a_permit_does_not_wait_again(clock: MockClock) -> None:
    async with open_gateway() as client:
        card_id = await client.card()
        granted = await permit(client.mailbox, Priority.TEXT)
        assert granted.api is Api.ELEMENT_CONTENT
        await client.fault(CARDS, "code", code=99991400, status=429)
        outcome = await client.call(content(card_id, "ab", 1), Priority.TEXT, granted.permit)
        assert outcome == Accepted()


async def test_final_states_get_their_permits_first(clock: MockClock) -> None:
    async with open_gateway() as client:
        order: list[Priority] = []

        async def want(priority: Priority) -> None:
            await permit(client.mailbox, priority)
            order.append(priority)

        async with trio.open_nursery() as nursery:
            for priority in [Priority.TICK, Priority.TEXT, Priority.FINAL, Priority.STRUCTURE] * 9:
                nursery.start_soon(want, priority)
        # A second lets 9 calls of one card go, which wake in any order; the first 9 go
        # as they come, and from then on priority decides.
        seconds = [order[first : first + 9] for first in range(9, 36, 9)]
        for earlier, later in itertools.pairwise(seconds):
            assert max(earlier) <= min(later)


async def test_a_permit_nobody_waits_for_costs_nothing(clock: MockClock) -> None:
    async with open_gateway() as client:
        for _ in range(40):
            await client.mailbox.send(
                gateway.Permit(
                    apis=(Api.ELEMENT_CONTENT,),
                    priority=Priority.TEXT,
                    card_id=CardId("7"),
                    reply=gone_asker(),
                )
            )
        asked_at = trio.current_time()
        await permit(client.mailbox, Priority.TEXT)
        assert trio.current_time() - asked_at < 0.5


@asynccontextmanager
async def gateway_of(
    platform: httpx.AsyncBaseTransport,
) -> AsyncIterator[trio.MemorySendChannel[gateway.GatewayMessage]]:
    """Run the gateway over a platform in memory."""
    settings = gateway_actor.GatewaySettings(
        account=AccountId("default"),
        base_url="https://platform.example",
        app_id="cli_1",
        app_secret="s",
    )
    tx, rx = trio.open_memory_channel[gateway.GatewayMessage](1_000)
    async with trio.open_nursery() as nursery:
        await nursery.start(
            partial(gateway_actor.run, settings, rx, transport=HttpxTransport(platform))
        )
        yield tx
        nursery.cancel_scope.cancel()


class SlowPlatform(httpx.AsyncBaseTransport):
    """Answers as many calls as may be under way late, and keeps the order of all of them."""

    def __init__(self) -> None:
        self.arrived: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.rpartition("/")[2]
        if name != "internal":  # the token
            self.arrived.append(name)
            if len(self.arrived) <= gateway_actor.CALLS_AT_ONCE_MAX:
                await trio.sleep(5)
        answer = {"code": 0, "tenant_access_token": "t", "expire": 7200, "bot": {"open_id": "ou_1"}}
        return httpx.Response(
            200, stream=httpx.ByteStream(msgspec.json.encode(answer)), request=request
        )


async def test_a_slow_platform_is_met_by_priority_too(autojump_clock: MockClock) -> None:
    """In memory: what a socket has under way looks idle to a virtual clock."""
    platform, slow = SlowPlatform(), gateway_actor.CALLS_AT_ONCE_MAX
    async with gateway_of(platform) as tx, trio.open_nursery() as askers:

        def call(operation: gateway.Operation, priority: Priority) -> None:
            askers.start_soon(partial(gateway.call, tx, operation, priority, within_s=60))

        # As many as may be under way hang, of two APIs, each of which has its own limit.
        for number in range(slow):
            hung = gateway.GetBotInfo() if number % 2 else gateway.DiscoverEndpoint()
            call(hung, Priority.FINAL)
        await trio.sleep(3)
        for _ in range(120):
            call(gateway.GetBotInfo(), Priority.TEXT)
        await trio.sleep(1)
        call(gateway.CreateCard(card_json="{}"), Priority.FINAL)
    # What leaves in one pass of the loop arrives in any order; that is 18 calls for the name.
    assert "cards" in platform.arrived[slow : slow + 19]
    assert platform.arrived[slow:].count("info") == 120


class HungPlatform(httpx.AsyncBaseTransport):
    """Answers no text, and all else at once; *left_at* has when each call came."""

    def __init__(self) -> None:
        self.left_at: dict[str, list[float]] = defaultdict(list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.rpartition("/")[2]
        self.left_at[name].append(trio.current_time())
        if name == "content":
            await trio.sleep_forever()
        answer = {"code": 0, "tenant_access_token": "t", "expire": 7200}
        return httpx.Response(
            200, stream=httpx.ByteStream(msgspec.json.encode(answer)), request=request
        )


async def test_an_answer_is_awaited_as_long_as_its_asker_wants(autojump_clock: MockClock) -> None:
    async with gateway_of(HungPlatform()) as tx:
        asked_at = trio.current_time()
        outcome = await gateway.call(
            tx, content(CardId("7"), "x", 1), Priority.TEXT, answer_within_s=2.5, within_s=60
        )
        assert outcome == NoAnswer(reason="no answer in 2.5 s")
        assert trio.current_time() - asked_at == pytest.approx(2.5, abs=0.2)


async def test_text_whose_calls_all_hang_holds_up_no_end(autojump_clock: MockClock) -> None:
    platform = HungPlatform()
    async with gateway_of(platform) as tx, trio.open_nursery() as askers:
        for number in range(200):
            text = content(CardId(str(number)), "x", 1)
            askers.start_soon(partial(gateway.call, tx, text, Priority.TEXT, within_s=60))
        await trio.sleep(7)
        assert len(platform.left_at["content"]) < gateway_actor.CALLS_AT_ONCE_MAX
        asked_at = trio.current_time()
        end = gateway.UpdateCard(card_id=CardId("1"), card_json="{}", sequence=2, uuid="u")
        assert await gateway.call(tx, end, Priority.FINAL, within_s=60) == Accepted()
        assert trio.current_time() - asked_at < 0.5
        askers.cancel_scope.cancel()


# ── endings ─────────────────────────────────────────────────────────────────


async def test_who_waits_when_the_gateway_is_cancelled_is_answered(clock: MockClock) -> None:
    gone: list[str] = []

    async def ask_in_vain(name: str, asking: Callable[[], Awaitable[object]]) -> None:
        try:
            await asking()
        except ActorGone:
            gone.append(name)

    with trio.fail_after(60):
        async with open_gateway() as client, trio.open_nursery() as askers:
            tx, rx = trio.open_memory_channel[gateway.GatewayMessage](100)
            other = GatewayClient(client.platform, tx)
            async with trio.open_nursery() as nursery:
                await nursery.start(gateway_actor.run, settings_of(client.platform.running), rx)
                await client.fault(BOT_INFO, "hang")
                under_way = partial(other.call, gateway.GetBotInfo())
                askers.start_soon(ask_in_vain, "under way", under_way)
                while not await client.arrived(BOT_INFO):
                    await trio.sleep(0.01)
                for _ in range(30):
                    asking = partial(permit, tx, Priority.TEXT)
                    askers.start_soon(ask_in_vain, "waiting", asking)
                while (await other.state()).waiting < 21:
                    await trio.sleep(0.01)
                nursery.cancel_scope.cancel()
            tx.close()
    assert gone.count("under way") == 1
    assert gone.count("waiting") == 21, "the others got a permit in time"


async def test_a_gateway_nobody_can_ask_ends() -> None:
    async with open_gateway() as client:
        tx, rx = trio.open_memory_channel[gateway.GatewayMessage](1)
        tx.close()
        with trio.fail_after(60):
            await gateway_actor.run(settings_of(client.platform.running), rx)


class Spent(MonthlyCount):
    """A month of which so many calls were made."""

    def __init__(self, used: int) -> None:
        self._used = used

    async def add(self, calls: int) -> int:
        await trio.lowlevel.checkpoint()
        self._used += calls
        return self._used


async def test_when_the_month_runs_low_text_waits_and_an_end_does_not(clock: MockClock) -> None:
    async with open_gateway() as client, trio.open_nursery() as nursery:
        tx, rx = trio.open_memory_channel[gateway.GatewayMessage](100)
        settings = settings_of(client.platform.running, monthly_calls=100)
        await nursery.start(gateway_actor.run, settings, rx, Spent(96))
        await trio.sleep(0.1)  # what was used is counted by now
        with pytest.raises(trio.TooSlowError):
            with trio.fail_after(60):
                await permit(tx, Priority.TEXT)
        with trio.fail_after(60):
            await permit(tx, Priority.STRUCTURE)
            await permit(tx, Priority.FINAL)
        nursery.cancel_scope.cancel()


async def test_secrets_are_in_no_log_repr_or_error() -> None:
    wrong = "a-secret-that-is-wrong"
    with capture_logs() as logs:
        async with open_gateway(app_secret=wrong) as client:
            outcomes = [
                await client.call(gateway.DiscoverEndpoint()),
                await client.call(gateway.GetBotInfo()),
            ]
            state = await client.state()
            settings = settings_of(client.platform.running, app_secret=wrong)
    assert all(isinstance(outcome, Rejected) for outcome in outcomes)
    call = calls.build(gateway.DiscoverEndpoint(), app_id="a", app_secret=wrong)
    assert call.json is not None
    assert wrong.encode() in call.json
    shown = repr((outcomes, state, logs, settings, call, tokens.tenant_token(wrong, 60, 0)))
    assert wrong not in shown


def settings_of(sandbox: RunningSandbox, **other: Any) -> gateway_actor.GatewaySettings:
    app: dict[str, Any] = {
        "app_id": sandbox.settings.app_id,
        "app_secret": sandbox.settings.app_secret,
    }
    return gateway_actor.GatewaySettings(
        account=AccountId("other"), base_url=sandbox.base_url, **(app | other)
    )

"""Many turns that stream at once, over the real gateway, against exact limits.

All in virtual time: the round trip is stated, and the figures are the same on every
machine. What is asked of the cards is in ``cards.md``, "Fresh text under load".
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from functools import partial
from typing import Any

import httpx
import msgspec
import pytest
import trio
from trio.testing import MockClock

from actors.feishu import gateway as gateway_actor
from actors.messages import gateway, turn
from actors.turns import show_turn
from protocol.ids import AccountId, CardId, ChatId, TurnId
from protocol.wire.messages import Delta, TurnEnd
from tests.actors.turns.shown import after, content
from tests.actors.turns.test_turns import ACCOUNT, World, opening
from tests.protocol.platform.exact_limits import ExactLimits

ROUND_TRIP_S = 0.1
TOKEN = "word "
PER_SECOND = 50
EVERY_S = 0.1
NIGHTLY = bool(os.environ.get("LARKD_NIGHTLY"))
_CARD = re.compile(r"/open-apis/cardkit/v1/cards/(\w+)(/.*)?")


class Platform(httpx.AsyncBaseTransport):
    """Cards and messages in memory, and each API's limits counted where calls arrive."""

    def __init__(self) -> None:
        self.limits = ExactLimits()
        self.limited = 0
        self.cards: dict[CardId, dict[str, Any]] = {}
        self.card_of: dict[str, CardId] = {}
        """By chat."""
        self.sequences: dict[CardId, int] = defaultdict(int)
        self.final_at: dict[CardId, float] = {}
        self.by_api: dict[str, int] = defaultdict(int)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(await request.aread() or b"{}")
        await trio.sleep(ROUND_TRIP_S / 2)
        api, card_id, update = read_request(request.method, request.url.path, body)
        self.by_api[api] += 1
        if not self.limits.takes(api, card_id, trio.current_time()):
            self.limited += 1
            answer = {"code": 99991400, "msg": "request trigger frequency limit"}
        else:
            answer = {"code": 0, "msg": "success", "data": self.take(api, body, update)}
            if api.endswith("/internal"):
                answer |= {"tenant_access_token": "t", "expire": 7200}
        await trio.sleep(ROUND_TRIP_S / 2)
        return httpx.Response(
            200, stream=httpx.ByteStream(json.dumps(answer).encode()), request=request
        )

    def take(self, api: str, body: dict[str, Any], update: Any) -> dict[str, str]:
        if api.endswith("POST /cards"):
            card_id = CardId(f"card{len(self.cards)}")
            self.cards[card_id] = json.loads(body["data"])
            return {"card_id": card_id}
        if api.endswith("messages"):
            known = json.loads(body["content"]).get("data", {}).get("card_id")
            self.card_of[body["receive_id"]] = known
            return {"message_id": f"om_{known}", "chat_id": body["receive_id"]}
        if update is not None:
            assert update.sequence > self.sequences[update.card_id], "never a refused call"
            self.sequences[update.card_id] = update.sequence
            card = self.cards[update.card_id] = after(self.cards[update.card_id], update)
            if not card["config"]["streaming_mode"]:
                self.final_at[update.card_id] = trio.current_time()
        return {}

    def tokens(self, chat: str) -> int:
        card_id = self.card_of.get(chat)
        return 0 if card_id is None else content(self.cards[card_id], "answer").count(TOKEN)


def read_request(method: str, path: str, body: dict[str, Any]) -> tuple[str, str | None, Any]:
    """The API that a call counts against, its card, and what it changes there."""
    found = _CARD.fullmatch(path)
    if found is None:
        return f"{method} {path.rpartition('/v1')[2] or path}", None, None
    card_id, rest = CardId(found[1]), found[2] or ""
    common = {"card_id": card_id, "sequence": body["sequence"], "uuid": body["uuid"]}
    element_id = rest.split("/")[2] if rest.startswith("/elements/") else ""
    match method, rest:
        case "PUT", "":
            update: Any = gateway.UpdateCard(card_json=body["card"]["data"], **common)
        case "POST", "/batch_update":
            update = gateway.BatchUpdate(actions_json=body["actions"], **common)
        case "PATCH", "/settings":
            update = gateway.CardSettings(settings_json=body["settings"], **common)
        case "PUT", _:
            update = gateway.ElementContent(
                element_id=element_id, content=body["content"], **common
            )
        case _:
            update = gateway.PatchElement(
                element_id=element_id, partial_json=body["partial_element"], **common
            )
    return f"{method} {re.sub('answer|footer', ':element', rest)}", card_id, update


class Ages(msgspec.Struct):
    """What a reader of all the cards sees, in seconds."""

    text: list[float] = []
    first: list[float] = []
    final: list[float] = []

    def text_at(self, share: float) -> float:
        return sorted(self.text)[int(share * (len(self.text) - 1))]


class Load:
    """So many turns that begin together and stream for so long."""

    def __init__(self, turns: int, seconds: float) -> None:
        self.turns = turns
        self.seconds = seconds
        self.platform = Platform()
        self.world = World()
        self.ages = Ages()
        self.began = 0.0

    async def run(self) -> None:
        with trio.fail_after(self.seconds + 120):
            async with trio.open_nursery() as peers:
                tx, rx = trio.open_memory_channel[gateway.GatewayMessage](1_000)
                settings = gateway_actor.GatewaySettings(
                    account=AccountId("default"),
                    base_url="http://platform",
                    app_id="cli_a",
                    app_secret="secret",  # of nobody
                )
                await peers.start(partial(gateway_actor.run, settings, rx, transport=self.platform))
                self.world.peers = msgspec.structs.replace(self.world.peers, gateways={ACCOUNT: tx})
                peers.start_soon(self.world.serve_journal)
                peers.start_soon(self.world.serve_ownership)
                self.began = trio.current_time()
                async with trio.open_nursery() as turns:
                    for number in range(self.turns):
                        turns.start_soon(self.one_turn, number)
                    turns.start_soon(self.watch)
                peers.cancel_scope.cancel()

    async def one_turn(self, number: int) -> None:
        # A turn of the session's own has no Typing mark: that is not what is measured.
        one = msgspec.structs.replace(
            opening(),
            turn_id=TurnId(f"t{number}"),
            chat_id=ChatId(f"oc_{number}"),
            message_id=None,
        )
        lane_tx, _lane_rx = trio.open_memory_channel[Any](10)
        inputs, outlet = trio.open_memory_channel[turn.TurnInput](64)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(show_turn, one, outlet, lane_tx, self.world.peers)
            for _ in range(int(self.seconds / EVERY_S)):
                text = TOKEN * int(PER_SECOND * EVERY_S)
                await inputs.send(Delta(turn_id=one.turn_id, text=text))
                await trio.sleep(EVERY_S)
            ended_at = trio.current_time()
            await inputs.send(TurnEnd(turn_id=one.turn_id, status="complete"))
        card_id = self.platform.card_of[one.chat_id]
        self.ages.final.append(self.platform.final_at[card_id] - ended_at)
        assert self.platform.tokens(one.chat_id) == int(self.seconds * PER_SECOND), "all of it"

    async def watch(self) -> None:
        """Ask twice a second how old the newest text of each card is."""
        first: set[int] = set()
        while (now := trio.current_time() - self.began) < self.seconds:
            for number in range(self.turns):
                tokens = self.platform.tokens(f"oc_{number}")
                if tokens and number not in first:
                    first.add(number)
                    self.ages.first.append(now)
                if now > 2:
                    self.ages.text.append(max(0.0, now - tokens / PER_SECOND))
            await trio.sleep(0.5)
        assert len(first) == self.turns


def under_load(turns: int, seconds: float) -> Load:
    load = Load(turns, seconds)
    trio.run(load.run, clock=MockClock(autojump_threshold=0))
    return load


@pytest.mark.timeout(600)
def test_a_hundred_turns_stay_fresh_and_meet_no_limit() -> None:
    load = under_load(100, 60.0 if NIGHTLY else 20.0)
    ages = load.ages
    assert load.platform.limited == 0
    assert ages.text_at(0.5) <= 1.2
    assert ages.text_at(0.99) <= 3.5
    assert max(ages.first) <= 2.5
    # All 100 end in one moment; the platform takes 50 of them in a second, some of which
    # its answers' way back leaves unused.
    assert sorted(ages.final)[39] <= 1 + ROUND_TRIP_S
    assert max(ages.final) <= 3 + ROUND_TRIP_S


def test_ten_turns_look_like_typing() -> None:
    load = under_load(10, 20.0)
    assert load.platform.limited == 0
    assert load.ages.text_at(0.5) <= 0.4
    assert max(load.ages.final) <= 1 + ROUND_TRIP_S

"""Many turns that stream at once in virtual time, against exact limits.

The round trip is stated, and the figures are the same on every machine. Ours go over the
real gateway and the turns' real actors; ``bench/virtual.py`` has other policies on the
same platform.
"""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from functools import partial
from typing import Any

import httpx
import msgspec
import trio

from actors.feishu import gateway as gateway_actor
from actors.messages import gateway, turn
from actors.turns import show_turn
from protocol.ids import AccountId, CardId, ChatId, TurnId
from protocol.wire.messages import Delta, TurnEnd
from tests.actors.turns.shown import after, content
from tests.actors.turns.test_turns import ACCOUNT, World, opening
from tests.kit.httpx_transport import HttpxTransport
from tests.protocol.platform.exact_limits import ExactLimits

ROUND_TRIP_S = 0.1
TOKEN = "word "
PER_SECOND = 50
EVERY_S = 0.1
_CARD = re.compile(r"/open-apis/cardkit/v1/cards/(\w+)(/.*)?")


class Shown(msgspec.Struct, frozen=True):
    """A card's answer from some moment on."""

    at: float
    characters: int
    typed: bool
    """The same text longer, by ``/content``: the platform types what is more."""


class Platform(httpx.AsyncBaseTransport):
    """Cards and messages in memory, and each API's limits counted where calls arrive.

    Each way takes half of *round_trip_s*, of its own chance between 60 and 140 percent where
    there is a *seed*.
    """

    def __init__(self, round_trip_s: float = ROUND_TRIP_S, seed: int | None = None) -> None:
        self.round_trip_s = round_trip_s
        self.rng = None if seed is None else random.Random(seed)
        self.history: dict[CardId, list[Shown]] = defaultdict(list)
        self.limits = ExactLimits()
        self.limited = 0
        self.cards: dict[CardId, dict[str, Any]] = {}
        self.typewriters: dict[CardId, dict[str, Any]] = {}
        """``streaming_config`` of each card, as it was created."""
        self.card_of: dict[str, CardId] = {}
        """By chat."""
        self.sequences: dict[CardId, int] = defaultdict(int)
        self.final_at: dict[CardId, float] = {}
        self.by_api: dict[str, int] = defaultdict(int)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(await request.aread() or b"{}")
        answer = await self.call(request.method, request.url.path, body)
        return httpx.Response(
            200, stream=httpx.ByteStream(json.dumps(answer).encode()), request=request
        )

    def one_way_s(self) -> float:
        jitter = 1.0 if self.rng is None else self.rng.uniform(0.6, 1.4)
        return self.round_trip_s / 2 * jitter

    async def call(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Take one call, there and back."""
        await trio.sleep(self.one_way_s())
        api, card_id, update = read_request(method, path, body)
        self.by_api[api] += 1
        answer: dict[str, Any]
        if not self.limits.takes(api, card_id, trio.current_time()):
            self.limited += 1
            answer = {"code": 99991400, "msg": "request trigger frequency limit"}
        else:
            answer = {"code": 0, "msg": "success", "data": self.take(api, body, update)}
            if api.endswith("/internal"):
                answer |= {"tenant_access_token": "t", "expire": 7200}
        await trio.sleep(self.one_way_s())
        return answer

    def take(self, api: str, body: dict[str, Any], update: Any) -> dict[str, str]:
        if api.endswith("POST /cards"):
            card_id = CardId(f"card{len(self.cards)}")
            card = self.cards[card_id] = json.loads(body["data"])
            self.typewriters[card_id] = card["config"].get("streaming_config", {})
            return {"card_id": card_id}
        if api.endswith("messages"):
            known = json.loads(body["content"]).get("data", {}).get("card_id")
            self.card_of[body["receive_id"]] = known
            return {"message_id": f"om_{known}", "chat_id": body["receive_id"]}
        if update is not None:
            assert update.sequence > self.sequences[update.card_id], "never a refused call"
            self.sequences[update.card_id] = update.sequence
            before = self.cards[update.card_id]
            card = self.cards[update.card_id] = after(before, update)
            text = content(card, "answer")
            if text != content(before, "answer"):
                typed = isinstance(update, gateway.ElementContent) and text.startswith(
                    content(before, "answer")
                )
                self.history[update.card_id].append(Shown(trio.current_time(), len(text), typed))
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

    def __init__(
        self,
        turns: int,
        seconds: float,
        *,
        round_trip_s: float = ROUND_TRIP_S,
        seed: int | None = None,
    ) -> None:
        self.turns = turns
        self.seconds = seconds
        self.platform = Platform(round_trip_s, seed)
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
                await peers.start(
                    partial(
                        gateway_actor.run, settings, rx, transport=HttpxTransport(self.platform)
                    )
                )
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
        inputs, outlet = turn.open_inputs(64)
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

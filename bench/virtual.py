"""Many turns that stream at once, ours and two other policies: the same figures everywhere.

All in virtual time, against exact limits and with a stated round trip; each seed draws
the way of each call between 60 and 140 percent of it, and the order of tasks. Ours are
the turns' real actors over the real gateway. The others do what is commonly done, on the
same platform, by their code: a fixed pause of 800 ms for each card with
whole-card updates, and lark-oapi's channel, which sends after 100 ms or 50 characters,
one call at a time, and repeats none. They begin when they have all of their cards, ours
with the turns. With ``bench/cards.py`` the real libraries run for a minute.

What a reader sees is computed from the typewriter's rules: ``bench/reader.py``.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import structlog
import trio
from trio.testing import MockClock

from bench.loopback import percentile
from bench.policies import CREATE_EVERY_S, FIXED_PAUSE_S
from bench.reader import Reading, Typewriter, Update, read
from protocol.ids import CardId
from tests.actors.turns.under_load import (
    EVERY_S,
    PER_SECOND,
    ROUND_TRIP_S,
    TOKEN,
    Load,
    Platform,
)
from tests.kit.scheduler import seeded_scheduler

SETTLE_S = 20.0
READ_FROM_S = 2.0
CHANNEL_MIN_S, CHANNEL_MIN_CHARACTERS = 0.1, 50
TEXT_PATH = "/open-apis/cardkit/v1/cards/{}/elements/answer/content"


class Outcome(msgspec.Struct, kw_only=True):
    """What one contestant's platform saw in one run; seconds."""

    text: list[float] = []
    """Ages of the newest text on each card, twice a second."""
    first: list[float] = []
    final: list[float] = []
    calls: int = 0
    limited: int = 0
    incomplete: int = 0
    live: int = 0
    readings: list[Reading] = []


class Other:
    """One turn by another policy, on a card of its own."""

    def __init__(self, platform: Platform, number: int) -> None:
        self.platform = platform
        self.number = number
        self.card_id = CardId("")
        self.text = ""
        self.sequence = 0
        self.more = trio.Event()
        self.over = False

    async def create(self, *, streaming: bool) -> None:
        card = _card("", streaming=streaming)
        body = {"type": "card_json", "data": card}
        made = await self.platform.call("POST", "/open-apis/cardkit/v1/cards", body)
        self.card_id = CardId(made["data"]["card_id"])
        content = json.dumps({"data": {"card_id": self.card_id}})
        sent = {"content": content, "receive_id": f"oc_{self.number}"}
        await self.platform.call("POST", "/open-apis/im/v1/messages", sent)

    async def put(self, method: str, path: str, body: dict[str, Any]) -> bool:
        self.sequence += 1
        numbered = {**body, "sequence": self.sequence, "uuid": str(self.sequence)}
        answer = await self.platform.call(method, path.format(self.card_id), numbered)
        return bool(answer["code"] == 0)

    async def produce(self, until: float) -> None:
        """Take the model's text as it comes."""
        while trio.current_time() < until - EVERY_S / 2:
            self.text += TOKEN * int(PER_SECOND * EVERY_S)
            self.more.set()
            await trio.sleep(EVERY_S)
        self.over = True
        self.more.set()

    async def fixed(self) -> None:
        async def update() -> None:
            data = _card(self.text, streaming=not self.over)
            card = {"type": "card_json", "data": data}
            await self.put("PUT", "/open-apis/cardkit/v1/cards/{}", {"card": card})

        while not self.over:
            await trio.sleep(FIXED_PAUSE_S)
            await update()
        await update()

    async def channel(self) -> None:
        sent, sent_at = 0, -CHANNEL_MIN_S
        while not self.over:
            await self.more.wait()
            self.more = trio.Event()
            if len(self.text) - sent < CHANNEL_MIN_CHARACTERS:
                await trio.sleep_until(sent_at + CHANNEL_MIN_S)
            sent, sent_at = len(self.text), trio.current_time()
            await self.put("PUT", TEXT_PATH, {"content": self.text})
        await self.put("PUT", TEXT_PATH, {"content": self.text})
        settings = json.dumps({"config": {"streaming_mode": False}})
        await self.put("PATCH", "/open-apis/cardkit/v1/cards/{}/settings", {"settings": settings})


def _card(text: str, *, streaming: bool) -> str:
    element = {"tag": "markdown", "element_id": "answer", "content": text}
    config = {"update_multi": True, "streaming_mode": streaming}
    return json.dumps({"schema": "2.0", "config": config, "body": {"elements": [element]}})


async def run_others(
    outcome: Outcome,
    platform: Platform,
    turns: int,
    seconds: float,
    streaming: bool,  # trio.run passes by position
) -> None:
    others = [Other(platform, number) for number in range(turns)]
    for other in others:
        await other.create(streaming=streaming)
        await trio.sleep(CREATE_EVERY_S)
    began = trio.current_time()
    until = began + seconds
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch, outcome, platform, turns, began, seconds)
        for other in others:
            nursery.start_soon(other.produce, until)
            nursery.start_soon(other.channel if streaming else other.fixed)
        await trio.sleep_until(until + SETTLE_S)
        nursery.cancel_scope.cancel()
    outcome.final = [at - until for at in platform.final_at.values()]
    _count(outcome, platform, turns, seconds, began)


async def _watch(
    outcome: Outcome, platform: Platform, turns: int, began: float, seconds: float
) -> None:
    first: set[int] = set()
    while (now := trio.current_time() - began) < seconds:
        for number in range(turns):
            tokens = platform.tokens(f"oc_{number}")
            if tokens and number not in first:
                first.add(number)
                outcome.first.append(now)
            if now > READ_FROM_S:
                outcome.text.append(max(0.0, now - tokens / PER_SECOND))
        await trio.sleep(0.5)


async def run_ours(outcome: Outcome, load: Load) -> None:
    await load.run()
    outcome.text, outcome.first = load.ages.text, load.ages.first
    outcome.final = load.ages.final
    _count(outcome, load.platform, load.turns, load.seconds, load.began)


def _count(outcome: Outcome, platform: Platform, turns: int, seconds: float, began: float) -> None:
    """Take down what the platform has seen, once all is over."""
    outcome.calls = sum(platform.by_api.values())
    outcome.limited = platform.limited
    whole = int(seconds / EVERY_S) * int(PER_SECOND * EVERY_S)
    for number in range(turns):
        outcome.incomplete += platform.tokens(f"oc_{number}") < whole
        card_id = platform.card_of.get(f"oc_{number}")
        if card_id is None:
            continue
        outcome.live += card_id not in platform.final_at
        updates = [Update(one.at, one.characters, one.typed) for one in platform.history[card_id]]
        typewriter = _typewriter(platform.typewriters[card_id])
        outcome.readings.append(read(updates, typewriter, began + READ_FROM_S, began + seconds))


def _typewriter(config: dict[str, Any]) -> Typewriter:
    """Return how a card types; the platform's own defaults where it does not set it."""
    known = Typewriter()
    return Typewriter(
        step=config.get("print_step", {}).get("default", known.step),
        every_s=config.get("print_frequency_ms", {}).get("default", known.every_s * 1000) / 1000,
    )


# ── the table ───────────────────────────────────────────────────────────────

CONTESTANTS = ("larkd", "fixed 800 ms", "lark-oapi's channel")


def run(name: str, turns: int, seconds: float, round_trip_s: float, seed: int) -> Outcome:
    """Run one contestant once."""
    outcome = Outcome()
    clock = MockClock(autojump_threshold=0)
    with seeded_scheduler(seed):
        if name == "larkd":
            load = Load(turns, seconds, round_trip_s=round_trip_s, seed=seed)
            trio.run(run_ours, outcome, load, clock=clock)
        else:
            platform = Platform(round_trip_s, seed)
            streaming = name != "fixed 800 ms"
            trio.run(run_others, outcome, platform, turns, seconds, streaming, clock=clock)
    return outcome


def over_seeds(values: Sequence[float], unit: str = "", digits: int = 1) -> str:
    """Show the range of a figure over all seeds."""
    low, high = (f"{value:.{digits}f}" for value in (min(values), max(values)))
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def figures(outcomes: Sequence[Outcome]) -> list[str]:
    """Return what is shown of one contestant, a text for each row."""

    def each(figure: Callable[[Outcome], float]) -> list[float]:
        return [figure(one) for one in outcomes]

    readings = [reading for one in outcomes for reading in one.readings]
    jumps = [float(jump) for reading in readings for jump in reading.jumps]
    seconds = [float(count) for reading in readings for count in reading.per_second]
    frozen = sum(one.frozen_s for one in readings) / max(1.0, sum(one.seconds for one in readings))
    freezes = [one.longest_freeze_s for one in readings]
    return [
        over_seeds(each(lambda one: percentile(one.text, 0.5)), " s", 2),
        over_seeds(each(lambda one: percentile(one.text, 0.99)), " s", 2),
        over_seeds(each(lambda one: max(one.first, default=math.nan)), " s"),
        over_seeds(each(lambda one: max(one.final, default=math.nan)), " s"),
        over_seeds(each(lambda one: one.limited), digits=0),
        over_seeds(each(lambda one: one.incomplete), digits=0),
        over_seeds(each(lambda one: one.live), digits=0),
        over_seeds(each(lambda one: one.calls), digits=0),
        f"{sum(one.characters_per_s for one in readings) / max(1, len(readings)):.0f}",
        " / ".join(f"{percentile(seconds, share):.0f}" for share in (0.05, 0.5, 0.95)),
        f"{percentile(freezes, 0.5):.1f} / {max(freezes, default=math.nan):.1f} s",
        f"{frozen:.0%}",
        f"{percentile(jumps, 0.5):.0f} / {percentile(jumps, 0.99):.0f}" if jumps else "none",
    ]


ROWS = (
    "age of the newest text p50",
    "age of the newest text p99",
    "first words of the last turn",
    "last end shown, after its turn's",
    "rate-limit answers",
    "cards without all their text",
    "cards left live",
    "calls",
    "a reader: characters a second",
    "a reader: characters in each second, p5 / p50 / p95",
    "a reader: longest freeze, p50 / worst",
    "a reader: share of the time frozen",
    "a reader: characters at once, p50 / p99",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, nargs="+", default=[10, 40, 100, 200])
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each turn")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--round-trip", type=float, default=ROUND_TRIP_S, help="in seconds")
    parser.add_argument("--only", choices=CONTESTANTS, nargs="+", default=CONTESTANTS)
    parsed = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    words = PER_SECOND * len(TOKEN)
    print(
        f"{parsed.seconds:g} s each, {PER_SECOND} tokens ({words} characters) a second;"
        f" round trip {parsed.round_trip * 1000:.0f} ms, virtual time, {parsed.seeds} seed(s)"
    )
    for turns in parsed.turns:
        columns = []
        for name in parsed.only:
            outcomes = [
                run(name, turns, parsed.seconds, parsed.round_trip, seed)
                for seed in range(1, parsed.seeds + 1)
            ]
            columns.append(figures(outcomes))
        print(f"\n| {turns} turns | " + " | ".join(parsed.only) + " |")
        print("|---" * (len(parsed.only) + 1) + "|")
        for row, values in zip(ROWS, zip(*columns, strict=True), strict=True):
            print(f"| {row} | " + " | ".join(values) + " |", flush=True)


if __name__ == "__main__":
    main()

"""What a team sees while many turns stream: ours, and two others on the same load.

Each contestant has a platform of its own that enforces its limits exactly, and streams
the same turns, which begin and end together. The others are what is commonly done: a
fixed pause of 800 ms for each card with whole-card updates, and lark-oapi's own channel
with its Markdown stream; they are given the same text by a pipe, token by token. One
table has all sizes; each run ends in a time of its own or counts as one that did not.

The age of the newest text on a card is asked of every turn once a second, of those whose card
was opened at all. A run counts where its generator kept to its times: what a bot could not
show by then is its result.

``python -m bench.cards --turns 100 --runs 10`` judges ten runs of larkd alone by the goals.
With ``--fault`` the platform of larkd meets what it is to miss a goal by.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import trio

from actors.proxies.client import ProxySettings, ProxyTurn, open_proxy
from bench.feeding import Sent, feed, other_bot, platform_only
from bench.goals import COLUMNS, NEVER_S, Contestant, Figures, missed_by, shown, side_by_side
from bench.loopback import Loopback, open_loopback, percentile
from bench.other_bots import OPENED_WITHIN_S, Begun, Over, Task
from bench.policies import CREATE_EVERY_S, TURNS_A_PROCESS
from bench.streaming import TOKEN, TOKENS, Load, begin_turn, wait_cards

SETTLE_S = 20.0
"""After the end of the turns, before what is still live counts as left, of all three."""
BESIDE_S, BESIDE_TURN_S = 60.0, 0.3
"""Of a run, beside its turns: processes, sessions, settling and reading the record; the others
open their cards besides. So ten runs of 60 s and 100 turns end within 25 minutes, whatever
happens."""
LIMITED = (99991400, 230020, 11232)
CONTESTANTS = ("larkd", "fixed 800 ms", "lark-oapi's channel")


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One load: all that it is made of."""

    turns: int
    rate: float
    seconds: float
    faults: list[dict[str, Any]] = []
    """Rules for the platform of larkd, as its ``POST faults`` takes them."""

    def within_s(self, name: str) -> float:
        opening_s = 0.0 if name == "larkd" else OPENED_WITHIN_S + SETTLE_S
        return self.seconds + BESIDE_S + self.turns * BESIDE_TURN_S + opening_s


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, nargs="+", default=[10, 40, 100, 200])
    parser.add_argument("--rate", type=float, default=50.0, help="tokens a second and turn")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each turn")
    parser.add_argument("--only", choices=CONTESTANTS, nargs="+", default=CONTESTANTS)
    parser.add_argument("--runs", type=int, help="larkd alone, so often, judged by its goals")
    parser.add_argument("--fault", type=json.loads, action="append", default=[], help="JSON")
    parsed = parser.parse_args()
    loads = [
        Run(turns=turns, rate=parsed.rate, seconds=parsed.seconds, faults=parsed.fault)
        for turns in parsed.turns
    ]
    if parsed.runs is not None:
        return await judge(loads, parsed.runs)
    return await compare(loads, parsed.only)


async def compare(loads: list[Run], names: list[str]) -> int:
    """Print one table of all sizes; return 1 where a valid run of larkd missed a goal."""
    columns: list[Contestant] = []
    for load in loads:
        for name in names:
            figures = await within(load, name)
            columns.append(
                Contestant(turns=load.turns, name=name, figures=figures, is_judged=name == "larkd")
            )
            _progress(f"{load.turns} turns, {name}: {columns[-1].verdict()}")
    print(f"{loads[0].rate:g} tokens/s, {loads[0].seconds:g} s each\n")
    print(side_by_side(columns))
    for one in columns:
        if one.is_judged and one.figures is not None:
            by_api = ", ".join(f"{count:,} {api}" for api, count in one.figures.by_api.items())
            print(f"\n{one.turns} turns, calls of {one.name}: {by_api}")
    return int(any(one.verdict().startswith("MISSED") for one in columns))


async def judge(loads: list[Run], runs: int) -> int:
    """Run larkd again and again; return 1 unless every run was valid and reached every goal."""
    missed: list[str] = []
    for load in loads:
        print(f"\n{load.turns} turns, {load.rate:g} tokens/s, {load.seconds:g} s each; {runs} runs")
        print("| run | " + " | ".join(name for name, _, _ in COLUMNS) + " | goals |")
        print("|---" * (len(COLUMNS) + 2) + "|", flush=True)
        for number in range(1, runs + 1):
            _progress(f"run {number} of {runs}")
            figures = await within(load, "larkd")
            failed = missed_by(figures, load.turns)
            verdict = "reached" if not failed else "MISSED: " + "; ".join(failed)
            print(f"| {number} | " + " | ".join([*shown(figures), verdict]) + " |", flush=True)
            missed += [f"run {number} of {load.turns} turns: {one}" for one in failed]
    print("\n" + ("\n".join(missed) or "every run reached every goal"))
    return 1 if missed else 0


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def within(load: Run, name: str) -> Figures | None:
    """Make one run; None: it, or a step of it, took too long."""
    figures: Figures | None = None
    with trio.move_on_after(load.within_s(name)):
        try:
            figures = await (ours(load) if name == "larkd" else others(name, load))
        except* trio.TooSlowError:
            pass
    return figures


async def ours(run: Run) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        async with open_loopback(Path(folder)) as loopback:
            boss = ProxySettings(session_id="boss", state_dir=loopback.state_dir, role="dispatcher")
            load = Together(run.rate, run.seconds)
            chats = await loopback.chats(run.turns)
            async with open_proxy(boss) as load.boss, trio.open_nursery() as agents:
                for number, chat_id in enumerate(chats):
                    await begin_turn(loopback, agents, load, number, chat_id)
                await wait_cards(loopback, run.turns)
                before = (await loopback.get("calls"))[-1]["n"]
                for fault in run.faults:
                    await loopback.post("faults", **fault)
                cpu_s = loopback.daemon.cpu_s()
                load.go.set()
                await load.stream(run.turns)
                await _settled(loopback)
                cpu_s = loopback.daemon.cpu_s() - cpu_s
                agents.cancel_scope.cancel()
            sent = Sent(
                chats=chats,
                began_ms=min(load.first_text_ms.values()),
                tokens=load.sent,
                ended_ms=load.ended_ms,
                lag_s=load.lag_s(),
            )
            figures = await figures_of(loopback, run, sent, before, _has_ended)
            figures.cpu_s = cpu_s
            return figures


class Together(Load):
    """One task for the text of all turns: one for each would wake 10,000 times a second for 200."""

    def __init__(self, rate: float, seconds: float) -> None:
        super().__init__(rate, seconds)
        self._turns: list[ProxyTurn] = []
        self._over = trio.Event()

    async def _stream(self, turn: ProxyTurn) -> None:
        self._turns.append(turn)
        await self._over.wait()

    async def stream(self, turns: int) -> None:
        """Send each of so many turns its tokens at their rate; then they end."""
        while len(self._turns) < turns:
            await trio.sleep(0.01)
        began = trio.current_time()
        began_ms = time.time() * 1000
        for number in range(int(self.rate * self.seconds)):
            due = began + number / self.rate
            await trio.sleep_until(due)
            self.lags_s.append(trio.current_time() - due)
            for turn in self._turns:
                chat_id = turn.deliver.chat_id
                self.first_text_ms.setdefault(chat_id, began_ms)
                await turn.send(TOKENS[number % len(TOKENS)])
                self.sent[chat_id] = number + 1
            self.deltas += len(self._turns)
        await trio.sleep_until(began + self.seconds)
        self._over.set()


async def _settled(loopback: Loopback) -> None:
    """Wait until no card is live any more, as long as one may take."""
    with trio.move_on_after(SETTLE_S):
        while not all(map(_has_ended, (await loopback.get("state"))["cards"])):
            await trio.sleep(1)


async def others(name: str, run: Run) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        async with (
            open_loopback(Path(folder)) as loopback,
            platform_only(loopback) as (app_id, secret),
        ):
            is_channel = name == "lark-oapi's channel"
            chats = await loopback.chats(run.turns)
            processes = math.ceil(run.turns / TURNS_A_PROCESS)
            async with AsyncExitStack() as stack:
                bots = []
                for first in range(processes):
                    task = Task(
                        base_url=loopback.base_url,
                        app_id=app_id,
                        secret=secret,
                        is_channel=is_channel,
                        chats=chats[first::processes],
                        create_every_s=CREATE_EVERY_S * processes,
                    )
                    bots.append(await stack.enter_async_context(other_bot(task)))
                    await trio.sleep(CREATE_EVERY_S)
                for bot in bots:
                    msgspec.json.decode(await anext(bot.output), type=Begun)
                before = (await loopback.get("calls"))[-1]["n"]
                cpu_s = sum(bot.process.cpu_s() for bot in bots)
                sent = await feed(bots, run.rate, run.seconds)
                with trio.move_on_after(SETTLE_S):
                    for bot in bots:
                        msgspec.json.decode(await anext(bot.output), type=Over)
                cpu_s = sum(bot.process.cpu_s() for bot in bots) - cpu_s
            ended = _is_closed if is_channel else _has_ended
            figures = await figures_of(loopback, run, sent, before, ended)
            figures.cpu_s = cpu_s
            return figures


# ── the platform's record ───────────────────────────────────────────────────

History = list[tuple[float, int]]
"""When, in wall milliseconds, and how many tokens stood on a card from then on."""


async def figures_of(
    loopback: Loopback,
    run: Run,
    sent: Sent,
    before: int,
    has_ended: Callable[[dict[str, Any]], bool],
) -> Figures:
    """Compare the platform's record with what was really sent, since call *before*."""
    recorded = await loopback.get("calls")
    calls = [call for call in recorded if call["n"] > before]
    state = await loopback.get("state")
    chat_of = {one["card_id"]: one["chat_id"] for one in state["messages"] if one["card_id"]}
    histories: dict[str, list[History]] = defaultdict(list)
    whole: dict[str, int] = defaultdict(int)
    final_ms: dict[str, float] = {}
    live = 0
    for card in state["cards"]:
        chat_id = chat_of.get(card["card_id"], card["card_id"])
        history = await loopback.get(f"cards/{card['card_id']}/history")
        histories[chat_id].append([(one["at_ms"], _tokens(one)) for one in history])
        whole[chat_id] += _tokens(card["card"])
        if not has_ended(card):
            live += 1
        elif history:
            final_ms[chat_id] = max(final_ms.get(chat_id, 0.0), history[-1]["at_ms"])
    opened = [chat_id for chat_id in sent.chats if chat_id in histories]
    stale = [
        age
        for chat_id in opened
        for age in _staleness(histories[chat_id], sent.began_ms, run.rate, run.seconds)
    ]
    finals = [
        (final_ms[chat_id] - ended_ms) / 1000
        for chat_id, ended_ms in sent.ended_ms.items()
        if chat_id in final_ms
    ]
    meant = int(run.rate * run.seconds * 0.98)
    deltas = sum(sent.tokens.values())
    return Figures(
        turns=run.turns,
        calls=len(calls),
        megabytes=sum(len(json.dumps(call["request"])) for call in calls) / 1e6,
        limited=sum(call["code"] in LIMITED for call in calls),
        opened=len(opened),
        stale_p50_s=percentile(stale, 0.5) if stale else NEVER_S,
        stale_p99_s=percentile(stale, 0.99) if stale else NEVER_S,
        first_words_s=max(_first_words_s(histories[one], sent.began_ms) for one in sent.chats),
        final_p50_s=percentile(finals, 0.5) if finals else NEVER_S,
        final_s=max(finals, default=NEVER_S),
        by_api=dict(
            Counter(f"{call['method']} {call['template']}" for call in calls).most_common(6)
        ),
        incomplete=sum(whole[one] < sent.tokens.get(one, meant) for one in sent.chats),
        live=live,
        deltas=deltas,
        lag_s=sent.lag_s,
        share=deltas / (run.rate * run.seconds * max(1, len(sent.tokens))),
        is_record_full=recorded[0]["n"] > before + 1,
    )


def _tokens(shown: Any) -> int:
    return json.dumps(shown).count(TOKEN)


def _first_words_s(histories: list[History], began_ms: float) -> float:
    first = [at_ms for history in histories for at_ms, count in history if count]
    return (min(first) - began_ms) / 1000 if first else NEVER_S


def _staleness(
    histories: list[History], began_ms: float, rate: float, seconds: float
) -> list[float]:
    """Ask each second how old the newest text of a turn is, over all its cards."""
    samples = []
    for second in range(2, int(seconds)):
        now_ms = began_ms + second * 1000
        tokens = sum(
            max((count for at_ms, count in history if at_ms <= now_ms), default=0)
            for history in histories
        )
        samples.append(max(0.0, second - tokens / rate))
    return samples


def _is_closed(card: dict[str, Any]) -> bool:
    """Out of streaming mode, which is the end of a card of lark-oapi's channel."""
    return not card["streaming"]


def _has_ended(card: dict[str, Any]) -> bool:
    """Out of streaming mode, and with the mark of its end."""
    text = json.dumps(card["card"])
    ended = ("Done", "[end]", "Stopped", "Continued below")
    return _is_closed(card) and any(mark in text for mark in ended)


if __name__ == "__main__":
    raise SystemExit(trio.run(main))

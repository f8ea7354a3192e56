"""How well turns stream: N sessions, each with a turn at R tokens a second, over real TCP.

The sandbox platform and the daemon run as processes of their own; this one is the
agents. The platform enforces its rate limits, as the real one does.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import trio

from actors.proxies.client import Proxy, ProxySettings, ProxyTurn, open_proxy
from bench.loopback import Loopback, open_loopback, percentile, table

TOKEN = "token"
TOKENS = [f"{TOKEN}{number} " for number in range(10)]
"""Sent in turn. None is like the one before: lark-oapi's channel leaves out what repeats
the end of its text."""
LAG_S_MAX = 0.25
SENT_SHARE_MIN = 0.95


def validity(lag_s: float, share: float) -> list[tuple[str, str]]:
    """Return two rows: how far a generator lagged, and whether its run counts."""
    lagged = lag_s > LAG_S_MAX or share < SENT_SHARE_MIN
    return [
        (
            "generator's lag p99, tokens sent of those intended",
            f"{lag_s * 1000:.0f} ms, {share:.0%}",
        ),
        ("run", "NOT VALID: the generator lagged" if lagged else "valid"),
    ]


class Load:
    """What the agents did, by their own clock (milliseconds of wall time)."""

    def __init__(self, rate: float, seconds: float) -> None:
        self.rate = rate
        self.seconds = seconds
        self.deltas = 0
        self.sent: dict[str, int] = {}
        """Tokens that were really sent, by chat: what cards are compared with."""
        self.lags_s: list[float] = []
        """How late each token was sent: how far this process lagged."""
        self.first_text_ms: dict[str, float] = {}
        self.ended_ms: dict[str, float] = {}
        self.go = trio.Event()
        self.boss: Proxy | None = None
        """The dispatcher."""

    async def run(self, proxy: Proxy, opened: trio.Event) -> None:
        async for turn in proxy.turns():
            async with turn:
                opened.set()
                await self.go.wait()
                await self._stream(turn)
                await turn.end("complete")
                self.ended_ms[turn.deliver.chat_id] = time.time() * 1000
            return

    def lag_s(self) -> float:
        """Return how late the generator sent its tokens, p99."""
        return percentile(self.lags_s, 0.99)

    def validity(self) -> list[tuple[str, str]]:
        """Return how far the generator lagged, and whether the run counts at all."""
        intended = self.rate * self.seconds * max(1, len(self.sent))
        return validity(self.lag_s(), self.deltas / intended)

    async def _stream(self, turn: ProxyTurn) -> None:
        until = trio.current_time() + self.seconds
        next_at = trio.current_time()
        chat_id = turn.deliver.chat_id
        self.first_text_ms[chat_id] = time.time() * 1000
        while trio.current_time() < until:
            self.lags_s.append(trio.current_time() - next_at)
            sent = self.sent.get(chat_id, 0)
            await turn.send(TOKENS[sent % len(TOKENS)])
            self.deltas += 1
            self.sent[chat_id] = sent + 1
            next_at += 1 / self.rate
            await trio.sleep_until(next_at)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=100)
    parser.add_argument("--rate", type=float, default=50.0, help="tokens a second and turn")
    parser.add_argument("--seconds", type=float, default=15.0, help="length of each turn")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        async with open_loopback(Path(folder)) as loopback:
            rows = await measure(loopback, parsed.turns, Load(parsed.rate, parsed.seconds))
    table(rows)


async def measure(loopback: Loopback, turns: int, load: Load) -> list[tuple[str, str]]:
    idle_mb = loopback.daemon.rss_mb()
    boss = ProxySettings(session_id="boss", state_dir=loopback.state_dir, role="dispatcher")
    async with open_proxy(boss) as load.boss, trio.open_nursery() as agents:
        for number, chat_id in enumerate(await loopback.chats(turns)):
            await begin_turn(loopback, agents, load, number, chat_id)
        await wait_cards(loopback, turns)
        calls_before = len(await loopback.get("calls"))
        cpu, started = loopback.daemon.cpu_s(), trio.current_time()
        load.go.set()
        await trio.sleep(load.seconds)
        took_s = trio.current_time() - started
        cpu_s = loopback.daemon.cpu_s() - cpu
        await _wait_final(loopback, turns)
        agents.cancel_scope.cancel()
    return await _rows(loopback, load, turns, took_s, cpu_s, calls_before, idle_mb)


async def begin_turn(
    loopback: Loopback, agents: trio.Nursery, load: Load, number: int, chat_id: str
) -> None:
    """Put a chat on a session of its own, and have it begin a turn."""
    opened = trio.Event()
    await agents.start(_agent, loopback, f"agent-{number}", load, opened)
    # Whoever may write may not command: so the channel is handed over, not the chat.
    assert load.boss is not None
    await load.boss.call_tool("feishu_channel_acquire", {"session_id": f"agent-{number}"})
    await loopback.post("send", chat_id=chat_id, text="go")
    with trio.fail_after(10):
        await opened.wait()


async def _agent(
    loopback: Loopback,
    name: str,
    load: Load,
    opened: trio.Event,
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    settings = ProxySettings(session_id=name, state_dir=loopback.state_dir)
    async with open_proxy(settings) as proxy:
        task_status.started()
        await load.run(proxy, opened)
        await trio.sleep_forever()


async def wait_cards(loopback: Loopback, count: int) -> None:
    with trio.fail_after(60):
        while sum(bool(card["message_id"]) for card in await _cards(loopback)) < count:
            await trio.sleep(0.2)


async def _wait_final(loopback: Loopback, count: int) -> None:
    with trio.fail_after(60):
        while sum(not card["streaming"] for card in await _cards(loopback)) < count:
            await trio.sleep(0.2)


async def _cards(loopback: Loopback) -> list[dict[str, Any]]:
    cards: list[dict[str, Any]] = (await loopback.get("state"))["cards"]
    return cards


async def _rows(  # noqa: PLR0913  # the figures of one run
    loopback: Loopback,
    load: Load,
    turns: int,
    took_s: float,
    cpu_s: float,
    calls_before: int,
    idle_mb: float,
) -> list[tuple[str, str]]:
    state = await loopback.get("state")
    chat_of = {m["card_id"]: m["chat_id"] for m in state["messages"] if m["card_id"]}
    first: list[float] = []
    final: list[float] = []
    for card in state["cards"]:
        history = await loopback.get(f"cards/{card['card_id']}/history")
        chat_id = chat_of[card["card_id"]]
        first_at = next((h["at_ms"] for h in history if TOKEN in json.dumps(h)), None)
        if first_at is not None:
            first.append(first_at - load.first_text_ms[chat_id])
        done = next((h["at_ms"] for h in history if not h["streaming"]), None)
        if done is not None:
            final.append(done - load.ended_ms[chat_id])
    calls = (await loopback.get("calls"))[calls_before:]
    codes: dict[int, int] = defaultdict(int)
    for call in calls:
        codes[call["code"]] += 1
    limited = codes.get(99991400, 0) + codes.get(230020, 0)
    shown: dict[str, int] = defaultdict(int)
    for card in state["cards"]:
        shown[chat_of[card["card_id"]]] += json.dumps(card["card"]).count(TOKEN)
    whole = sum(shown[chat_id] >= sent for chat_id, sent in load.sent.items())
    lag, valid = load.validity()
    rows = [
        ("turns x tokens/s x seconds", f"{turns} x {load.rate:g} x {load.seconds:g}"),
        ("deltas/s sustained", f"{load.deltas / took_s:,.0f}"),
        ("daemon CPU s per 1,000 deltas", f"{cpu_s / load.deltas * 1000:.3f}"),
        ("daemon CPU share of one core", f"{cpu_s / took_s:.0%}"),
        ("platform calls per turn", f"{len(calls) / turns:.1f}"),
        ("rate-limit answers", str(limited)),
        (
            "first text p50 / p99",
            f"{percentile(first, 0.5):.0f} / {percentile(first, 0.99):.0f} ms",
        ),
        (
            "final state p50 / p99",
            f"{percentile(final, 0.5):.0f} / {percentile(final, 0.99):.0f} ms",
        ),
        ("cards left live", str(sum(card["streaming"] for card in state["cards"]))),
        ("cards with all the text that was sent", f"{whole} of {len(load.sent)}"),
    ]
    if valid[1] != "valid":  # then its own speed was measured
        rows = [(name, "not valid") for name, _ in rows]
    return [
        *rows,
        lag,
        valid,
        ("start to listening", f"{loopback.daemon.started_s:.2f} s"),
        ("RSS idle / peak", f"{idle_mb:.0f} / {loopback.daemon.peak_rss_mb():.0f} MB"),
    ]


if __name__ == "__main__":
    trio.run(main)

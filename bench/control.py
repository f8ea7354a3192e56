"""How soon a person is answered while everything streams: commands, and Stop.

Commands are answered beside the turns, so 20 streaming turns must not slow them; and a
stop word must show *Stopped* within a second with 100 of them, whatever the agent does:
these agents ignore it. The platform enforces its limits, so the answers of one chat are
asked for at the pace the platform allows.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import trio

from actors.proxies.client import ProxySettings, open_proxy
from bench.loopback import Loopback, open_loopback, percentile, table
from bench.streaming import LAG_S_MAX, Load, begin_turn, wait_cards

ANSWER_MS_MAX = 100
STOPPED_MS_MAX = 1_000
BETWEEN_S = 0.25
"""A chat takes five messages a second."""


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=100)
    parser.add_argument("--streaming", type=int, default=20, help="turns beside the commands")
    parser.add_argument("--stops", type=int, default=100, help="turns that are stopped")
    parsed = parser.parse_args()
    asking, stopping = Load(50.0, 3_600.0), Load(50.0, 3_600.0)
    with tempfile.TemporaryDirectory() as folder:
        async with open_loopback(Path(folder)) as loopback:
            answers = await measure_commands(loopback, parsed.streaming, parsed.commands, asking)
    with tempfile.TemporaryDirectory() as folder:
        async with open_loopback(Path(folder)) as loopback:
            stops = await measure_stops(loopback, parsed.stops, stopping)
    lag_s = max(asking.lag_s(), stopping.lag_s())
    good = percentile(answers, 0.99) <= ANSWER_MS_MAX and percentile(stops, 0.99) <= STOPPED_MS_MAX
    table(
        [
            (f"command answered, {parsed.streaming} turns streaming", shown(answers)),
            (f"stop to Stopped, {parsed.stops} turns streaming", shown(stops)),
            ("generator's lag p99", f"{lag_s * 1000:.0f} ms"),
            ("verdict", verdict(good=good, lag_s=lag_s)),
        ]
    )
    return 0 if good else 1


def verdict(*, good: bool, lag_s: float) -> str:
    if lag_s > LAG_S_MAX:
        return "NOT VALID: the generator lagged"
    return "as promised" if good else "TOO SLOW"


def shown(times_ms: list[float]) -> str:
    """Return median and p99 of event pushed → message or card at the platform."""
    return f"p50 {percentile(times_ms, 0.5):.0f} ms, p99 {percentile(times_ms, 0.99):.0f} ms"


async def measure_commands(
    loopback: Loopback, turns: int, commands: int, load: Load
) -> list[float]:
    boss = ProxySettings(session_id="boss", state_dir=loopback.state_dir, role="dispatcher")
    async with open_proxy(boss) as load.boss, trio.open_nursery() as agents:
        *chats, asking = await loopback.chats(turns + 1)
        for number, chat_id in enumerate(chats):
            await begin_turn(loopback, agents, load, number, chat_id)
        await wait_cards(loopback, turns)
        load.go.set()
        sent: list[str] = []
        for number in range(commands):
            text = ("/status", "/sessions", "/queue", "/help")[number % 4]
            answer = await loopback.post("send", chat_id=asking, text=text)
            sent.append(answer["message_id"])
            await trio.sleep(BETWEEN_S)
        messages = (await loopback.get("state"))["messages"]
        agents.cancel_scope.cancel()
    asked = {one["message_id"]: one["create_time"] for one in messages}
    answered = {one["parent_id"]: one["create_time"] for one in messages if one["parent_id"]}
    return [answered[message_id] - asked[message_id] for message_id in sent]


async def measure_stops(loopback: Loopback, turns: int, load: Load) -> list[float]:
    boss = ProxySettings(session_id="boss", state_dir=loopback.state_dir, role="dispatcher")
    took: list[float] = []
    async with open_proxy(boss) as load.boss, trio.open_nursery() as agents:
        chats = await loopback.chats(turns)
        for number, chat_id in enumerate(chats):
            await begin_turn(loopback, agents, load, number, chat_id)
        await wait_cards(loopback, turns)
        load.go.set()
        await trio.sleep(2)
        for chat_id in chats:
            sent = await loopback.post("send", chat_id=chat_id, text="stop")
            took.append(await _stopped_after_ms(loopback, chat_id, sent["message_id"]))
        agents.cancel_scope.cancel()
    return took


async def _stopped_after_ms(loopback: Loopback, chat_id: str, message_id: str) -> float:
    """Wait for Stopped on the card of a chat; return when it came, by the platform's clock."""
    with trio.fail_after(30):
        while True:
            state = await loopback.get("state")
            (card_id,) = [
                one["card_id"]
                for one in state["messages"]
                if one["chat_id"] == chat_id and one["card_id"]
            ]
            card: dict[str, Any] = next(one for one in state["cards"] if one["card_id"] == card_id)
            if "Stopped" in json.dumps(card):
                sent_at = next(
                    one["create_time"]
                    for one in state["messages"]
                    if one["message_id"] == message_id
                )
                return float(card["updated_at"] - sent_at)
            await trio.sleep(0.02)


if __name__ == "__main__":
    raise SystemExit(trio.run(main))

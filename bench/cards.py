"""What a team sees while many turns stream: ours, and two others on the same load.

Each contestant has a platform of its own that enforces its limits exactly, and streams
the same turns, which begin and end together. The others are what is commonly done: a
fixed pause of 800 ms for each card with whole-card updates, and lark-oapi's own channel
with its Markdown stream.

Staleness is how old the newest text on a card is, asked of every card once a second.

``python -m bench.cards --turns 100 --runs 10`` judges ten runs of larkd alone by the goals.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from actors.proxies.client import ProxySettings, open_proxy
from bench.goals import COLUMNS, Figures, missed_by, shown
from bench.loopback import Loopback, open_loopback, percentile, table
from bench.streaming import TOKEN, Load, begin_turn, validity, wait_cards

SETTLE_S = 20.0
"""After the end of the turns, before what is still live counts as left."""
BESIDE_S = 70.0
"""Of a judged run, beside its turns: processes, sessions, settling and reading the record. So
ten runs of 60 s end within 25 minutes, whatever happens."""
LIMITED = (99991400, 230020, 11232)

OTHERS = """
import asyncio, json, sys, time
import lark_oapi as lark
from lark_oapi.api.cardkit.v1 import *
from lark_oapi.api.im.v1 import *
base_url, app_id, secret, kind, chats, rate, seconds, token = json.load(sys.stdin)
lark.logger.setLevel(60)
opened, go, started = 0, asyncio.Event(), [0.0]
failed, lags = [], []

async def produce(append):
    global opened
    opened += 1
    await go.wait()
    sent = 0
    while (elapsed := time.time() - started[0]) < seconds:
        due = int(elapsed * rate)
        lags.append(elapsed - sent / rate)
        while sent < due:
            await append(token)
            sent += 1
        await asyncio.sleep(1 / rate)

def card(text, streaming):
    config = {"streaming_mode": streaming, "update_multi": True}
    elements = [{"tag": "markdown", "element_id": "md", "content": text}]
    return json.dumps({"schema": "2.0", "config": config, "body": {"elements": elements}})

async def fixed(client, chat):
    body = CreateCardRequestBody.builder().type("card_json").data(card("...", False)).build()
    request = CreateCardRequest.builder().request_body(body).build()
    made = await client.cardkit.v1.card.acreate(request)
    card_id = made.data.card_id
    content = json.dumps({"type": "card", "data": {"card_id": card_id}})
    body = CreateMessageRequestBody.builder().receive_id(chat).msg_type("interactive")
    body = body.content(content).build()
    request = CreateMessageRequest.builder().receive_id_type("chat_id").request_body(body).build()
    await client.im.v1.message.acreate(request)
    text, sequence, done = "", 0, False
    async def update(final):
        nonlocal sequence
        sequence += 1
        data = card(text + (" [end]" if final else ""), False)
        shown = Card.builder().type("card_json").data(data).build()
        body = UpdateCardRequestBody.builder().card(shown).sequence(sequence)
        body = body.uuid(f"{card_id}-{sequence}").build()
        answer = await client.cardkit.v1.card.aupdate(
            UpdateCardRequest.builder().card_id(card_id).request_body(body).build())
        return answer.code == 0
    async def throttle():
        while not done:
            await asyncio.sleep(0.8)
            await update(False)
    async def append(piece):
        nonlocal text
        text += piece
    task = asyncio.create_task(throttle())
    await produce(append)
    done = True
    await task
    if not await update(True):
        failed.append(card_id)

async def main():
    if kind == "channel":
        from lark_oapi.channel import FeishuChannel
        channel = FeishuChannel(app_id=app_id, app_secret=secret, domain=base_url)
        async def one(chat):
            async def producer(stream):
                await stream.append("... ")
                await produce(stream.append)
            await channel.stream(chat, {"markdown": producer})
        tasks = [asyncio.create_task(one(chat)) for chat in chats]
    else:
        client = lark.Client.builder().app_id(app_id).app_secret(secret).domain(base_url).build()
        tasks = [asyncio.create_task(fixed(client, chat)) for chat in chats]
    until = time.time() + 60
    while opened < len(chats) and time.time() < until and not all(t.done() for t in tasks):
        await asyncio.sleep(0.1)
    started[0] = time.time()
    print("@", started[0], flush=True)
    go.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    print("@", time.process_time(), flush=True)
    lags.sort()
    print("@", lags[int(len(lags) * 0.99)] if lags else 0.0, flush=True)
asyncio.run(main())
"""


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, nargs="+", default=[100])
    parser.add_argument("--rate", type=float, default=50.0, help="tokens a second and turn")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each turn")
    parser.add_argument("--runs", type=int, help="larkd alone, so often, judged by its goals")
    parsed = parser.parse_args()
    if parsed.runs is not None:
        return await judge(parsed.turns, parsed.rate, parsed.seconds, parsed.runs)
    for turns in parsed.turns:
        load = (turns, parsed.rate, parsed.seconds)
        print(f"\n{turns} turns, {parsed.rate:g} tokens/s, {parsed.seconds:g} s each")
        columns = [await ours(*load), await others("fixed", *load), await others("channel", *load)]
        tables = [_rows(one, turns) for one in columns]
        print("| | larkd | fixed 800 ms, whole cards | lark-oapi's channel |")
        print("|---|---|---|---|")
        for (name, value), *rest in zip(*tables, strict=True):
            print(f"| {name} | " + " | ".join([value, *(other for _, other in rest)]) + " |")
        table([(f"  {api}", f"{count:,}") for api, count in columns[0].by_api.items()])
    return 0


async def judge(turns: list[int], rate: float, seconds: float, runs: int) -> int:
    """Run larkd again and again; return 1 unless every run was valid and reached every goal."""
    missed: list[str] = []
    for count in turns:
        print(f"\n{count} turns, {rate:g} tokens/s, {seconds:g} s each; {runs} runs")
        print("| run | " + " | ".join(name for name, _, _ in COLUMNS) + " | goals |")
        print("|---" * (len(COLUMNS) + 2) + "|", flush=True)
        for number in range(1, runs + 1):
            figures = await _within(seconds + BESIDE_S, count, rate, seconds)
            failed = missed_by(figures, count)
            verdict = "reached" if not failed else "MISSED: " + "; ".join(failed)
            print(f"| {number} | " + " | ".join([*shown(figures), verdict]) + " |", flush=True)
            missed += [f"run {number} of {count} turns: {one}" for one in failed]
    print("\n" + ("\n".join(missed) or "every run reached every goal"))
    return 1 if missed else 0


async def _within(limit_s: float, turns: int, rate: float, seconds: float) -> Figures | None:
    """Make one run; None: it, or a step of it, took too long."""
    figures: Figures | None = None
    with trio.move_on_after(limit_s):
        try:
            figures = await ours(turns, rate, seconds)
        except* trio.TooSlowError:
            pass
    return figures


def _rows(figures: Figures, turns: int) -> list[tuple[str, str]]:
    """Return what is shown of one contestant; where its generator lagged, only that."""
    lag, valid = figures.validity
    rows = [
        ("calls a turn", f"{figures.calls / turns:,.1f}"),
        ("sent a turn", f"{figures.megabytes * 1000 / turns:,.0f} kB"),
        ("rate-limit answers", f"{figures.limited:,}"),
        ("staleness p50 / p99", f"{figures.stale_p50_s:.1f} / {figures.stale_p99_s:.1f} s"),
        ("first words of all", f"{figures.first_words_s:.1f} s"),
        ("last end shown", f"{figures.final_s:.1f} s"),
        ("cards without all their text", str(figures.incomplete)),
        ("cards left live", str(figures.live)),
        ("CPU a turn", f"{figures.cpu_s * 1000 / turns:,.0f} ms"),
    ]
    if valid[1] != "valid":
        rows = [(name, "not valid") for name, _ in rows]
    return [*rows, lag, valid]


async def ours(turns: int, rate: float, seconds: float) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        async with open_loopback(Path(folder)) as loopback:
            boss = ProxySettings(session_id="boss", state_dir=loopback.state_dir, role="dispatcher")
            load = Load(rate, seconds)
            async with open_proxy(boss) as load.boss, trio.open_nursery() as agents:
                for number, chat_id in enumerate(await loopback.chats(turns)):
                    await begin_turn(loopback, agents, load, number, chat_id)
                await wait_cards(loopback, turns)
                before = (await loopback.get("calls"))[-1]["n"]
                cpu_s = loopback.daemon.cpu_s()
                load.go.set()
                await trio.sleep(seconds)
                await _settled(loopback)
                cpu_s = loopback.daemon.cpu_s() - cpu_s
                started_ms = min(load.first_text_ms.values())
                agents.cancel_scope.cancel()
            figures = await figures_of(loopback, started_ms, rate, seconds, before, load)
            figures.cpu_s = cpu_s
            return figures


async def _settled(loopback: Loopback) -> None:
    """Wait until no card is live any more, as long as one may take."""
    with trio.move_on_after(SETTLE_S):
        while any(_looks_live(card) for card in (await loopback.get("state"))["cards"]):
            await trio.sleep(1)


async def others(kind: str, turns: int, rate: float, seconds: float) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        async with open_loopback(Path(folder)) as loopback, _platform_only(loopback) as app:
            chats = await loopback.chats(turns)
            process = await trio.lowlevel.open_process(
                [sys.executable, "-c", OTHERS],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            assert process.stdin is not None
            assert process.stdout is not None
            given = [loopback.base_url, *app, kind, chats, rate, seconds, TOKEN]
            await process.stdin.send_all(json.dumps(given).encode())
            await process.stdin.aclose()
            output = b""
            with trio.fail_after(seconds + 180):
                while not _marked(output):  # their library prints, too
                    output += await process.stdout.receive_some(1024)
                before = (await loopback.get("calls"))[-1]["n"]
                while chunk := await process.stdout.receive_some(1024):
                    output += chunk
                await process.wait()
            started_s, cpu_s, lag_s = _marked(output)
            figures = await figures_of(loopback, started_s * 1000, rate, seconds, before)
            figures.cpu_s, figures.validity = cpu_s, validity(lag_s, 1.0)
            return figures


def _marked(output: bytes) -> list[float]:
    lines = output.split(b"\n")[:-1]
    return [float(line[1:]) for line in lines if line.startswith(b"@")]


@asynccontextmanager
async def _platform_only(loopback: Loopback) -> AsyncIterator[tuple[str, str]]:
    """End the daemon; the platform stays for another bot. Gives the app's id and secret."""
    loopback.daemon.process.terminate()
    await loopback.daemon.process.wait()
    config = json.loads((loopback.state_dir.parent / "config.json").read_text())
    options = config["channels"][0]["options"]
    yield options["appId"], options["appSecret"]


async def figures_of(
    loopback: Loopback,
    started_ms: float,
    rate: float,
    seconds: float,
    before: int,
    load: Load | None = None,
) -> Figures:
    """Read the platform's record. *load* is what was really sent, where that is known."""
    calls = [call for call in await loopback.get("calls") if call["n"] > before]
    state = await loopback.get("state")
    chat_of = {one["card_id"]: one["chat_id"] for one in state["messages"] if one["card_id"]}
    shown: dict[str, list[list[tuple[float, int]]]] = defaultdict(list)
    whole: dict[str, int] = defaultdict(int)
    live = 0
    for card in state["cards"]:
        chat_id = chat_of.get(card["card_id"], card["card_id"])
        history = await loopback.get(f"cards/{card['card_id']}/history")
        shown[chat_id].append([(one["at_ms"], _tokens(one)) for one in history])
        whole[chat_id] += _tokens(card["card"])
        live += _looks_live(card)
    stale = [
        age for cards in shown.values() for age in _staleness(cards, started_ms, rate, seconds)
    ]
    wanted = defaultdict(lambda: int(rate * seconds * 0.98), load.sent if load else {})
    first_ms = [
        min((at_ms for history in cards for at_ms, count in history if count), default=started_ms)
        for cards in shown.values()
    ]
    final_ms = max(at_ms for cards in shown.values() for one in cards for at_ms, _ in one[-1:])
    ended_ms = max(load.ended_ms.values()) if load and load.ended_ms else final_ms
    apis = Counter(f"{call['method']} {call['template']}" for call in calls)
    return Figures(
        calls=len(calls),
        megabytes=sum(len(json.dumps(call["request"])) for call in calls) / 1e6,
        limited=sum(call["code"] in LIMITED for call in calls),
        stale_p50_s=percentile(stale, 0.5),
        stale_p99_s=percentile(stale, 0.99),
        first_words_s=(max(first_ms, default=started_ms) - started_ms) / 1000,
        final_s=(final_ms - ended_ms) / 1000,
        by_api=dict(apis.most_common(6)),
        validity=load.validity() if load else [],
        incomplete=sum(count < wanted[chat_id] for chat_id, count in whole.items()),
        live=live,
    )


def _tokens(shown: Any) -> int:
    return json.dumps(shown).count(TOKEN.strip())


def _staleness(
    cards: list[list[tuple[float, int]]], started_ms: float, rate: float, seconds: float
) -> list[float]:
    """Ask each second how old the newest text of a turn is, over all its cards."""
    samples = []
    for second in range(2, int(seconds)):
        now_ms = started_ms + second * 1000
        tokens = sum(
            max((count for at_ms, count in history if at_ms <= now_ms), default=0)
            for history in cards
        )
        samples.append(max(0.0, second - tokens / rate))
    return samples


def _looks_live(card: dict[str, Any]) -> bool:
    """Streaming, or, without streaming mode, without the mark of its end."""
    text = json.dumps(card["card"])
    ended = ("Done", "[end]", "Stopped", "Continued below")
    return bool(card["streaming"]) or not any(mark in text for mark in ended)


if __name__ == "__main__":
    raise SystemExit(trio.run(main))

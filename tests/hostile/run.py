"""One seed: everybody hostile beside those who only want to work, who notice nothing."""

from __future__ import annotations

import json
import random
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import trio

from tests.daemon.test_wire import resident_bytes
from tests.hostile.chat import HostileUser
from tests.hostile.honest import HonestProxy, answer_to, ask_status, write_and_wait
from tests.kit import preloaded
from tests.kit.daemon import Daemon, Platform, environment, open_daemon, open_platform
from tests.kit.ports import free_port
from tests.kit.raw_proxy import Map, RawProxy, session

AGENT = Path(__file__).parent / "agent.py"
MEMORY_MAX = 100 * 1024 * 1024
SAMPLE_EVERY_S = 0.05
EACH_WITHIN_S = 120.0


class Report(msgspec.Struct, kw_only=True):
    """What happened, for whoever reads a failure."""

    answered: int = 0
    commands: int = 0
    attacks: int = 0
    acts: int = 0
    prompts_of_agent: int = 0
    memory_mb: float = 0.0


async def run(seed: int, seconds: float, root: Path) -> Report:
    """Run for so long.

    Raises:
        AssertionError: somebody honest noticed, or the daemon did not hold.
    """
    rng = random.Random(seed)
    state_dir = root / "state"
    report = Report()
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(open_platform())
        alice, mallory = await platform.chat(), await platform.chat(name="Mallory")
        lab = await platform.chat("group", "Lab")
        ports = (free_port(), free_port())
        options = {
            "admins": alice["members"],
            "metrics": {"host": "127.0.0.1", "port": ports[0]},
            "console": {"host": "127.0.0.1", "port": ports[1]},
            "agents": {
                "hostile": {"command": [sys.executable, str(AGENT), str(seed)], "cwd": str(root)}
            },
        }
        daemon = await stack.enter_async_context(open_daemon(platform, state_dir, **options))
        boss = await stack.enter_async_context(session(state_dir, "boss", "dispatcher"))
        sink = await stack.enter_async_context(session(state_dir, "sink"))
        await platform.send(mallory, "/use sink")
        await _bot_wrote(platform, mallory, "Switched to sink")
        turns = root / "turns"
        turns.touch()
        honest = HonestProxy(boss, alice["chat_id"], turns)
        users = [
            HostileUser(_child(rng), platform, mallory, mallory["members"][0]),
            HostileUser(_child(rng), platform, lab, "ou_nobody_knows"),
        ]
        written: list[str] = []
        async with trio.open_nursery() as nursery:
            await nursery.start(honest.run)
            nursery.start_soon(HonestProxy(sink, "", turns).run)
            nursery.start_soon(_watch_memory, daemon, report)
            with trio.CancelScope() as hostile:
                async with trio.open_nursery() as beside:
                    over = trio.Event()
                    beside.start_soon(_attack, seed, state_dir, turns, ports, report, over)
                    for user in users:
                        beside.start_soon(user.run)
                    beside.start_soon(_drive_agent, platform, alice, lab, report)
                    async with trio.open_nursery() as working:
                        working.start_soon(write_and_wait, platform, alice, honest, over, written)
                        working.start_soon(_ask_status, state_dir, over, report)
                        await trio.sleep(seconds)
                        await _each_was_at_it(written, report, users)
                        over.set()
                    hostile.cancel()
            nursery.cancel_scope.cancel()
        report.answered = len(written)
        report.acts = sum(one.acts for one in users)
        await _check(platform, daemon, written, boss)
    assert report.memory_mb * 1024 * 1024 < MEMORY_MAX, report
    return report


async def _each_was_at_it(written: list[str], report: Report, users: list[HostileUser]) -> None:
    """A slow machine takes more than its time until everybody has done something."""
    with trio.fail_after(EACH_WITHIN_S):
        while len(written) < 2 or not report.commands or not any(one.acts for one in users):
            await trio.sleep(SAMPLE_EVERY_S)


async def _ask_status(state_dir: Path, over: trio.Event, report: Report) -> None:
    async for asked in ask_status(state_dir, over):
        report.commands = asked


async def _attack(  # a process of its own, so that nobody waits for it here
    seed: int,
    state_dir: Path,
    turns: Path,
    ports: tuple[int, ...],
    report: Report,
    over: trio.Event,
) -> None:
    arguments = [str(seed), str(state_dir), str(turns), *map(str, ports)]
    process = await preloaded.start("tests.hostile", arguments, environment(), stdin=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        await over.wait()
        await process.stdin.aclose()
        counted = b""
        async for chunk in process.stdout:
            counted += chunk
        report.attacks = int(counted)
    finally:
        process.kill()
        with trio.move_on_after(60, shield=True):
            await process.wait()
            process.close()


async def _check(platform: Platform, daemon: Daemon, written: list[str], boss: RawProxy) -> None:
    cards = await platform.wait_cards(len(written), "honest", "Done · ")
    shown = [json.dumps(one["card"], ensure_ascii=False) for one in cards]
    for text in written:
        whole = json.dumps(answer_to(text).rstrip(), ensure_ascii=False)[1:-1]
        assert sum(whole in one for one in shown) == 1, text
    assert all("NOT WHAT BOSS WROTE" not in one for one in shown)
    messages = (await platform.get("state"))["messages"]
    for one in messages:
        if one["sender"]["type"] == "app" and one["msg_type"] == "text":
            assert "<at" not in one["content"].lower().replace("&lt;", "<"), one
    assert daemon.process.returncode is None
    log = await daemon.log()
    assert "Traceback" not in log, log[log.index("Traceback") - 3_000 :][:6_000]
    assert "crash" not in log, log[log.index("crash") - 2_000 :][:4_000]
    await boss.barrier()


async def _watch_memory(daemon: Daemon, report: Report) -> None:
    idle = resident_bytes(daemon.process.pid)
    while True:
        grown = resident_bytes(daemon.process.pid) - idle
        report.memory_mb = max(report.memory_mb, grown / 1024 / 1024)
        await trio.sleep(SAMPLE_EVERY_S)


async def _drive_agent(platform: Platform, alice: Map, lab: Map, report: Report) -> None:
    """Start the hostile agent, as an admin, and give it one prompt after the other."""
    sender = alice["members"][0]
    await platform.send(lab, "/new hostile", sender=sender, mention_bot=True)
    while True:
        await platform.send(lab, "go on", sender=sender, mention_bot=True)
        report.prompts_of_agent += 1
        await trio.sleep(0.2)


async def _bot_wrote(platform: Platform, chat: Map, needle: str) -> None:
    with trio.fail_after(60):
        while not any(needle in one["content"] for one in await platform.messages(chat)):
            await trio.sleep(0.02)


def _child(rng: random.Random) -> random.Random:
    return random.Random(rng.random())

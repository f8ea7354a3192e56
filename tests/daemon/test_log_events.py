"""The log's stable events: each is written where its cause happens, with its ids and no text."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import trio

from tests.kit.daemon import Daemon, Platform, open_daemon, open_platform
from tests.kit.raw_proxy import RawProxy, session

WRITTEN: Final = "sesame-of-tests"
"""Stands in all that is written in the chat, both ways."""
EVENTS: Final[Mapping[str, set[str]]] = {
    "daemon.ready": {"host", "port", "pid"},
    "feishu.connected": {"account"},
    "feishu.disconnected": {"account", "reason"},
    "session.registered": {"session", "role"},
    "session.lost": {"session"},
    "lease.changed": {"owner", "epoch"},
    "feishu.message.received": {"account", "chat", "message", "event_id"},
    "feishu.message.refused": {"account", "chat", "message", "event_id", "reason"},
    "row.offered": {"account", "chat", "message", "event_id", "session", "attempt"},
    "row.delivered": {"account", "chat", "event_id", "session", "attempt"},
    "feishu.card.opened": {"account", "chat", "message", "turn", "session", "card"},
    "feishu.card.closed": {"account", "chat", "turn", "session", "card", "outcome"},
    "feishu.rate_limited": {"account", "code"},
    "feishu.streaming.fallback": {"account", "chat", "turn", "session", "reason"},
    "daemon.stopping": {"reason"},
    "daemon.stopped": set(),
}


async def test_a_day_is_in_the_log_by_ids_alone(state_dir: Path) -> None:
    async with open_platform() as platform:
        async with open_daemon(platform, state_dir) as daemon:
            async with session(state_dir, "boss", "dispatcher", capabilities=["turns"]) as boss:
                await a_day(platform, daemon, boss)
            await written(daemon, "session.lost")
            daemon.signal(signal.SIGUSR1)
            await written(daemon, "daemon.described")
            daemon.signal(signal.SIGTERM)
            assert await daemon.wait(within_s=60) == 0
            found = await events(daemon)
            whole = await daemon.log()
    assert WRITTEN not in whole
    for event, ids in EVENTS.items():
        assert event in found, sorted(found)
        for one in found[event]:
            missing = {name for name in ids if one.get(name) is None}
            assert not missing, one
    (described,) = found["daemon.described"]
    assert any("lane" in line for line in described["tasks"])
    assert described["mailboxes"]["ownership"].endswith(" of 256")
    chats = {one["chat"] for one in found["row.delivered"]}
    assert chats <= {one["chat"] for one in found["feishu.message.received"]}


async def a_day(platform: Platform, daemon: Daemon, boss: RawProxy) -> None:
    chat = await platform.chat()
    await platform.send(await platform.chat("group", "Team"), f"{WRITTEN}, to nobody")
    await written(daemon, "feishu.message.refused")
    await platform.post(
        "faults",
        match={"template": "/open-apis/im/v1/messages/:message_id/reply"},
        kind="code",
        code=99991400,
        status=429,
        headers={"x-ogw-ratelimit-reset": "1"},
        times=1,
    )
    await platform.send(chat, f"{WRITTEN}, please")
    await answered(boss)
    await platform.wait_cards(1, WRITTEN, "Done")
    await platform.post("scopes", missing=["cardkit:card:write"])
    await platform.send(chat, f"{WRITTEN}, once more")
    await answered(boss)
    await written(daemon, "feishu.streaming.fallback")
    await platform.post("connections", action="abort")
    await written(daemon, "feishu.disconnected")


async def answered(boss: RawProxy) -> None:
    deliver = await boss.expect("deliver")
    await boss.send(t="ack", event_id=deliver["event_id"], attempt=deliver["attempt"])
    await boss.send(t="delta", turn_id=deliver["turn_id"], text=f"the answer: {WRITTEN}")
    await boss.send(t="turn_end", turn_id=deliver["turn_id"], status="complete")


async def events(daemon: Daemon) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for line in (await daemon.log()).splitlines():
        event = json.loads(line)
        found.setdefault(event["event"], []).append(event)
    return found


async def written(daemon: Daemon, event: str) -> None:
    """Wait until the log has it: it is written beside the work."""
    with trio.fail_after(60):
        while event not in await events(daemon):
            await trio.sleep(0.05)

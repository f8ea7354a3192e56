"""A journal that can't be written: nothing is acked, all can see why, and it ends by itself."""

from __future__ import annotations

import resource
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import trio

from tests.kit.daemon import Platform, open_daemon, open_platform
from tests.kit.raw_proxy import RawProxy, session

QUICK = 60.0
"""The platform pushes again after 15 s, then 5 min: so many of its seconds in one of ours."""


async def queue_of(proxy: RawProxy) -> dict[str, Any]:
    answer = await proxy.tool("feishu_channel_status", 99)
    queue: dict[str, Any] = answer["result"]["queue"]
    return queue


async def pushes_of(platform: Platform, sent: dict[str, Any]) -> list[dict[str, Any]]:
    (event,) = [one for one in await platform.get("events") if one["event_id"] == sent["event_id"]]
    pushes: list[dict[str, Any]] = event["pushes"]
    return pushes


async def wait_for_error(proxy: RawProxy, text: str) -> None:
    with trio.fail_after(60):
        while True:
            queue = await queue_of(proxy)
            if text in str(queue.get("error") or queue.get("last_error")):
                return
            await trio.sleep(0.05)


async def test_a_journal_locked_by_another_process_is_used_again_when_it_is_free(
    state_dir: Path,
) -> None:
    async with (
        open_platform(clock_scale=QUICK) as platform,
        open_daemon(platform, state_dir) as daemon,
        session(state_dir, "boss", "dispatcher", capabilities=[]) as boss,
    ):
        chat = await platform.chat()
        with closing(sqlite3.connect(state_dir / "larkd.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            sent = await platform.send(chat, "while it is locked")
            await wait_for_error(boss, "locked")
            assert not any(push["ack"] == 200 for push in await pushes_of(platform, sent))
            text = (await boss.tool("feishu_channel_grant", session_id="boss"))["error"]
            assert text == "dispatcher already owns the default channel target", "it still answers"
        deliver = await boss.until("deliver", within_s=60)
        assert (deliver["content"], deliver["attempt"]) == ("while it is locked", 1)
        await daemon.logged("database is locked")


async def test_a_full_disk_refuses_what_needs_space_until_there_is_some(state_dir: Path) -> None:
    async with (
        open_platform(clock_scale=QUICK) as platform,
        open_daemon(platform, state_dir) as daemon,
        session(state_dir, "boss", "dispatcher", capabilities=[]) as boss,
    ):
        chat = await platform.chat()
        # The write-ahead log begins anew, so that its size is where the next commit goes.
        with closing(sqlite3.connect(state_dir / "larkd.db")) as other:
            with trio.fail_after(60):
                while other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() != (0, 0, 0):
                    await trio.sleep(0.05)
        await platform.send(chat, "before")
        first = await boss.until("deliver")
        pid = daemon.process.pid
        no_limit = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        full_at = (state_dir / "larkd.db-wal").stat().st_size
        # Files of this process can't grow beyond it: to SQLite, a disk that takes no more.
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (full_at, no_limit[1]))
        sent = await platform.send(chat, "no space for this")
        await wait_for_error(boss, "disk")
        assert not any(push["ack"] == 200 for push in await pushes_of(platform, sent))
        refused = await boss.tool("feishu_channel_status", 7)
        assert refused["ok"], "the status needs no space"
        resource.prlimit(pid, resource.RLIMIT_FSIZE, no_limit)
        await boss.send(t="ack", event_id=first["event_id"], attempt=1)
        deliver = await boss.until("deliver", lambda one: one["content"] != "before", within_s=60)
        assert (deliver["content"], deliver["attempt"]) == ("no space for this", 1)
        assert [one["content"] for one in boss.seen if one["t"] == "deliver"] == [
            "before",
            "no space for this",
        ]

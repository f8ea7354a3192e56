"""Connections that end, are replaced, or stop: their rows go on, once, to whoever may have them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.kit.daemon import environment, open_served
from tests.kit.raw_proxy import RawProxy, session

NIGHTLY = pytest.mark.skipif(
    os.environ.get("LARKD_NIGHTLY") != "1", reason="takes 45 seconds; `make nightly` runs it"
)


async def live(observer: RawProxy) -> list[str]:
    status = (await observer.tool("feishu_channel_status", 99))["result"]
    return [one["sessionId"] for one in status["sessions"]]


async def test_a_newer_connection_takes_over_the_row_the_older_one_did_not_ack(
    state_dir: Path,
) -> None:
    async with (
        open_served(state_dir) as platform,
        session(state_dir, "boss", "dispatcher", capabilities=[]) as older,
    ):
        await platform.send(await platform.chat(), "once more")
        first = await older.until("deliver")
        async with session(state_dir, "boss", "dispatcher", capabilities=[]) as newer:
            second = await newer.until("deliver")
            assert (second["event_id"], second["attempt"]) == (first["event_id"], 2)
            assert second["lease_epoch"] == first["lease_epoch"]
            (bye,) = await older.wait_closed()
            assert (bye["t"], bye["reason"]) == ("bye", "replaced")
            await newer.send(t="ack", event_id=first["event_id"], attempt=2)
            status = (await newer.tool("feishu_channel_status"))["result"]
            assert status["queue"]["in_flight"] == 0


@NIGHTLY
async def test_a_stopped_proxy_is_found_within_45_seconds_and_comes_back(state_dir: Path) -> None:
    async with open_served(state_dir) as platform, session(state_dir, "watch", "observer") as watch:
        echo = await trio.lowlevel.open_process(
            [
                sys.executable,
                "-m",
                "actors.proxies.echo",
                "--state-dir",
                str(state_dir),
                "--role",
                "dispatcher",
                "--session-id",
                "echo",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(),
        )
        try:
            with trio.fail_after(60):
                while await live(watch) != ["echo"]:
                    await trio.sleep(0.05)
            echo.send_signal(signal.SIGSTOP)
            chat = await platform.chat()
            await platform.send(chat, "are you there? short")
            with trio.fail_after(60):
                while await live(watch):
                    await trio.sleep(0.2)
            echo.send_signal(signal.SIGCONT)
            await platform.wait_cards(1, "are you there?", within_s=60)
        finally:
            echo.kill()
            await echo.wait()

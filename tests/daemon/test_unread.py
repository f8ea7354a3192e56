"""What a channel session was given and does not read, as its sender sees it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from tests.daemon.test_commands import Chat, take
from tests.kit.daemon import open_served, wait_reactions
from tests.kit.raw_proxy import RawProxy, session

NIGHTLY = pytest.mark.skipif(
    os.environ.get("LARKD_NIGHTLY") != "1", reason="takes 4 minutes; `make nightly` runs it"
)


async def idle(proxy: RawProxy) -> None:
    """Answer pings, and nothing else."""
    while True:
        await proxy.receive()


async def test_the_typing_mark_goes_when_the_session_does(state_dir: Path) -> None:
    async with open_served(state_dir) as platform:
        async with session(state_dir, "boss", "dispatcher", capabilities=[]) as boss:
            sent = await platform.send(await platform.chat(), "read me")
            await take(boss)
            await wait_reactions(platform, [sent], ["Typing"])
        await wait_reactions(platform, [sent], [])


@NIGHTLY
async def test_a_message_unread_for_two_minutes_is_noticed_once_and_a_tool_call_reads_it(
    state_dir: Path,
) -> None:
    about = {"agent": "claude", "cwd": "/w/boss"}
    async with (
        open_served(state_dir) as platform,
        session(state_dir, "boss", "dispatcher", capabilities=[], metadata=about) as boss,
    ):
        chat = Chat(platform, await platform.chat())
        await chat.send("read me")
        await take(boss)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(idle, boss)
            with trio.fail_after(240):
                while not (texts := await chat.texts()):
                    await trio.sleep(0.5)
            nursery.cancel_scope.cancel()
        assert texts == ["boss has not read this yet."]
        await chat.send("and me")
        await take(boss)
        assert (await boss.tool("inbox", limit=1))["ok"]
        with trio.move_on_after(125):
            await idle(boss)
        assert await chat.texts() == ["boss has not read this yet."], "once, and none for the other"

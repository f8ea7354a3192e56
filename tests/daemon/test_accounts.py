"""Several apps in one daemon: each its own connection, budget, policy and reply mode."""

from __future__ import annotations

from pathlib import Path

import trio

from tests.daemon.test_commands import Chat, end, take, worker
from tests.kit.daemon import open_daemon, open_platform, wait_refused
from tests.kit.raw_proxy import RawProxy

SECOND = ("cli_5ec0000123456789", "second-secret")


async def test_two_apps_are_served_side_by_side(state_dir: Path) -> None:
    async with open_platform(more_apps=(SECOND,)) as platform:
        first_app = platform.running.settings
        accounts = {
            "main": {"appId": first_app.app_id, "appSecret": first_app.app_secret},
            "legacy": {
                "appId": SECOND[0],
                "appSecret": SECOND[1],
                "replyMode": "static",
                "dmPolicy": "allowlist",
                "allowFrom": ["ou_nobody"],
            },
        }
        async with (
            open_daemon(platform, state_dir, appId="cli_0000000000000000", accounts=accounts),
            worker(state_dir, "boss", "dispatcher") as boss,
        ):
            await both_connected(boss)
            main = Chat(platform, await platform.chat())
            await main.send("hello")
            turn = await take(boss)
            assert turn["meta"]["account"] == "main"
            await end(boss, turn, text="from a card")
            await platform.wait_cards(1, "from a card", "Done · ")

            carol = await platform.post("users", name="Carol")
            made = await platform.post(
                "chats", type="p2p", name="Carol", members=[carol["open_id"]], app_id=SECOND[0]
            )
            legacy = Chat(platform, made)
            await legacy.send("let me in")
            await main.send("again")
            second = await take(boss)
            assert second["content"] == "again", "Carol is on nobody's list there"
            await end(boss, second)
            await wait_refused(boss, "legacy", {"sender not on allowlist": 1})
            await wait_refused(boss, "main", {})


async def test_an_account_has_a_reply_mode_of_its_own(state_dir: Path) -> None:
    async with open_platform(more_apps=(SECOND,)) as platform:
        first_app = platform.running.settings
        accounts = {
            "main": {"appId": first_app.app_id, "appSecret": first_app.app_secret},
            "legacy": {"appId": SECOND[0], "appSecret": SECOND[1], "replyMode": "static"},
        }
        async with (
            open_daemon(platform, state_dir, appId="cli_0000000000000000", accounts=accounts),
            worker(state_dir, "boss", "dispatcher") as boss,
        ):
            await both_connected(boss)
            carol = await platform.post("users", name="Carol")
            made = await platform.post(
                "chats", type="p2p", name="Carol", members=[carol["open_id"]], app_id=SECOND[0]
            )
            await Chat(platform, made).send("hello")
            turn = await take(boss)
            assert turn["meta"]["account"] == "legacy"
            await end(boss, turn, text="plainly")
            with trio.fail_after(60):
                while "plainly" not in str(await platform.messages(made)):
                    await trio.sleep(0.02)
            assert await platform.cards() == []


async def both_connected(proxy: RawProxy) -> None:
    with trio.fail_after(60):
        while True:
            status = (await proxy.tool("feishu_channel_status"))["result"]
            states = {name: one["state"] for name, one in status["connection"].items()}
            if states == {"main": "connected", "legacy": "connected"}:
                return
            await trio.sleep(0.05)

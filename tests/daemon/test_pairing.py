"""Strangers, pairing codes, and who lets them in: as people and the operator see it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import trio

from tests.daemon.test_operator import output_of, refused
from tests.kit.daemon import Platform, open_daemon, open_platform, open_served, wait_refused
from tests.kit.raw_proxy import RawProxy, session

CODE = re.compile(r"larkd pair approve ([A-HJ-NP-Z2-9]{6})")


async def bot_wrote(platform: Platform, chat: dict[str, Any], needle: str, times: int = 1) -> str:
    """Wait until the bot has written *needle* that often in the chat; return the last."""
    with trio.fail_after(60):
        while True:
            texts = [
                json.dumps(message, ensure_ascii=False)
                for message in await platform.messages(chat)
                if message["sender"]["type"] != "user"
            ]
            found = [text for text in texts if needle in text]
            if len(found) >= times:
                assert len(found) == times
                return found[-1]
            await trio.sleep(0.02)


async def code_in(platform: Platform, chat: dict[str, Any], times: int = 1) -> str:
    match = CODE.search(await bot_wrote(platform, chat, "larkd pair approve", times))
    assert match is not None
    return match[1]


async def listed_by_name(state_dir: Path, name: str) -> str:
    """What ``pair list`` shows, once the platform stated who it is."""
    with trio.fail_after(60):
        while f"{name} (" not in (shown := await output_of(state_dir, "pair", "list")):
            await trio.sleep(0.05)
    return shown


async def nothing_was_delivered(proxy: RawProxy) -> None:
    await proxy.barrier()
    assert all(message["t"] != "deliver" for message in proxy.seen)


async def test_a_stranger_is_paired_by_the_operator_and_becomes_admin(state_dir: Path) -> None:
    async with open_platform() as platform:
        chat = await platform.chat()
        async with (
            open_daemon(platform, state_dir, dmPolicy="pairing") as daemon,
            session(state_dir, "boss", "dispatcher", capabilities=[]) as boss,
        ):
            await platform.send(chat, "let me in")
            code = await code_in(platform, chat)
            await platform.send(chat, "please")
            assert await code_in(platform, chat, times=2) == code
            await platform.send(chat, "PLEASE")  # shown twice, and then no more
            await nothing_was_delivered(boss)
            assert f"{code}  Alice (ou_" in await listed_by_name(state_dir, "Alice")

            assert await refused(state_dir, "pair", "approve", "AAAAAA") == (
                "larkd pair: no pairing code AAAAAA is waiting;"
                " codes are valid for an hour; who waits and who was let in:"
                f" larkd pair list --state-dir {state_dir}"
            )
            open_id = json.loads(await output_of(state_dir, "pair", "list", "--json"))["accounts"][
                "default"
            ]["pending"][0]["open_id"]
            paired = f"paired Alice \\({open_id}\\), who asked in the chat {chat['chat_id']} "
            assert re.fullmatch(
                rf"{paired}(just now|\d+ min ago), and is now an admin",
                await output_of(state_dir, "pair", "approve", code.lower()),
            )
            assert f"paired Alice ({open_id}) (admin)" in await output_of(state_dir, "pair", "list")
            await bot_wrote(platform, chat, "You are paired. Send a message to begin.")
            await platform.send(chat, "hello")
            assert (await boss.until("deliver"))["content"] == "hello"
            await daemon.kill()
        async with (
            open_daemon(platform, state_dir, dmPolicy="pairing"),
            session(state_dir, "boss", "dispatcher", capabilities=[]) as boss,
        ):
            await platform.send(chat, "still in?")
            await boss.until("deliver", lambda message: message["content"] == "still in?")
            assert f"paired Alice ({open_id}) (admin)" in await output_of(state_dir, "pair", "list")
            assert await output_of(state_dir, "pair", "revoke", open_id) == f"revoked {open_id}"
            await platform.send(chat, "and now?")
            await code_in(platform, chat, times=3)
            assert await output_of(state_dir, "pair", "revoke", open_id) == f"revoked {open_id}"
            assert await refused(state_dir, "pair", "revoke", open_id) == (
                f"larkd pair: {open_id} is not paired, and no code; who waits and who was"
                f" let in: larkd pair list --state-dir {state_dir}"
            )


async def test_an_admin_pairs_others_from_a_direct_chat_and_nobody_else_can(
    state_dir: Path,
) -> None:
    async with open_platform() as platform:
        admin = await platform.chat()
        bob = await platform.chat(name="Bob")
        admin_id = next(
            member for member in admin["members"] if member.startswith("ou_") and member != "bot"
        )
        async with (
            open_daemon(platform, state_dir, dmPolicy="pairing", admins=[admin_id]),
            session(state_dir, "boss", "dispatcher", capabilities=[]) as boss,
        ):
            await platform.send(bob, "hi")
            code = await code_in(platform, bob)
            await platform.send(bob, f"/pair {code}")
            assert await code_in(platform, bob, times=2) == code, "a stranger can't pair himself"
            await platform.send(admin, "/pair")
            await bot_wrote(platform, admin, "Usage: /pair <code>")
            await platform.send(admin, "/pair ZZZZZZ")
            await bot_wrote(platform, admin, "No pairing code ZZZZZZ is waiting.")
            await platform.send(admin, f"/pair {code}")
            await bot_wrote(platform, admin, "Paired Bob (ou_")
            await bot_wrote(platform, bob, "You are paired.")
            await nothing_was_delivered(boss)
            await platform.send(bob, "hello")
            assert (await boss.until("deliver"))["content"] == "hello"
            await platform.send(bob, f"/pair {code}")
            await bot_wrote(platform, bob, "Only an admin can approve a pairing")


async def test_a_session_is_no_operator(state_dir: Path) -> None:
    async with (
        open_served(state_dir, dmPolicy="pairing") as platform,
        session(state_dir, "boss", "dispatcher", capabilities=[]) as boss,
    ):
        chat = await platform.chat()
        await platform.send(chat, "hi")
        code = await code_in(platform, chat)
        answer = await boss.tool("larkd_pair_approve", code=code)
        assert (answer["ok"], answer["error"]) == (False, "Unknown tool: larkd_pair_approve")
        async with session(state_dir, "mate", capabilities=["operator"]) as mate:
            answer = await mate.tool("larkd_pair_approve", code=code)
            assert answer["error"] == "Unknown tool: larkd_pair_approve"


async def test_a_group_is_paired_by_a_mention_and_lets_every_member_in(state_dir: Path) -> None:
    async with open_platform() as platform:
        group = await platform.chat("group", "Team")
        async with (
            open_daemon(platform, state_dir, groupPolicy="allowlist"),
            session(state_dir, "boss", "dispatcher", capabilities=[]) as boss,
        ):
            await platform.send(group, "just chatting")
            await platform.send(group, "hello bot", mention_bot=True)
            code = await code_in(platform, group)
            named = f"group Team ({group['chat_id']})"
            shown = await listed_by_name(state_dir, "Team")
            assert f"{code}  {named}, asked by Alice (ou_" in shown
            assert (await output_of(state_dir, "pair", "approve", code)).startswith(
                f"paired {named}, where Alice (ou_"
            )
            await bot_wrote(platform, group, "This group is paired. Mention me to begin.")
            await nothing_was_delivered(boss)
            await platform.send(group, "not for the bot")
            await platform.send(group, "now", mention_bot=True)
            assert "now" in (await boss.until("deliver"))["content"]
            counts = {"bot not mentioned": 2, "group pairing required": 1}
            await wait_refused(boss, "default", counts)
            assert "    refused 2: bot not mentioned" in await output_of(state_dir, "status")


async def test_a_group_waits_until_the_bot_knows_its_own_name(state_dir: Path) -> None:
    async with open_platform() as platform:
        who_am_i = {"method": "GET", "template": "/open-apis/bot/v3/info"}
        await platform.post("faults", kind="code", match=who_am_i, status=500, times=None)
        direct, group = await platform.chat(), await platform.chat("group", "Team")
        async with (
            open_daemon(platform, state_dir, groupPolicy="open"),
            session(state_dir, "boss", "dispatcher", capabilities=[]) as boss,
        ):
            await platform.send(group, "not for the bot")
            await platform.send(group, "hello bot", mention_bot=True)
            await platform.send(direct, "meanwhile")
            assert (await boss.until("deliver"))["content"] == "meanwhile"
            await platform.lift_faults()
            assert "hello bot" in (await boss.until("deliver", within_s=60))["content"]
            await wait_refused(boss, "default", {"bot not mentioned": 1})

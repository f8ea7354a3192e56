"""The gate by its page, from outside: reasons are counted, strangers get no answer."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import trio

from protocol.strings import about_agents
from tests.kit.daemon import Platform, open_daemon, open_platform, open_served
from tests.kit.raw_proxy import Map, RawProxy, session

FRIEND = "ou_friend"
NUMBERS = itertools.count()
CASES: list[tuple[dict[str, Any], dict[str, int]]] = [
    (
        {"dmPolicy": "disabled", "groupPolicy": "block"},
        {"direct messages disabled": 1, "group messages are blocked": 3},
    ),
    (
        {"dmPolicy": "allowlist", "groupPolicy": "follow-user"},
        {"sender not on allowlist": 2, "bot not mentioned": 2},
    ),
    (
        {"dmPolicy": "allowlist", "groupPolicy": "open"},
        {"sender not on allowlist": 1, "bot not mentioned": 2},
    ),
]


async def refusals(boss: RawProxy, wanted: dict[str, int]) -> Map:
    refused: Map = {}
    with trio.move_on_after(60):
        while True:
            status = (await boss.tool("feishu_channel_status"))["result"]
            refused = status["connection"]["default"]["refused"]
            if all(refused.get(reason) == count for reason, count in wanted.items()):
                break
            await trio.sleep(0.02)
    return refused


async def push(platform: Platform, chat: Map, text: str, **message: Any) -> None:
    """Push a message as the platform does, of a sender of any kind."""
    number = next(NUMBERS)
    sender = message.pop("sender")
    body = {
        "message_id": f"om_{number}",
        "chat_id": chat["chat_id"],
        "chat_type": chat["type"],
        "message_type": "text",
        "content": json.dumps({"text": text}),
        **message,
    }
    header = {"event_id": f"e{number}", "event_type": "im.message.receive_v1"}
    event = {"sender": sender, "message": body}
    await platform.post("push", event={"schema": "2.0", "header": header, "event": event})


async def test_who_is_not_let_in_is_counted_by_the_reason_and_gets_no_answer(
    state_dir: Path,
) -> None:
    async with open_platform() as platform:
        alice, team = await platform.chat(), await platform.chat("group", "Team")
        for number, (policy, wanted) in enumerate(CASES):
            state = state_dir.with_name(f"state-{number}")
            async with (
                open_daemon(platform, state, allowFrom=[FRIEND], **policy),
                session(state, "boss", "dispatcher") as boss,
            ):
                await platform.send(alice, "let me in")
                await platform.send(team, "not to the bot")
                await push(
                    platform,
                    team,
                    f"@_all everybody {number}",
                    sender={"sender_id": {"open_id": "ou_x"}, "sender_type": "user"},
                    mentions=[{"key": "@_all", "id": {}, "name": "Everyone"}],
                )
                if policy["groupPolicy"] != "open":
                    await platform.send(team, "to the bot", mention_bot=True)
                assert await refusals(boss, wanted) == wanted
                assert all(one["t"] != "deliver" for one in boss.seen)
        for chat in (alice, team):
            messages = await platform.messages(chat)
            assert all(one["sender"]["type"] == "user" for one in messages)


async def test_another_bot_passes_by_name_alone(state_dir: Path) -> None:
    async with (
        open_served(state_dir, allowFrom=[FRIEND]) as platform,
        session(state_dir, "boss", "dispatcher") as boss,
    ):
        chat = await platform.chat()
        for open_id in ("ou_robot", FRIEND):
            sender = {"sender_id": {"open_id": open_id}, "sender_type": "app"}
            await push(platform, chat, f"beep of {open_id}", sender=sender)
        row = await boss.until("deliver")
        assert row["content"] == f"beep of {FRIEND}"
        assert sum((await refusals(boss, {"sender is a bot": 1})).values()) == 1


async def test_who_is_let_in_and_no_admin_starts_and_closes_no_agent(
    state_dir: Path, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    commands = ("/new robot", f"/new robot x {tmp_path}", "/close boss")
    agents = {"robot": {"command": ["touch", str(started)], "cwd": str(tmp_path)}}
    async with open_platform() as platform:
        alice, team = await platform.chat(), await platform.chat("group", "Team")
        let_in = {"allowFrom": alice["members"], "admins": ["ou_admin"], "groupPolicy": "open"}
        async with (
            open_daemon(platform, state_dir, agents=agents, **let_in),
            session(state_dir, "boss", "dispatcher") as boss,
        ):
            for chat in (alice, team):
                for command in commands:
                    await platform.send(
                        chat, command, sender=alice["members"][0], mention_bot=chat is team
                    )
                with trio.fail_after(60):
                    while await refused_in(platform, chat) < len(commands):
                        await trio.sleep(0.02)
            await boss.barrier()
            assert not started.exists()


async def refused_in(platform: Platform, chat: Map) -> int:
    """Count the answers that name whose the command is."""
    messages = await platform.messages(chat)
    return sum(about_agents.AGENT_NOT_ALLOWED.en in one["content"] for one in messages)

"""What an agent offers to be chosen: from a chat, remembered, and chosen again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio

from tests.daemon.test_commands import Chat
from tests.kit.daemon import open_daemon, open_platform
from tests.kit.raw_proxy import Map, RawProxy, session

CAPABILITIES = ["turns", "cancel", "options"]


def offer(value: str) -> Map:
    return {
        "t": "offer",
        "options": [
            {
                "id": "m",
                "name": "Mode",
                "kind": "mode",
                "value": value,
                "choices": [
                    {"id": "ask", "name": "Always ask"},
                    {"id": "plan", "name": "Plan only", "description": "changes nothing"},
                    {"id": "yolo", "name": "Fast"},
                ],
            }
        ],
        "commands": [{"name": "review", "description": "look at a change", "hint": "<branch>"}],
    }


async def attach(state_dir: Path) -> Any:
    return session(
        state_dir, "boss", "dispatcher", capabilities=CAPABILITIES, metadata={"alias": "boss"}
    )


async def choose(boss: RawProxy, *, ok: bool = True, **more: Any) -> Map:
    asked = await boss.until("choose")
    await boss.send(t="chosen", n=asked["n"], ok=ok, **more)
    return asked


async def test_a_choice_is_made_remembered_and_made_again(state_dir: Path) -> None:
    async with open_platform() as platform:
        who = await platform.chat()
        async with open_daemon(platform, state_dir, allowFrom=who["members"]):
            chat = Chat(platform, who)
            async with await attach(state_dir) as boss:
                assert await chat.ask("/mode") == "boss offers no modes."
                await boss.send(**offer("ask"))
                await boss.barrier()
                listed = await chat.ask("/mode")
                assert listed.splitlines()[0] == "Mode: Always ask"
                assert "Plan only – changes nothing" in listed
                assert await chat.ask("/model") == "boss offers no models."
                assert await chat.ask("/effort") == "boss offers no effort levels."
                assert "/review <branch> – look at a change" in await chat.ask("/commands")
                assert (await chat.ask("/mode nothing")).startswith("There is no choice")
                assert await chat.ask("/mode yolo") == "Only an admin can choose that."
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(choose, boss)
                    assert await chat.ask("/mode PLAN ONLY") == "Mode: Plan only"
                await boss.send(**offer("plan"))
                await boss.barrier()
                assert (await chat.ask("/mode")).splitlines()[0] == "Mode: Plan only"
            # It comes back as it was: first the choice, then what waits for it.
            await platform.send(who, "go on")
            async with await attach(state_dir) as boss:
                await boss.barrier()
                await boss.send(**offer("ask"))
                again = await boss.expect("choose")
                assert (again["option"], again["choice"]) == ("m", "plan")
                await boss.barrier()
                assert not [one for one in boss.seen if one["t"] == "deliver"]
                await boss.send(t="chosen", n=again["n"], ok=True)
                assert (await boss.until("deliver"))["content"] == "go on"


async def test_a_choice_that_fails_says_why(state_dir: Path) -> None:
    async with open_platform() as platform:
        who = await platform.chat()
        async with (
            open_daemon(platform, state_dir, allowFrom=who["members"]),
            await attach(state_dir) as boss,
        ):
            await boss.send(**offer("ask"))
            await boss.barrier()
            async with trio.open_nursery() as nursery:

                async def refuse() -> None:
                    await choose(boss, ok=False, error="not now")

                nursery.start_soon(refuse)
                answer = await Chat(platform, who).ask("/mode plan")
            assert answer == "That was not chosen: not now"


async def test_who_has_chosen_nothing_never_waits_for_an_offer(state_dir: Path) -> None:
    async with open_platform() as platform:
        who = await platform.chat()
        async with (
            open_daemon(platform, state_dir, allowFrom=who["members"]),
            await attach(state_dir) as boss,
        ):
            await platform.send(who, "hello")
            deliver = await boss.until("deliver", within_s=5)
            assert deliver["content"] == "hello"

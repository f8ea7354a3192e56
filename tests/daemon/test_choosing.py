"""What an agent offers to be chosen: from a chat, remembered, and chosen again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import trio

from tests.daemon.test_commands import Chat
from tests.kit.daemon import Platform, open_daemon, open_platform
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
                await chat.send("/mode")
                card = await choices(platform, who, "Mode: Always ask")
                assert "Plan only – changes nothing" in card["content"]
                labels = [one["text"]["content"] for one in buttons(card)]
                assert labels == ["● Always ask", "Plan only", "Fast"]
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
                await chat.send("/mode")
                await choices(platform, who, "Mode: Plan only", "● Plan only")
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


async def test_a_button_chooses_and_the_card_shows_what_holds(state_dir: Path) -> None:
    async with open_platform() as platform:
        who = await platform.chat()
        group = await platform.chat("group", "Team")
        async with (
            open_daemon(platform, state_dir, allowFrom=who["members"], groupPolicy="open"),
            await attach(state_dir) as boss,
        ):
            await boss.send(**offer("ask"))
            await boss.barrier()
            await platform.send(who, "/mode")
            card = await choices(platform, who, "Mode: Always ask")
            assert await press(platform, card, 2) == "Only an admin can choose that."
            async with trio.open_nursery() as nursery:
                nursery.start_soon(choose, boss)
                assert await press(platform, card, 1) == "Mode: Plan only"
            await choices(platform, who, "Mode: Plan only", "● Plan only")
            await platform.send(group, "/mode", mention_bot=True)
            card = await choices(platform, group, "Mode: ")
            assert await press(platform, card, 1) == "Only an admin can choose that."


async def press(platform: Platform, card: Map, number: int) -> str:
    answer = await platform.post(
        "click", message_id=card["message_id"], element_id=f"choice_{number}"
    )
    text: str = answer["toast"]["content"]
    return text


async def choices(platform: Platform, chat: Map, *needles: str) -> Map:
    """Wait for a card of choices to hold all of *needles*."""
    with trio.fail_after(60):
        while True:
            for one in await platform.messages(chat):
                if one["msg_type"] == "interactive" and all(
                    needle in one["content"] for needle in needles
                ):
                    return one
            await trio.sleep(0.02)


def buttons(card: Map) -> list[Map]:
    elements = json.loads(card["content"])["body"]["elements"]
    return [one for one in elements if one["tag"] == "button"]


async def test_a_choice_that_fails_shows_why(state_dir: Path) -> None:
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
            deliver = await boss.until("deliver", within_s=60)
            assert deliver["content"] == "hello"

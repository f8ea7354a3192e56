"""An agent asks, a person decides by a press: over the wire and the platform's own route."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import trio

from tests.kit.daemon import Daemon, Platform, open_daemon, open_platform
from tests.kit.raw_proxy import Map, RawProxy, session

OPTIONS = [
    {"id": "yes", "label": "Allow once", "kind": "allow_once"},
    {"id": "no", "label": "Reject", "kind": "reject_once"},
]


@asynccontextmanager
async def asking(
    state_dir: Path, kind: str = "p2p", **options: Any
) -> AsyncIterator[tuple[Platform, Daemon, RawProxy, Map, Map]]:
    """A session in a turn, that has asked for permission."""
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir, **options) as daemon,
        session(
            state_dir, "boss", "dispatcher", capabilities=["turns", "cancel", "permission"]
        ) as boss,
    ):
        chat = await platform.chat(kind, "Alice" if kind == "p2p" else "Team")
        await platform.send(chat, "clean up", mention_bot=True)
        deliver = await boss.until("deliver")
        await boss.send(t="ack", event_id=deliver["event_id"], attempt=1)
        await ask(boss, deliver["turn_id"])
        yield platform, daemon, boss, chat, deliver


async def ask(boss: RawProxy, turn_id: str | None, request_id: str = "r1") -> None:
    await boss.send(
        t="permission_request",
        request_id=request_id,
        turn_id=turn_id,
        title="Run a command",
        detail="rm -rf build",
        options=OPTIONS,
    )


async def approval_card(platform: Platform, chat: Map, *needles: str) -> Map:
    """Wait for the approval's message to hold all of *needles*."""
    found: list[Map] = []
    with trio.move_on_after(10):
        while True:
            found = [
                one
                for one in await platform.messages(chat)
                if one["msg_type"] == "interactive" and "🔐" in one["content"]
            ]
            for one in found:
                if all(needle in one["content"] for needle in needles):
                    return one
            await trio.sleep(0.02)
    raise AssertionError(f"{needles} not in {found}")


async def press(platform: Platform, card: Map, option: int, **more: Any) -> Map:
    answer: Map = await platform.post(
        "click", message_id=card["message_id"], element_id=f"option_{option}", **more
    )
    return answer


async def test_a_press_decides_and_the_card_says_who_did(state_dir: Path) -> None:
    async with asking(state_dir) as (platform, _, boss, chat, deliver):
        card = await approval_card(platform, chat, "rm -rf build", "Allow once")
        assert card["parent_id"] == deliver["meta"]["message_id"]
        answer = await press(platform, card, 0)
        assert answer["code"] == 0
        assert answer["toast"]["content"] == "Allowed"
        verdict = await boss.until("permission_verdict")
        assert verdict == {
            "t": "permission_verdict",
            "request_id": "r1",
            "outcome": "selected",
            "option_id": "yes",
            "by": deliver["meta"]["sender_id"],
        }
        after = await approval_card(platform, chat, f"<at id={verdict['by']}>")
        assert '"button"' not in after["content"]
        # The old card may still be on a slow phone: a second press changes nothing.
        value = next(
            one["behaviors"][0]["value"]
            for one in json.loads(card["content"])["body"]["elements"]
            if one["tag"] == "button" and one["element_id"] == "option_1"
        )
        late = await platform.post("click", message_id=card["message_id"], value=value)
        assert late["toast"]["content"] == "This request is no longer open."
        await boss.barrier()
        assert [one["t"] for one in boss.seen].count("permission_verdict") == 1


async def test_somebody_else_in_the_group_can_not_decide_but_an_admin_can(state_dir: Path) -> None:
    async with asking(state_dir, "group", admins=["ou_admin"]) as (platform, _, boss, chat, _):
        card = await approval_card(platform, chat, "Allow once")
        foreign = await press(platform, card, 0, operator="ou_stranger")
        assert foreign["toast"]["content"] == (
            "Only who started this task, or an admin, can decide."
        )
        forged = json.loads(card["content"])["body"]["elements"][2]["behaviors"][0]["value"]
        forged = forged | {"option": "no"}
        answer = await platform.post("click", message_id=card["message_id"], value=forged)
        assert answer["toast"]["content"] == "This button no longer does anything."
        await boss.barrier()
        assert all(one["t"] != "permission_verdict" for one in boss.seen)
        await press(platform, card, 1, operator="ou_admin")
        verdict = await boss.until("permission_verdict")
        assert (verdict["option_id"], verdict["by"]) == ("no", "ou_admin")


async def test_an_end_of_the_turn_ends_the_question(state_dir: Path) -> None:
    async with asking(state_dir) as (platform, _, boss, chat, deliver):
        await approval_card(platform, chat, "Allow once")
        await boss.send(t="turn_end", turn_id=deliver["turn_id"], status="complete")
        verdict = await boss.until("permission_verdict")
        assert (verdict["outcome"], verdict["option_id"]) == ("cancelled", None)
        await approval_card(platform, chat, "No longer needed.")


async def test_a_stop_ends_the_question(state_dir: Path) -> None:
    async with asking(state_dir) as (platform, _, boss, chat, _):
        await approval_card(platform, chat, "Allow once")
        await platform.send(chat, "stop")
        assert (await boss.until("permission_verdict"))["outcome"] == "cancelled"
        await approval_card(platform, chat, "No longer needed.")


async def test_what_was_decided_elsewhere_says_so(state_dir: Path) -> None:
    async with asking(state_dir) as (platform, _, boss, chat, _):
        await approval_card(platform, chat, "Allow once")
        await boss.send(t="permission_closed", request_id="r1", reason="answered at the terminal")
        await approval_card(platform, chat, "Decided elsewhere.")
        await boss.barrier()
        assert all(one["t"] != "permission_verdict" for one in boss.seen)


async def test_a_lost_session_leaves_no_button(state_dir: Path) -> None:
    async with asking(state_dir) as (platform, _, boss, chat, _):
        await approval_card(platform, chat, "Allow once")
        await boss.aclose()
        after = await approval_card(platform, chat, "No longer needed.")
        assert '"button"' not in after["content"]


async def test_a_question_without_a_turn_goes_to_a_direct_chat_or_nowhere(state_dir: Path) -> None:
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir),
        session(
            state_dir, "boss", "dispatcher", capabilities=["permission"], metadata={"alias": "b"}
        ) as boss,
    ):
        group = await platform.chat("group", "Team")
        await platform.send(group, "hello", mention_bot=True)
        await boss.until("deliver")
        await ask(boss, None)
        assert (await boss.until("permission_verdict"))["outcome"] == "cancelled"
        chat = await platform.chat()
        await platform.send(chat, "hello")
        await boss.until("deliver")
        await ask(boss, None, "r2")
        card = await approval_card(platform, chat, "Allow once")
        await press(platform, card, 0)
        assert (await boss.until("permission_verdict"))["request_id"] == "r2"


async def in_the_ledger(state_dir: Path) -> None:
    """Wait until the daemon has written down that a card is open."""
    with trio.fail_after(10), closing(sqlite3.connect(state_dir / "larkd.db")) as journal:
        while journal.execute("SELECT count(*) FROM approval").fetchone() != (1,):
            await trio.sleep(0.02)


async def test_a_crash_leaves_no_button_after_the_next_start(state_dir: Path) -> None:
    async with open_platform() as platform:
        chat = await platform.chat()
        async with (
            open_daemon(platform, state_dir) as daemon,
            session(state_dir, "boss", "dispatcher") as boss,
        ):
            await platform.send(chat, "clean up")
            deliver = await boss.until("deliver")
            await ask(boss, deliver["turn_id"])
            await approval_card(platform, chat, "Allow once")
            await in_the_ledger(state_dir)
            await daemon.kill()
        async with open_daemon(platform, state_dir):
            after = await approval_card(platform, chat, "Interrupted by a restart.")
            assert '"button"' not in after["content"]


async def test_leaving_in_order_closes_what_was_asked(state_dir: Path) -> None:
    async with asking(state_dir) as (platform, daemon, _, chat, _):
        await approval_card(platform, chat, "Allow once")
        daemon.process.terminate()
        assert await daemon.wait(within_s=15) == 0
        after = await approval_card(platform, chat, "No longer needed.")
        assert '"button"' not in after["content"]

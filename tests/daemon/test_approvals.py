"""An agent asks, a person decides by a press: over the wire and the platform's own route."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import trio

from tests.kit import preloaded
from tests.kit.daemon import Daemon, Platform, environment, open_daemon, open_platform, open_served
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
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(open_platform())
        chat = await platform.chat(kind, "Alice" if kind == "p2p" else "Team")
        options = {"allowFrom": chat["members"]} | options
        daemon = await stack.enter_async_context(open_daemon(platform, state_dir, **options))
        boss = await stack.enter_async_context(
            session(state_dir, "boss", "dispatcher", capabilities=["turns", "cancel", "permission"])
        )
        deliver = await in_a_turn(platform, boss, chat)
        yield platform, daemon, boss, chat, deliver


@asynccontextmanager
async def asking_on(
    platform: Platform, state_dir: Path, **options: Any
) -> AsyncIterator[tuple[RawProxy, Map]]:
    """The same, on a platform that is there already."""
    capabilities = ["turns", "cancel", "permission"]
    async with (
        open_daemon(platform, state_dir, **options),
        session(state_dir, "boss", "dispatcher", capabilities=capabilities) as boss,
    ):
        chat = await platform.chat()
        await in_a_turn(platform, boss, chat)
        yield boss, chat


async def in_a_turn(platform: Platform, boss: RawProxy, chat: Map) -> Map:
    await platform.send(chat, "clean up", mention_bot=True)
    deliver = await boss.until("deliver")
    await boss.send(t="ack", event_id=deliver["event_id"], attempt=1)
    await ask(boss, deliver["turn_id"])
    return deliver


async def ask(boss: RawProxy, turn_id: str | None, request_id: str = "r1") -> None:
    await boss.send(
        t="permission_request",
        request_id=request_id,
        turn_id=turn_id,
        title="Run a command",
        detail="rm -rf build",
        options=OPTIONS,
    )


async def approval_card(platform: Platform, chat: Map, *needles: str, within_s: float = 60) -> Map:
    """Wait for the approval's message to hold all of *needles*."""
    found: list[Map] = []
    with trio.move_on_after(within_s):
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


async def test_a_press_decides_and_the_card_shows_who_did(state_dir: Path) -> None:
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


async def test_what_was_decided_elsewhere_shows_it(state_dir: Path) -> None:
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


async def test_a_question_without_a_turn_goes_to_the_admins_or_nowhere(state_dir: Path) -> None:
    """Whoever wrote last decides nothing; each admin is asked, and one decides for all."""
    async with open_platform() as platform:
        chat = await platform.chat()
        bob = await platform.chat("p2p", "Bob")
        carol = await platform.chat("p2p", "Carol")
        async with (
            open_daemon(platform, state_dir) as daemon,
            session(state_dir, "boss", "dispatcher", capabilities=["permission"]) as boss,
        ):
            await platform.send(chat, "hello")
            await boss.until("deliver")
            await ask(boss, None)
            assert (await boss.until("permission_verdict"))["outcome"] == "cancelled"
            daemon.process.terminate()
            await daemon.wait(within_s=60)
        admins = [*bob["members"], *carol["members"]]
        async with (
            open_daemon(platform, state_dir, admins=admins),
            session(state_dir, "boss", "dispatcher", capabilities=["permission"]) as boss,
        ):
            await ask(boss, None, "r2")
            card = await approval_card(platform, bob, "Allow once", "An admin decides.")
            await approval_card(platform, carol, "Allow once")
            stranger = await press(platform, card, 0, operator=chat["members"][0])
            assert stranger["toast"]["content"].startswith("Only who started")
            await press(platform, card, 0, operator=bob["members"][0])
            verdict = await boss.until("permission_verdict")
            assert (verdict["request_id"], verdict["by"]) == ("r2", bob["members"][0])
            await approval_card(platform, carol, "Decided elsewhere.")
            assert not [one for one in await platform.messages(chat) if "🔐" in one["content"]], (
                "who wrote last is not asked"
            )


async def test_a_strangers_turn_is_decided_by_admins(state_dir: Path) -> None:
    async with open_platform() as platform:
        bob = await platform.chat("p2p", "Bob")
        async with asking_on(platform, state_dir, allowFrom=[], admins=bob["members"]) as (
            boss,
            chat,
        ):
            card = await approval_card(platform, bob, "Allow once")
            assert "rm -rf build" in card["content"]
            assert not [one for one in await platform.messages(chat) if "🔐" in one["content"]]
            await press(platform, card, 0, operator=bob["members"][0])
            assert (await boss.until("permission_verdict"))["outcome"] == "selected"


async def test_who_was_revoked_has_no_open_request_and_presses_nothing(state_dir: Path) -> None:
    async with (
        open_served(state_dir, dmPolicy="pairing") as platform,
        session(
            state_dir, "boss", "dispatcher", capabilities=["turns", "cancel", "permission"]
        ) as boss,
    ):
        first, chat = await platform.chat(), await platform.chat("p2p", "Bob")
        for one in (first, chat):  # the first who is paired becomes the admin
            await platform.send(one, "hello")
            await larkd(state_dir, "pair", "approve", await code_in(platform, one))
        await platform.send(chat, "clean up")
        deliver = await boss.until("deliver")
        await ask(boss, deliver["turn_id"])
        card = await approval_card(platform, chat, "Allow once")
        await larkd(state_dir, "pair", "revoke", chat["members"][0])
        assert (await boss.until("permission_verdict"))["outcome"] == "cancelled"
        await approval_card(platform, chat, "No longer needed.")
        value = json.loads(card["content"])["body"]["elements"][2]["behaviors"][0]["value"]
        late = await platform.post("click", message_id=card["message_id"], value=value)
        assert late["toast"]["content"] == "This request is no longer open."
        (running,) = await platform.wait_cards(1, "Processing")
        stop = await platform.post("click", message_id=running["message_id"], element_id="stop")
        assert stop["toast"]["content"].startswith("Only who started it")


async def test_a_request_that_fits_no_card_goes_as_a_file_first(state_dir: Path) -> None:
    async with asking(state_dir) as (platform, _, boss, chat, deliver):
        await boss.send(
            t="permission_request",
            request_id="long",
            turn_id=deliver["turn_id"],
            title="Run a command",
            detail="echo fine; " * 3_000 + "rm -rf /",
            options=OPTIONS,
        )
        card = await approval_card(platform, chat, "This is not all of it")
        order = [one["message_id"] for one in await platform.messages(chat)]
        (file,) = [one for one in await platform.messages(chat) if one["msg_type"] == "file"]
        assert order.index(file["message_id"]) < order.index(card["message_id"])


async def test_options_that_can_not_be_distinguished_are_cancelled(state_dir: Path) -> None:
    async with asking(state_dir) as (_, _, boss, _, deliver):
        twins = [OPTIONS[0], OPTIONS[1] | {"id": "yes"}]
        await boss.send(
            t="permission_request",
            request_id="twins",
            turn_id=deliver["turn_id"],
            title="t",
            options=twins,
        )
        verdict = await boss.until("permission_verdict")
        assert (verdict["request_id"], verdict["outcome"]) == ("twins", "cancelled")


async def code_in(platform: Platform, chat: Map) -> str:
    with trio.fail_after(60):
        while True:
            for one in await platform.messages(chat):
                found = re.search(r"pairing code is ([A-Z2-9]{6})", one["content"])
                if found:
                    return found[1]
            await trio.sleep(0.02)


async def larkd(state_dir: Path, *arguments: str) -> None:
    command = [*arguments, "--state-dir", str(state_dir)]
    done = await preloaded.run("actors.cli", command, environment())
    assert done.returncode == 0, done.stderr.decode()


async def in_the_ledger(state_dir: Path) -> None:
    """Wait until the daemon has written down that a card is open."""
    with trio.fail_after(60), closing(sqlite3.connect(state_dir / "larkd.db")) as journal:
        while journal.execute("SELECT count(*) FROM approval").fetchone() != (1,):
            await trio.sleep(0.02)


async def test_a_crash_leaves_no_button_after_the_next_start(state_dir: Path) -> None:
    async with open_platform() as platform:
        chat = await platform.chat()
        async with (
            open_daemon(platform, state_dir, allowFrom=chat["members"]) as daemon,
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
        assert await daemon.wait(within_s=60) == 0
        after = await approval_card(platform, chat, "No longer needed.")
        assert '"button"' not in after["content"]

"""Turns that a session opens by itself: shown where it was spoken to, beside the lane's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.daemon.test_approvals import approval_card, ask, press
from tests.daemon.test_commands import Chat, worker
from tests.kit.daemon import Platform, open_daemon, open_platform, open_served
from tests.kit.raw_proxy import Map, RawProxy, frame, session


@asynccontextmanager
async def attached(state_dir: Path) -> AsyncIterator[tuple[Platform, Map, RawProxy]]:
    """A session that has ended one turn of a chat."""
    capabilities = ["turns", "cancel", "permission"]
    async with open_platform() as platform:
        chat = await platform.chat()
        async with (
            open_daemon(platform, state_dir, allowFrom=chat["members"]),
            session(state_dir, "boss", "dispatcher", capabilities=capabilities) as boss,
        ):
            await platform.send(chat, "hello")
            deliver = await boss.until("deliver")
            await boss.send(t="ack", event_id=deliver["event_id"], attempt=1)
            await boss.send(t="turn_end", turn_id=deliver["turn_id"], status="complete", text="hi")
            await platform.wait_cards(1, "hi", "Done · ")
            yield platform, chat, boss


async def test_a_turn_nobody_asked_for_is_a_card_of_the_chat(state_dir: Path) -> None:
    async with attached(state_dir) as (platform, chat, boss):
        await boss.send(t="turn_open", turn_id="own-1", title="Build *finished*")
        await boss.send(t="delta", turn_id="own-1", text="All tests passed.")
        await ask(boss, "own-1")
        card = await approval_card(platform, chat, "Allow once")
        await press(platform, card, 0)
        assert (await boss.until("permission_verdict"))["outcome"] == "selected"
        (running,) = await platform.wait_cards(1, "All tests passed.", "Build ", "Processing")
        assert "*finished*" not in json.dumps(running["card"])
        shown = [
            one
            for one in await platform.messages(chat)
            if one["msg_type"] == "interactive" and not one.get("parent_id")
        ]
        assert len(shown) == 2, "its card and its approval are sent to the chat"
        # The lane is free meanwhile: a prompt does not wait for it.
        await platform.send(chat, "and this?")
        deliver = await boss.until("deliver")
        await boss.send(t="turn_end", turn_id=deliver["turn_id"], status="complete", text="yes")
        await platform.wait_cards(1, "yes", "Done · ")
        await boss.send(t="turn_end", turn_id="own-1", status="complete")
        await platform.wait_cards(1, "All tests passed.", "Done · ")
        # An id used before is dropped silently.
        await boss.send(t="turn_open", turn_id="own-1")
        await boss.send(t="delta", turn_id="own-1", text="again")
        await boss.barrier()
        assert not [one for one in boss.seen if one["t"] == "error"]


async def test_a_stop_word_stops_it_and_ten_seconds_end_it(state_dir: Path) -> None:
    async with attached(state_dir) as (platform, chat, boss):
        await boss.send(t="turn_open", turn_id="own-1")
        await boss.send(t="delta", turn_id="own-1", text="working")
        await platform.wait_cards(1, "working", "Processing")
        await boss.send(t="turn_open", turn_id="own-2")
        refused = await boss.until("error")
        assert (refused["code"], refused["turn_id"], refused["fatal"]) == (
            "turn_refused",
            "own-2",
            False,
        )
        await platform.send(chat, "stop")
        cancel = await boss.until("cancel")
        assert (cancel["turn_id"], cancel["reason"]) == ("own-1", "user")
        await platform.wait_cards(1, "working", "🛑 Stopped")
        # The next may follow at once, without an answer to wait for.
        await boss.send(t="turn_end", turn_id="own-1", status="aborted")
        # Whoever ends a turn may open the next at once, and end it in the same packet.
        of_turns: list[Map] = []
        for turn_id, text in (("own-a", "first of many"), ("own-b", "second of many")):
            of_turns += [
                {"t": "turn_open", "turn_id": turn_id},
                {"t": "delta", "turn_id": turn_id, "text": text},
                {"t": "turn_end", "turn_id": turn_id, "status": "complete"},
            ]
        of_turns.append({"t": "turn_open", "turn_id": "own-3"})
        of_turns.append({"t": "delta", "turn_id": "own-3", "text": "once more"})
        await boss.send_bytes(b"".join(map(frame, of_turns)))
        await boss.barrier()
        assert [one["turn_id"] for one in boss.seen if one["t"] == "error"] == ["own-2"]
        await platform.wait_cards(1, "first of many", "Done · ")
        await platform.wait_cards(1, "second of many", "Done · ")
        await platform.wait_cards(1, "once more")
        # It is shown here, so it is stopped from here, also where the chat is on another session.
        person = Chat(platform, chat)
        async with worker(state_dir, "api"):
            assert await person.ask("/use api") == "Switched to api (previous: boss)"
            await person.send("stop")
            assert (await boss.until("cancel"))["turn_id"] == "own-3"
            await platform.wait_cards(1, "once more", "🛑 Stopped")
            assert await person.ask("stop") == "Nothing is running."


async def test_what_may_not_be_opened_is_refused_and_then_ignored(state_dir: Path) -> None:
    async with open_served(state_dir), session(state_dir, "boss", "dispatcher") as boss:
        for turn_id, fields in (
            ("mine-1", {}),
            ("own-" + "x" * 65, {}),
            ("own-none", {}),
            ("own-else", {"chat_id": "oc_elsewhere"}),
            ("own-topic", {"thread_id": "omt_x"}),
        ):
            await boss.send(t="turn_open", turn_id=turn_id, **fields)
            refused = await boss.expect("error")
            assert (refused["code"], refused["turn_id"]) == ("turn_refused", turn_id)
            await boss.send(t="delta", turn_id=turn_id, text="x")
            await boss.send(t="turn_open", turn_id=turn_id, **fields)
            await boss.send(t="ping", n=1)
            assert (await boss.expect("pong"))["n"] == 1, "dropped silently"

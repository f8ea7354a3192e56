"""Delivery, turns, permission and leaving by the page of the wire protocol, from outside."""

from __future__ import annotations

import re
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import trio

from tests.hostile.test_wire_page import not_fatal
from tests.kit.daemon import Platform, open_daemon, open_platform, open_served
from tests.kit.raw_proxy import Map, RawProxy, connect, session

DELIVER = {
    "t",
    "event_id",
    "turn_id",
    "attempt",
    "lease_epoch",
    "chat_id",
    "content",
    "meta",
    "attachments",
}
META = ("kind", "account", "chat_id", "message_id", "chat_type", "sender_id")
ABLE = ["turns", "cancel", "permission"]
YES = [{"id": "y", "label": "Yes", "kind": "allow_once"}]


async def given(platform: Platform, chat: Map, proxy: RawProxy, text: str) -> Map:
    await platform.send(chat, text)
    return await proxy.until("deliver", lambda row: row["content"] == text)


async def test_a_delivery_has_its_fields_and_is_taken_by_its_own_ack_alone(
    state_dir: Path,
) -> None:
    async with open_served(state_dir) as platform:
        chat = await platform.chat()
        async with (
            session(state_dir, "boss", "dispatcher") as boss,
            session(state_dir, "other") as other,
        ):
            row = await given(platform, chat, boss, "one")
            assert set(row) == DELIVER
            assert (row["attempt"], row["chat_id"], row["attachments"]) == (1, chat["chat_id"], [])
            assert all(isinstance(row["meta"][key], str) for key in META)
            assert all(re.fullmatch("[A-Za-z0-9_]+", key) for key in row["meta"])
            assert all(isinstance(value, str) for value in row["meta"].values())
            assert (row["meta"]["kind"], row["meta"]["chat_type"]) == ("message", "p2p")
            assert int(row["meta"]["create_time"]) > 1_500_000_000_000
            ack: Map = {"t": "ack", "event_id": row["event_id"]}
            await other.send(**ack, attempt=1)
            await other.barrier()
            for attempt in (0, 2, -1, 2**62):
                await boss.send(**ack, attempt=attempt)
            await boss.send(t="ack", event_id="no such", attempt=1)
            await boss.barrier()
        async with session(state_dir, "boss", "dispatcher") as boss:
            again = await boss.until("deliver")
            assert (again["event_id"], again["attempt"]) == (row["event_id"], 2)
            await boss.send(**ack, attempt=1)
            await boss.barrier()
        async with session(state_dir, "boss", "dispatcher") as boss:
            third = await boss.until("deliver")
            assert (third["event_id"], third["attempt"]) == (row["event_id"], 3)
            await boss.send(**ack, attempt=3)
            await boss.barrier()
        async with session(state_dir, "boss", "dispatcher") as boss:
            nothing = await given(platform, chat, boss, "two")
            assert nothing["attempt"] == 1


async def test_a_turn_is_its_sessions_alone_and_over_when_it_ends(state_dir: Path) -> None:
    async with (
        open_served(state_dir, admins=["ou_admin"]) as platform,
        session(state_dir, "boss", "dispatcher", capabilities=ABLE) as boss,
        session(state_dir, "other", capabilities=ABLE) as other,
    ):
        chat = await platform.chat()
        row = await given(platform, chat, boss, "one")
        turn_id = row["turn_id"]
        of_turn: list[Map] = [
            {"t": "delta", "text": "NOT MINE"},
            {"t": "tool_event", "call_id": "c", "name": "NOT MINE"},
            {"t": "plan", "entries": [{"content": "NOT MINE", "status": "pending"}]},
            {"t": "usage", "used": 1},
            {"t": "turn_end", "status": "error", "error": "NOT MINE"},
        ]
        await other.send(**of_turn[0], turn_id=turn_id)
        error = await not_fatal(other, "unknown_turn")
        assert error["turn_id"] == turn_id
        for message in of_turn:
            await other.send(**message, turn_id=turn_id)
        # Reported once per turn; and what is asked for a turn that it has not is cancelled.
        await other.send(
            t="permission_request", request_id="r", turn_id=turn_id, title="t", options=YES
        )
        verdict = await other.expect("permission_verdict")
        assert (verdict["request_id"], verdict["outcome"]) == ("r", "cancelled")
        await other.send(t="ping", n=1)
        await other.expect("pong")
        for text in ("a", "", "b\n", "界"):
            await boss.send(t="delta", turn_id=turn_id, text=text)
        await boss.send(t="turn_end", turn_id=turn_id, status="complete", text="tail")
        (card,) = await platform.wait_cards(1, "Done · ", "tail")
        assert "ab\\n界" in str(card["card"]).replace("\n", "\\n")
        assert "NOT MINE" not in str(card)
        await boss.send(t="delta", turn_id=turn_id, text="late")
        assert (await not_fatal(boss, "unknown_turn"))["turn_id"] == turn_id
        await boss.send(t="turn_end", turn_id=turn_id, status="complete")
        await boss.send(t="ping", n=2)
        await boss.expect("pong")


async def test_a_request_that_can_not_be_decided_is_cancelled_and_never_ends_the_link(
    state_dir: Path,
) -> None:
    twice = YES * 2
    async with (
        open_served(state_dir) as platform,
        session(state_dir, "boss", "dispatcher", capabilities=ABLE) as boss,
    ):
        row = await given(platform, await platform.chat(), boss, "one")
        undecidable: list[Map] = [
            {"options": twice},
            {"options": []},
            {"turn_id": "turn_nobody"},
            {"turn_id": None},  # there is no admin
            {"title": "x" * 4_000_000},
        ]
        for number, fields in enumerate(undecidable):
            request = {"turn_id": row["turn_id"], "title": "t", "options": YES} | fields
            await boss.send(t="permission_request", request_id=f"r{number}", **request)
            verdict = await boss.expect("permission_verdict")
            assert (verdict["request_id"], verdict["outcome"]) == (f"r{number}", "cancelled")
        await boss.send(t="permission_closed", request_id="nobody asked", reason="x")
        await boss.barrier()


async def test_tools_are_answered_by_their_ids_and_leaving_is_announced(state_dir: Path) -> None:
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir) as daemon,
        AsyncExitStack() as stack,
    ):
        links = [
            await stack.enter_async_context(session(state_dir, f"s{number}")) for number in range(3)
        ]
        ids = (0, -1, 2**53, 7, 7)
        for number in ids:
            await links[0].send(t="tool", id=number, name="feishu_channel_status", args={})
        await links[0].send(t="tool", id=9, name="no such\n", args={})
        answers = [await links[0].expect("tool_result") for _ in range(len(ids) + 1)]
        assert sorted(one["id"] for one in answers) == sorted((*ids, 9))
        (unknown,) = (one for one in answers if one["id"] == 9)
        assert unknown["error"] == "Unknown tool: no such\n"
        async with connect(state_dir) as early:
            daemon.signal(signal.SIGTERM)
            for one in links:
                (bye,) = await one.wait_closed()
                assert (bye["t"], bye["reason"]) == ("bye", "shutdown")
                assert bye["retry_after_ms"] is None or bye["retry_after_ms"] >= 0
            assert [one["t"] for one in await early.wait_closed()] == ["hello"]
        with trio.fail_after(60):
            assert await daemon.process.wait() == 0

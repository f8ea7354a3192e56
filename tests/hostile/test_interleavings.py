"""What a proxy sends without waiting for answers: in one packet, or in pieces of one byte.

A client on another machine meets all of it, so nothing here may depend on who is faster.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from tests.hostile.test_turns_page import ABLE, given
from tests.kit.daemon import Platform, open_daemon, open_platform, open_served
from tests.kit.raw_proxy import Map, RawProxy, connect, frame, registration, session

YES = [
    {"id": "y", "label": "Yes", "kind": "allow_once"},
    {"id": "n", "label": "No", "kind": "reject_once"},
]


def packet(*messages: Map) -> bytes:
    return b"".join(map(frame, messages))


def ping(number: int) -> Map:
    return {"t": "ping", "n": number}


async def answers(proxy: RawProxy, number: int) -> list[Map]:
    """Return what comes up to the answer of :func:`ping`."""
    seen: list[Map] = []
    with trio.fail_after(60):
        while True:
            seen.append(await proxy.receive())
            if seen[-1] == {"t": "pong", "n": number}:
                return seen[:-1]


@asynccontextmanager
async def attached(state_dir: Path) -> AsyncIterator[tuple[Platform, Map, RawProxy]]:
    async with open_platform() as platform:
        chat = await platform.chat()
        async with (
            open_daemon(platform, state_dir, admins=chat["members"]),
            session(state_dir, "boss", "dispatcher", capabilities=ABLE) as boss,
        ):
            yield platform, chat, boss


async def test_a_registration_and_what_follows_it_come_in_one_packet_or_byte_by_byte(
    state_dir: Path,
) -> None:
    tool: Map = {"t": "tool", "id": 1, "name": "feishu_channel_status", "args": {}}
    async with open_served(state_dir):
        for at_once in (True, False):
            async with connect(state_dir) as proxy:
                hello = await proxy.expect("hello")
                register = registration(hello, state_dir, "s", "session", None, {})
                everything = packet(tool, ping(1), register, tool | {"id": 2}, register, ping(2))
                for piece in [everything] if at_once else [bytes((b,)) for b in everything]:
                    await proxy.send_bytes(piece)
                early, pong, *rest = [await proxy.receive() for _ in range(6)]
                assert early == {
                    "t": "tool_result",
                    "id": 1,
                    "ok": False,
                    "error": "channel proxy is not registered",
                } | ({"result": None} if "result" in early else {})
                assert pong == {"t": "pong", "n": 1}
                assert rest[0]["t"] == "registered"
                by_kind = {one["t"]: one for one in rest}
                assert by_kind["tool_result"]["ok"]
                assert by_kind["tool_result"]["result"]["sessions"][0]["sessionId"] == "s"
                assert by_kind["error"]["code"] == "already_registered"
                assert not by_kind["error"]["fatal"]
                assert by_kind["pong"]["n"] == 2


async def test_nothing_that_follows_a_wrong_proof_has_an_effect(state_dir: Path) -> None:
    tool: Map = {"t": "tool", "id": 1, "name": "feishu_channel_status", "args": {}}
    async with open_served(state_dir):
        async with connect(state_dir) as proxy:
            hello = await proxy.expect("hello")
            right = registration(hello, state_dir, "s", "session", None, {})
            await proxy.send_bytes(packet(right | {"proof": "0" * 64}, right, tool))
            last = (await proxy.wait_closed())[-1]
            assert (last["t"], last["code"]) == ("refused", "bad_proof")
        async with session(state_dir, "other") as other:
            listed = (await other.tool("feishu_channel_status"))["result"]["sessions"]
            assert [one["sessionId"] for one in listed] == ["other"]


async def test_two_registrations_of_one_session_at_once_leave_one_of_them(state_dir: Path) -> None:
    async with open_served(state_dir), connect(state_dir) as one, connect(state_dir) as two:
        for proxy in (one, two):
            hello = await proxy.expect("hello")
            proxy.seen.append(registration(hello, state_dir, "s", "session", None, {}))
        for proxy in (one, two):
            await proxy.send_bytes(packet(proxy.seen[-1], ping(1)))
        ended: list[RawProxy] = []
        async with trio.open_nursery() as nursery:

            async def follow(proxy: RawProxy) -> None:
                last = (await proxy.wait_closed())[-1]
                assert (last["t"], last["reason"]) == ("bye", "replaced")
                ended.append(proxy)
                nursery.cancel_scope.cancel()

            nursery.start_soon(follow, one)
            nursery.start_soon(follow, two)
        (gone,) = ended
        left = two if gone is one else one
        await left.send(**ping(9))
        await left.until("pong", lambda pong: pong["n"] == 9)


async def test_everything_of_a_turn_comes_in_one_packet(state_dir: Path) -> None:
    async with attached(state_dir) as (platform, chat, boss):
        row = await given(platform, chat, boss, "one")
        turn: Map = {"turn_id": row["turn_id"]}
        ack: Map = {"t": "ack", "event_id": row["event_id"], "attempt": row["attempt"]}
        end: Map = {"t": "turn_end", "status": "complete"} | turn
        await boss.send_bytes(
            packet(
                ack,
                ack,
                {"t": "delta", "text": "a"} | turn,
                {"t": "delta", "text": "b", "channel": "reasoning"} | turn,
                {"t": "delta", "text": "c"} | turn,
                {"t": "tool_event", "call_id": "1", "name": "Read", "status": "running"} | turn,
                {"t": "tool_event", "call_id": "1", "status": "success"} | turn,
                {"t": "delta", "text": "d"} | turn,
                end | {"text": "tail"},
                end,
                {"t": "delta", "text": "late"} | turn,
                ack,
                ping(1),
            )
        )
        (error,) = await answers(boss, 1)
        assert (error["t"], error["code"], error["fatal"]) == ("error", "unknown_turn", False)
        assert error["turn_id"] == row["turn_id"], "once for each turn"
        (card,) = await platform.wait_cards(1, "Done · ", "tail")
        assert "late" not in str(card["card"])
        # The session is free again, and the row is not given a second time.
        following = await given(platform, chat, boss, "two")
        assert following["attempt"] == 1
        assert [one["content"] for one in boss.seen if one["t"] == "deliver"] == ["one", "two"]


async def test_requests_that_are_asked_twice_over_and_ended_at_once_are_each_answered_once(
    state_dir: Path,
) -> None:
    async with attached(state_dir) as (platform, chat, boss):
        row = await given(platform, chat, boss, "one")

        def request(number: str, **fields: Any) -> Map:
            asked: Map = {"request_id": number, "turn_id": row["turn_id"], "options": YES}
            return {"t": "permission_request", "title": "rm"} | asked | fields

        await boss.send_bytes(
            packet(
                request("a"),
                request("b"),
                request("c"),
                request("gone", turn_id="turn_of_nobody"),
                {"t": "permission_closed", "request_id": "b", "reason": "answered in the terminal"},
                {"t": "permission_closed", "request_id": "b", "reason": "and again"},
                {"t": "turn_end", "turn_id": row["turn_id"], "status": "complete"},
                request("late"),
                ping(1),
            )
        )
        verdicts: dict[str, str] = {}
        with trio.fail_after(60):
            while not {"a", "c", "gone", "late"} <= verdicts.keys():
                verdict = await boss.until("permission_verdict")
                assert verdict["request_id"] not in verdicts, "answered twice"
                verdicts[verdict["request_id"]] = verdict["outcome"]
        assert set(verdicts.values()) == {"cancelled"}
        await platform.wait_cards(1, "Done · ")


async def test_calls_of_the_same_id_are_each_answered(state_dir: Path) -> None:
    async with attached(state_dir) as (_, _, boss):
        names = ["feishu_channel_status", "no such", "inbox", "feishu_channel_grant"] * 3
        calls = [{"t": "tool", "id": 7, "name": name, "args": {}} for name in names]
        await boss.send_bytes(packet(*calls))
        results = [await boss.expect("tool_result") for _ in calls]
        assert {one["id"] for one in results} == {7}
        errors = [one["error"] for one in results if not one["ok"]]
        assert errors.count("Unknown tool: no such") == 3
        assert errors.count("session_id or match is required") == 3


async def test_what_changes_hands_in_one_packet_is_answered_in_order(state_dir: Path) -> None:
    async with attached(state_dir) as (_, _, boss), session(state_dir, "mate") as mate:

        def tool(number: int, name: str, **args: Any) -> Map:
            return {"t": "tool", "id": number, "name": f"feishu_channel_{name}", "args": args}

        await boss.send_bytes(
            packet(
                tool(1, "grant", session_id="mate"),
                tool(2, "acquire", session_id="mate"),
                tool(3, "reclaim"),
                tool(4, "reclaim"),
                tool(5, "acquire", match={}),
                tool(6, "return_to_dispatcher"),
            )
        )
        results = [await boss.expect("tool_result") for _ in range(6)]
        assert [one["id"] for one in results] == [1, 2, 3, 4, 5, 6]
        assert [one["result"] or one["error"] for one in results] == [
            "Feishu channel acquire grant issued to mate.",
            "Feishu channel owner is now mate (session, epoch 2).",
            "Feishu channel owner reclaimed by dispatcher boss (epoch 3).",
            "Feishu channel owner reclaimed by dispatcher boss (epoch 3).",
            "match must be a non-empty object whose values are all strings",
            "Feishu channel owner returned to dispatcher boss (epoch 3).",
        ]
        await mate.send_bytes(packet(tool(1, "acquire"), tool(2, "return_to_dispatcher")))
        results = [await mate.expect("tool_result") for _ in range(2)]
        assert [one["error"] for one in results] == [
            "channel ownership was not granted by the dispatcher",
            "only the current owner may return the channel to dispatcher",
        ]


async def test_who_registers_and_goes_away_in_one_packet_was_there(state_dir: Path) -> None:
    async with attached(state_dir) as (_, _, boss):
        for number in range(5):
            async with connect(state_dir) as proxy:
                hello = await proxy.expect("hello")
                register = registration(hello, state_dir, "brief", "session", None, {})
                await proxy.send_bytes(packet(register, ping(number)))
        with trio.fail_after(60):
            while True:
                listed = (await boss.tool("feishu_channel_status"))["result"]["sessions"]
                if [one["sessionId"] for one in listed] == ["boss"]:
                    break
        # Its id belongs to the role it was registered under, whether or not it read the answer.
        async with connect(state_dir) as proxy:
            refused = await proxy.register(state_dir, "brief", "dispatcher", token_role="session")
            assert refused["code"] == "bad_proof"

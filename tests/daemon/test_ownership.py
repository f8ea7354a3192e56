"""The cases at the end of the ownership page, and every text on it, over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.kit.daemon import Platform, open_daemon, open_platform, open_served
from tests.kit.raw_proxy import Closed, RawProxy, connect, registration, session

Map = dict[str, Any]


@asynccontextmanager
async def open_both(state_dir: Path) -> AsyncIterator[Platform]:
    async with open_served(state_dir) as platform:
        yield platform


async def status(proxy: RawProxy) -> Map:
    answer = await proxy.tool("feishu_channel_status", 900)
    assert answer["ok"], answer
    result: Map = answer["result"]
    return result


async def call(proxy: RawProxy, tool: str, **args: Any) -> str:
    """Return the text of the answer, whether it is a result or an error."""
    answer = await proxy.tool(f"feishu_channel_{tool}", 901, **args)
    text: str = answer["result"] if answer["ok"] else answer["error"]
    return text


def held(report: Map) -> tuple[Any, ...]:
    """Return owner, dispatcher, grant, target and epoch."""
    names = ("owner", "dispatcher", "granted", "effective_target")
    return (*(report[f"{name}_session_id"] for name in names), report["lease_epoch"])


async def deliveries(proxy: RawProxy) -> list[tuple[str, int]]:
    """Return what was delivered so far, with the attempt."""
    await proxy.barrier()
    return [(one["content"], one["attempt"]) for one in proxy.seen if one["t"] == "deliver"]


def alone(state_dir: Path, session_id: str, role: str = "session", **fields: Any) -> Any:
    """Open a channel session: it is given rows as they come."""
    return session(state_dir, session_id, role, capabilities=[], **fields)


# ── the cases ───────────────────────────────────────────────────────────────


async def test_1_the_dispatcher_is_the_target_though_a_teammate_came_first(
    state_dir: Path,
) -> None:
    async with open_both(state_dir) as platform, alone(state_dir, "mate") as mate:
        assert held(await status(mate)) == (None, None, None, None, 0)
        async with alone(state_dir, "boss", "dispatcher") as boss:
            assert held(await status(boss)) == ("boss", "boss", None, "boss", 1)
            await platform.send(await platform.chat(), "hello")
            assert (await boss.until("deliver"))["content"] == "hello"
        assert await deliveries(mate) == []


async def test_2_a_dispatcher_that_registers_anew_changes_no_epoch_and_gets_each_row_once(
    state_dir: Path,
) -> None:
    async with open_both(state_dir) as platform:
        async with alone(state_dir, "boss", "dispatcher") as older:
            async with alone(state_dir, "boss", "dispatcher") as boss:
                assert (await older.until("bye"))["reason"] == "replaced"
                with pytest.raises(Closed):
                    await older.receive()
                assert held(await status(boss)) == ("boss", "boss", None, "boss", 1)
        async with alone(state_dir, "mate") as mate:
            chat = await platform.chat()
            for text in ("one", "two"):
                await platform.send(chat, text)
            while (await status(mate))["queue"]["pending"] < 2:
                pass
            async with alone(state_dir, "boss", "dispatcher") as boss:
                for text in ("one", "two"):
                    given = await boss.until("deliver")
                    assert (given["content"], given["lease_epoch"]) == (text, 1)
                    await boss.send(t="ack", event_id=given["event_id"], attempt=1)
                assert await deliveries(boss) == [("one", 1), ("two", 1)]
                async with alone(state_dir, "another"):
                    assert await deliveries(boss) == [("one", 1), ("two", 1)], "nothing again"


async def test_3_a_second_dispatcher_that_leaves_does_not_lock_the_first_one_out(
    state_dir: Path,
) -> None:
    async with open_both(state_dir), alone(state_dir, "first", "dispatcher") as first:
        async with alone(state_dir, "second", "dispatcher") as second:
            assert held(await status(second)) == ("second", "second", None, "second", 2)
        while held(await status(first))[1] != "first":
            pass
        assert held(await status(first)) == ("second", "first", None, None, 2)
        text = await call(first, "reclaim")
        assert text == "Feishu channel owner reclaimed by dispatcher first (epoch 3)."
        assert held(await status(first)) == ("first", "first", None, "first", 3)
        text = await call(first, "reclaim")
        assert text == "Feishu channel owner reclaimed by dispatcher first (epoch 3)."


# Case 4, an owner offline, and case 10, SIGKILL, are in test_delivery.py.


async def test_5_nothing_can_be_returned_to_a_dispatcher_that_is_away(state_dir: Path) -> None:
    async with open_both(state_dir), alone(state_dir, "mate") as mate:
        async with alone(state_dir, "boss", "dispatcher") as boss:
            await call(boss, "acquire", session_id="mate")
        while len((await status(mate))["sessions"]) > 1:
            pass
        before = held(await status(mate))
        text = await call(mate, "return_to_dispatcher")
        assert text == "no live dispatcher channel proxy is registered"
        assert held(await status(mate)) == before == ("mate", "boss", None, "mate", 2)


async def test_6_a_grant_is_one_slot(state_dir: Path) -> None:
    async with (
        open_both(state_dir),
        alone(state_dir, "boss", "dispatcher") as boss,
        alone(state_dir, "a") as a,
        alone(state_dir, "b") as b,
    ):
        for name in ("a", "b"):
            text = await call(boss, "grant", session_id=name)
            assert text == f"Feishu channel acquire grant issued to {name}."
        assert (await status(boss))["granted_session_id"] == "b"
        refusal = "channel ownership was not granted by the dispatcher"
        assert await call(a, "acquire") == refusal
        taken = "Feishu channel owner is now b (session, epoch 2)."
        assert await call(b, "acquire") == taken
        assert await call(b, "acquire") == taken, "the owner asks again: nothing changes"
        assert held(await status(b)) == ("b", "boss", None, "b", 2)
        text = await call(b, "return_to_dispatcher")
        assert text == "Feishu channel owner returned to dispatcher boss (epoch 3)."
        assert await call(b, "acquire") == refusal, "a grant is used once"


async def test_7_an_assignment_takes_another_ones_grant_away(state_dir: Path) -> None:
    async with (
        open_both(state_dir),
        alone(state_dir, "boss", "dispatcher") as boss,
        alone(state_dir, "t") as t,
        alone(state_dir, "u"),
    ):
        await call(boss, "grant", session_id="t")
        text = await call(boss, "acquire", session_id="u")
        assert text == "Feishu channel owner is now u (session, epoch 2)."
        assert (await status(boss))["granted_session_id"] is None
        text = await call(t, "acquire")
        assert text == "channel ownership was not granted by the dispatcher"


async def test_a_grant_outlives_a_reconnect_of_its_target_and_a_restart(state_dir: Path) -> None:
    async with open_platform() as platform:
        async with (
            open_daemon(platform, state_dir),
            alone(state_dir, "boss", "dispatcher") as boss,
        ):
            async with alone(state_dir, "t"):
                await call(boss, "grant", session_id="t")
            async with alone(state_dir, "t"):
                assert (await status(boss))["granted_session_id"] == "t"
        async with open_daemon(platform, state_dir), alone(state_dir, "t") as t:
            text = await call(t, "acquire")
            assert text == "Feishu channel owner is now t (session, epoch 2)."


# ── every text, in the order of the checks ──────────────────────────────────

TWINS = '{"team":"red"}'
NOT_OBJECT = "match must be a non-empty object whose values are all strings"
NOT_STRING = "session_id must be a non-empty string"
BOTH = {"session_id": "ghost", "match": {}}

REFUSALS: list[tuple[str, str, Map, str]] = [
    # who is asked first
    ("mate", "grant", BOTH, "only the dispatcher may grant channel ownership"),
    ("mate", "reclaim", {}, "only the dispatcher may reclaim channel ownership"),
    (
        "mate",
        "return_to_dispatcher",
        {},
        "only the current owner may return the channel to dispatcher",
    ),
    # then the selector
    ("boss", "grant", BOTH, "pass only one of session_id / match"),
    ("mate", "acquire", BOTH, "pass only one of session_id / match"),
    ("boss", "grant", {"session_id": ""}, NOT_STRING),
    ("boss", "grant", {"session_id": 7}, NOT_STRING),
    ("mate", "acquire", {"session_id": None}, NOT_STRING),
    ("boss", "acquire", {"session_id": "ghost"}, "no live channel proxy session: ghost"),
    ("mate", "acquire", {"session_id": "ghost"}, "no live channel proxy session: ghost"),
    ("boss", "grant", {"match": {}}, NOT_OBJECT),
    ("boss", "acquire", {"match": {}}, NOT_OBJECT),
    ("mate", "acquire", {"match": {}}, NOT_OBJECT),
    ("mate", "acquire", {"match": {"team": 1}}, NOT_OBJECT),
    ("boss", "grant", {"match": ["team"]}, NOT_OBJECT),
    ("boss", "grant", {"match": None}, NOT_OBJECT),
    (
        "boss",
        "grant",
        {"match": {"zeta": "红", "alpha": "1"}},
        'no live channel proxy matching: {"zeta":"红","alpha":"1"}',
    ),
    ("boss", "grant", {"match": {"team": "Red"}}, 'no live channel proxy matching: {"team":"Red"}'),
    (
        "boss",
        "grant",
        {"match": {"team": "red"}},
        f"ambiguous match: {TWINS}; candidates: mate, twin; pass session_id to disambiguate",
    ),
    # then the rest
    ("boss", "grant", {}, "session_id or match is required"),
    ("boss", "grant", {"session_id": "boss"}, "dispatcher already owns the default channel target"),
    (
        "mate",
        "acquire",
        {"match": {"cwd": "/b"}},
        "only the dispatcher may assign channel ownership to another session",
    ),
    ("mate", "acquire", {}, "channel ownership was not granted by the dispatcher"),
    (
        "mate",
        "acquire",
        {"match": {"cwd": "/a"}},
        "channel ownership was not granted by the dispatcher",
    ),
]


async def test_8_and_9_every_refusal_in_its_order_and_it_changes_nothing(state_dir: Path) -> None:
    async with (
        open_both(state_dir),
        alone(state_dir, "boss", "dispatcher") as boss,
        alone(state_dir, "mate", metadata={"team": "red", "cwd": "/a"}) as mate,
        alone(state_dir, "twin", metadata={"team": "red", "cwd": "/b", "more": "x"}) as twin,
    ):
        before = held(await status(boss))
        for who, tool, args, text in REFUSALS:
            proxy = boss if who == "boss" else mate
            answer = await proxy.tool(f"feishu_channel_{tool}", 5, **args)
            assert (answer["ok"], answer["error"]) == (False, text), (who, tool, args)
        assert held(await status(boss)) == before

        issued = await call(boss, "grant", match={"team": "red", "cwd": "/b"})
        assert issued == "Feishu channel acquire grant issued to twin."
        taken = await call(twin, "acquire", match={"cwd": "/b"})
        assert taken == "Feishu channel owner is now twin (session, epoch 2)."
        assigned = await call(boss, "acquire", session_id="boss")
        assert assigned == "Feishu channel owner is now boss (dispatcher, epoch 3)."
        returned = await call(boss, "return_to_dispatcher")
        assert returned == "Feishu channel owner returned to dispatcher boss (epoch 3)."


async def test_an_observer_sees_the_status_and_nothing_else(state_dir: Path) -> None:
    async with (
        open_both(state_dir),
        alone(state_dir, "boss", "dispatcher"),
        alone(state_dir, "watcher", "observer") as watcher,
    ):
        report = await status(watcher)
        assert [one["sessionId"] for one in report["sessions"]] == ["boss"]
        for tool in ("grant", "acquire", "return_to_dispatcher", "reclaim"):
            answer = await watcher.tool(f"feishu_channel_{tool}", 5)
            assert not answer["ok"], tool
        assert held(await status(watcher)) == held(report)


async def test_the_status_has_every_field(state_dir: Path) -> None:
    async with (
        open_both(state_dir),
        alone(state_dir, "boss", "dispatcher"),
        session(
            state_dir, "mate-1", metadata={"teammate_name": "Mate", "cwd": "/w/x"}, pid=77
        ) as mate,
    ):
        report = await status(mate)
        boss, listed = report["sessions"]
        assert boss["sessionId"] == "boss"
        assert listed["connected_at"] >= boss["connected_at"] > 1_700_000_000_000
        ours = {"connected_at", "unanswered", "unresponsive"}
        contract = {key: listed[key] for key in listed if key not in ours}
        assert contract == {
            "sessionId": "mate-1",
            "pid": 77,
            "proxyVersion": "raw-1",
            "role": "session",
            "metadata": {"teammate_name": "Mate", "cwd": "/w/x"},
            "alias": "mate",
            "capabilities": ["cancel", "turns"],
        }
        assert report["bindings"] == {}
        assert report["daemon"]["generation"] == 1
        assert isinstance(report["daemon"]["version"], str)
        assert isinstance(report["daemon"]["pid"], int)
        assert report["daemon"]["started_at"] > 1_700_000_000_000
        queue = report["queue"]
        assert (queue["pending"], queue["in_flight"], queue["oldest_pending_ms"]) == (0, 0, None)
        (connection,) = report["connection"].values()
        assert {"state", "last_event_at", "last_error"} <= connection.keys()


# ── registrations that can't be taken ───────────────────────────────────────


async def test_oversized_metadata_is_an_invalid_message_and_may_be_sent_again(
    state_dir: Path,
) -> None:
    too_much: list[Map] = [
        {f"key{number}": "" for number in range(33)},
        {"k" * 65: ""},
        {"key": "v" * 1_025},
        {"key": 1},
    ]
    as_much_as_may_be = {f"{number:->64}": "v" * 1_024 for number in range(32)}
    async with open_both(state_dir), connect(state_dir) as proxy:
        hello = await proxy.expect("hello")
        for metadata in too_much:
            message = registration(hello, state_dir, "m", "session", None, {"metadata": metadata})
            await proxy.send(**message)
            answer = await proxy.expect("error")
            assert (answer["code"], answer["fatal"]) == ("invalid_message", False)
            assert "register" in answer["message"]
            assert "metadata" in answer["message"]
        fields: Map = {"metadata": as_much_as_may_be}
        await proxy.send(**registration(hello, state_dir, "x" * 128, "session", None, fields))
        await proxy.expect("registered")
        assert (await status(proxy))["sessions"][0]["metadata"] == as_much_as_may_be

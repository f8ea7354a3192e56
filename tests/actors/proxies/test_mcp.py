"""``larkd mcp`` as its client sees it: a real process, spoken to line by line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.kit.daemon import (
    Platform,
    configuration,
    environment,
    open_daemon,
    open_platform,
    open_served,
    wait_reactions,
)
from tests.kit.raw_proxy import connect, session
from tests.kit.stdio_process import Map, StdioProcess, larkd, open_stdio

CHANNEL = "notifications/claude/channel"


@asynccontextmanager
async def mcp(
    state_dir: Path, *, role: str = "dispatcher", handshake: bool = True, **more: str
) -> AsyncIterator[StdioProcess]:
    env = environment() | {
        "LARKD_STATE_DIR": str(state_dir),
        "LARKD_ROLE": role,
        "LARKD_SESSION_ID": "one",
        "LARKD_AUTOSTART": "0",
    }
    async with open_stdio(larkd("mcp"), env | more) as client:
        if handshake:
            answer = await client.ask("initialize", {"protocolVersion": "2025-06-18"})
            assert answer["result"]["protocolVersion"] == "2025-06-18"
            await client.send(method="notifications/initialized")
        yield client


async def attached(client: StdioProcess) -> Map:
    """Wait until the daemon is reached; return its status."""
    with trio.fail_after(60):
        while True:
            reached, text = await client.tool("feishu_channel_status")
            if reached:
                status: Map = json.loads(text)
                return status
            await trio.sleep(0.05)


# ── how it describes itself ─────────────────────────────────────────────────


async def test_it_is_a_channel_of_the_revisions_under_which_channels_are_registered(
    state_dir: Path,
) -> None:
    async with mcp(state_dir, handshake=False) as client:
        probe = await client.ask("server/discover", {}, number="probe-1")
        assert (probe["id"], probe["error"]["code"]) == ("probe-1", -32601)
        answer: Map = {}
        for wanted, agreed in (
            ("2024-11-05", "2024-11-05"),
            ("2025-03-26", "2025-03-26"),
            ("2025-11-25", "2025-11-25"),
            ("2026-07-28", "2025-11-25"),
        ):
            answer = await client.ask("initialize", {"protocolVersion": wanted})
            assert answer["result"]["protocolVersion"] == agreed
        assert answer["result"]["serverInfo"]["name"] == "feishu"
        experimental = answer["result"]["capabilities"]["experimental"]
        assert experimental == {"claude/channel": {}, "claude/channel/permission": {}}
        assert len(answer["result"]["instructions"].encode()) <= 2048
        listed = (await client.ask("tools/list"))["result"]["tools"]
        assert [(one["name"], one["inputSchema"]["required"]) for one in listed] == [
            ("reply", ["chat_id", "text"]),
            ("send", ["to", "text"]),
            ("ask", ["chat_id", "questions"]),
            ("react", ["message_id", "emoji"]),
            ("edit_message", ["message_id", "text"]),
            ("inbox", []),
            ("feishu_channel_status", []),
            ("feishu_channel_grant", []),
            ("feishu_channel_acquire", []),
            ("feishu_channel_return_to_dispatcher", []),
            ("feishu_channel_reclaim", []),
            ("feishu_channel_doctor", []),
        ]
        assert all(one["_meta"] == {"anthropic/alwaysLoad": True} for one in listed)
        assert all(len(one["description"].encode()) <= 2048 for one in listed)
        assert (await client.ask("ping"))["result"] == {}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"junk\n", -32700),
        (b"[1, 2]\n", -32700),
        (b'{"jsonrpc": "2.0", "id": 1}\n', -32600),
        (b'{"jsonrpc": "2.0", "id": {}, "method": "ping"}\n', -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "resources/list"}\n', -32601),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"rm"}}\n', -32602),
        (
            b'{"id":1,"method":"tools/call","params":{"name":"reply","arguments":2}}\n',
            -32602,
        ),
        (b'{"x": "' + b"y" * (16 * 1024 * 1024) + b'"}\n', -32700),
    ],
)
async def test_bad_input_is_answered_and_what_follows_is_served(
    state_dir: Path, line: bytes, code: int
) -> None:
    async with mcp(state_dir, handshake=False) as client:
        await client.send_bytes(line)
        assert (await client.receive())["error"]["code"] == code
        await client.send_bytes(b'\n{"jsonrpc":"2.0","result":{}}\n')
        assert (await client.ask("ping"))["result"] == {}


async def test_while_the_daemon_is_away_tools_report_it_at_once(state_dir: Path) -> None:
    async with mcp(state_dir) as client:
        for name, args in (("reply", {"chat_id": "oc", "text": "x"}), ("inbox", {})):
            assert await client.tool(name, **args) == (
                False,
                "larkd is not reachable; reconnecting",
            )


# ── messages ────────────────────────────────────────────────────────────────


async def test_a_message_arrives_and_its_reply_is_answered_in_the_chat(state_dir: Path) -> None:
    async with (
        open_served(state_dir) as platform,
        mcp(state_dir, CLAUDE_PROJECT_DIR="/w/api", LARKD_TEAMMATE_NAME="Ann") as client,
    ):
        status = await attached(client)
        (one,) = status["sessions"]
        assert one["sessionId"] == "dispatcher-one"
        assert one["metadata"] == {"agent": "claude", "cwd": "/w/api", "teammate_name": "Ann"}
        chat = await platform.chat()
        sent = await platform.send(chat, "hello")
        params = await client.notified(CHANNEL)
        assert params["content"] == "hello"
        meta = params["meta"]
        assert all(isinstance(value, str) for value in meta.values())
        assert (meta["chat_id"], meta["message_id"]) == (chat["chat_id"], sent["message_id"])
        assert "attempt" not in meta
        await wait_inbox(client, "hello")
        await wait_reactions(platform, [sent], ["Typing"])
        succeeded, text = await client.tool(
            "reply", chat_id=chat["chat_id"], message_id=sent["message_id"], text="**hi**"
        )
        assert (succeeded, text.startswith(f"Sent to {chat['chat_id']} as om_")) == (True, True)
        await wait_inbox(client)
        await wait_reactions(platform, [sent], [])
        (answer,) = [one for one in await platform.messages(chat) if one["parent_id"]]
        assert "**hi**" in answer["content"]
        assert await client.tool("reply", chat_id=chat["chat_id"]) == (
            False,
            "missing or empty required argument: text",
        )


async def test_a_newer_process_of_the_session_detaches_this_one_for_good(
    state_dir: Path,
) -> None:
    async with open_served(state_dir):
        async with mcp(state_dir) as older:
            await attached(older)
            async with mcp(state_dir) as newer:
                await attached(newer)
                with trio.fail_after(60):
                    while "detached for good" not in (await older.tool("inbox"))[1]:
                        await trio.sleep(0.05)
                assert (await older.ask("ping"))["result"] == {}, "it stays, as clients expect"
                assert (await newer.tool("inbox"))[0]


async def wait_inbox(client: StdioProcess, *contents: str) -> None:
    """Wait until the inbox holds just these."""
    with trio.fail_after(60):
        while True:
            _, text = await client.tool("inbox")
            if [one["content"] for one in json.loads(text)["messages"]] == list(contents):
                return
            await trio.sleep(0.02)


async def test_a_restart_of_the_daemon_is_survived_and_what_was_not_written_comes(
    state_dir: Path,
) -> None:
    async with open_platform() as platform:
        chat = await platform.chat()
        async with open_daemon(platform, state_dir) as daemon, mcp(state_dir) as client:
            await attached(client)
            await platform.send(chat, "one")
            assert (await client.notified(CHANNEL))["content"] == "one"
            await wait_inbox(client, "one")  # what was not acked comes once more
            await daemon.kill()
            async with open_daemon(platform, state_dir):
                assert (await attached(client))["daemon"]["generation"] == 2
                await platform.send(chat, "two")
                assert (await client.notified(CHANNEL))["content"] == "two"


async def test_a_cancelled_call_is_not_answered(state_dir: Path) -> None:
    async with open_served(state_dir) as platform, mcp(state_dir) as client:
        await attached(client)
        chat = await platform.chat()
        await platform.send(chat, "hello")
        await client.notified(CHANNEL)
        template = "/open-apis/im/v1/messages"
        await platform.post("faults", kind="delay", match={"template": template}, seconds=60)
        call = {"name": "reply", "arguments": {"chat_id": chat["chat_id"], "text": "slow"}}
        await client.send(id="slow", method="tools/call", params=call)
        await client.send(method="notifications/cancelled", params={"requestId": "slow"})
        await client.ask("ping")
        await platform.lift_faults()
        # One that is made after it is answered: it would have been, too.
        assert (await client.tool("reply", chat_id=chat["chat_id"], text="fast"))[0]
        assert all(one.get("id") != "slow" for one in client.seen)


# ── permissions ─────────────────────────────────────────────────────────────


async def asked(client: StdioProcess, platform: Platform, chat: Map, but: str | None = None) -> Map:
    """Ask for a permission; return the message of its card, which is another one than *but*."""
    await client.send(
        method="notifications/claude/channel/permission_request",
        params={
            "request_id": "abcde",
            "tool_name": "Bash",
            "description": "Run the tests",
            "input_preview": "rm -rf build && make",
        },
    )
    with trio.fail_after(60):
        while True:
            for message in await platform.messages(chat):
                shown = "rm -rf build && make" in message["content"]
                if shown and message["message_id"] != but and '"button"' in message["content"]:
                    return message
            await trio.sleep(0.02)


@asynccontextmanager
async def prompted(state_dir: Path) -> AsyncIterator[tuple[Platform, Map, StdioProcess]]:
    """A session that an admin has sent a message."""
    async with open_platform() as platform:
        chat = await platform.chat()
        async with (
            open_daemon(platform, state_dir, admins=chat["members"]),
            mcp(state_dir) as client,
        ):
            await attached(client)
            await platform.send(chat, "do it")
            await client.notified(CHANNEL)
            yield platform, chat, client


async def test_a_permission_is_decided_by_a_button_of_its_card(state_dir: Path) -> None:
    async with prompted(state_dir) as (platform, chat, client):
        card = await asked(client, platform, chat)
        assert "Bash: Run the tests" in card["content"]
        await platform.post("click", message_id=card["message_id"], element_id="option_0")
        params = await client.notified("notifications/claude/channel/permission")
        assert params == {"request_id": "abcde", "behavior": "allow"}
        # The next one is decided at the terminal: the session goes on, and the card closes.
        card = await asked(client, platform, chat, card["message_id"])
        await client.tool("inbox")
        with trio.fail_after(60):
            while any(
                one["message_id"] == card["message_id"] and '"button"' in one["content"]
                for one in await platform.messages(chat)
            ):
                await trio.sleep(0.02)
        given = [one for one in client.seen if str(one.get("method")).endswith("/permission")]
        assert len(given) == 1


async def test_a_permission_is_decided_by_words_and_is_no_message_then(state_dir: Path) -> None:
    async with prompted(state_dir) as (platform, chat, client):
        await platform.send(chat, "yes abcde")
        assert (await client.notified(CHANNEL))["content"] == "yes abcde", "nothing is open"
        card = await asked(client, platform, chat)
        await platform.send(chat, " No ABCDE ")
        params = await client.notified("notifications/claude/channel/permission")
        assert params == {"request_id": "abcde", "behavior": "deny"}
        late = await platform.http.post(
            f"{platform.base_url}/sandbox/click",
            json={"message_id": card["message_id"], "element_id": "option_0"},
        )
        # Unless the button is gone already, which is a bad request of the test.
        if late.status_code != 400:
            shown = late.json()
            assert shown["code"] != 0 or "no longer" in str(shown["toast"])


# ── its end ─────────────────────────────────────────────────────────────────


async def test_it_ends_with_its_input_and_with_a_signal(state_dir: Path) -> None:
    async with open_served(state_dir):
        async with mcp(state_dir) as client:
            await attached(client)
            await client.close_input()
            assert await client.wait() == 0
        for number in (signal.SIGINT, signal.SIGTERM):
            async with mcp(state_dir) as client:
                await attached(client)
                client.process.send_signal(number)
                assert await client.wait() == 0


async def test_it_does_not_outlive_its_parent(state_dir: Path, tmp_path: Path) -> None:
    # A parent that leaves its child's input open in another process, and is killed.
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, subprocess, sys\n"
        "child = subprocess.Popen(sys.argv[1:])\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    env = environment() | {"LARKD_STATE_DIR": str(state_dir), "LARKD_AUTOSTART": "0"}
    read_end, write_end = os.pipe()
    try:
        parent = await trio.lowlevel.open_process(
            [sys.executable, str(script), *larkd("mcp")],
            stdin=read_end,
            stdout=subprocess.PIPE,
            env=env,
        )
        assert parent.stdout is not None
        os.write(write_end, b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        printed = b""
        while printed.count(b"\n") < 2:
            printed += await parent.stdout.receive_some(100)
        pid = int(next(line for line in printed.splitlines() if line.isdigit()))
        parent.kill()
        await parent.wait()
        with trio.fail_after(60):
            while Path(f"/proc/{pid}").exists() and not zombie(pid):
                await trio.sleep(0.05)
    finally:
        os.close(read_end)
        os.close(write_end)


def zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def test_it_starts_the_daemon_where_none_runs(state_dir: Path, tmp_path: Path) -> None:
    async with open_platform() as platform:
        config = tmp_path / "config.json"
        made = platform.running.settings
        secret = {"env": "THE_SECRET"}
        text = configuration(platform.base_url, made.app_id, "").replace(
            '"appSecret": ""', f'"appSecret": {json.dumps(secret)}'
        )
        config.write_text(text)
        more: dict[str, Any] = {
            "LARKD_AUTOSTART": "1",
            "LARKD_CONFIG": str(config),
            "THE_SECRET": made.app_secret,
            "A_TOKEN_OF_THE_AGENT": "never to be passed on",
        }
        pid = 0
        try:
            async with mcp(state_dir, **more) as client:
                status = await attached(client)
                pid = status["daemon"]["pid"]
                passed = Path(f"/proc/{pid}/environ").read_bytes()
                assert b"THE_SECRET" in passed
                assert b"A_TOKEN_OF_THE_AGENT" not in passed
                assert b"LARKD_SESSION_ID" not in passed
            assert Path(f"/proc/{pid}").exists(), "it is no child of the session"
        finally:
            if pid:
                os.kill(pid, signal.SIGTERM)
                with trio.fail_after(60):
                    while Path(f"/proc/{pid}").exists() and not zombie(pid):
                        await trio.sleep(0.05)


async def test_the_doctor_answers_also_without_a_daemon(state_dir: Path) -> None:
    async with mcp(state_dir) as client:
        found, text = await client.tool("feishu_channel_doctor")
        assert found
        assert "no larkd ever ran with it" in text


async def test_another_session_may_not_reply_where_it_was_never_spoken_to(
    state_dir: Path,
) -> None:
    async with (
        open_served(state_dir) as platform,
        session(state_dir, "boss", "dispatcher"),
        mcp(state_dir, role="session") as client,
    ):
        await attached(client)
        chat: Any = await platform.chat()
        refused = await client.tool("reply", chat_id=chat["chat_id"], text="hello")
        assert refused == (
            False,
            f"session session-one was never given a message from chat {chat['chat_id']}",
        )


# ── inside an agent that is attached already ────────────────────────────────


async def test_inside_an_attached_agent_it_has_that_session_s_tools_and_is_no_session(
    state_dir: Path,
) -> None:
    async with (
        open_served(state_dir) as platform,
        session(state_dir, "robot", "session") as robot,
        mcp(state_dir, role="session", LARKD_SESSION_ID="robot", LARKD_INSIDE="acp") as client,
    ):
        status = await attached(client)
        assert [one["sessionId"] for one in status["sessions"]] == ["robot"]
        chat = await platform.chat()
        reply = {"chat_id": chat["chat_id"], "text": "from inside"}
        _, refused = await client.tool("reply", **reply)
        assert refused.startswith("session robot was never given a message from chat")
        await platform.send(chat, "/use robot")
        await platform.send(chat, "hello")
        await robot.until("deliver")
        sent, text = await client.tool("reply", **reply)
        assert sent, text
        assert any("from inside" in one["content"] for one in await platform.messages(chat))


async def test_inside_nobody_speaks_for_a_session_without_its_role_s_token(
    state_dir: Path,
) -> None:
    async with (
        open_served(state_dir),
        session(state_dir, "boss", "dispatcher"),
        session(state_dir, "boss", "observer", capabilities=["inside"]) as observer,
        connect(state_dir) as other,
    ):
        answer = await observer.tool("inbox")
        assert answer["error"] == "an observer may call feishu_channel_status only"
        refused = await other.register(
            state_dir, "boss", "observer", token_role="session", capabilities=["inside"]
        )
        assert (refused["t"], refused["code"]) == ("refused", "role_mismatch")

"""Programs nobody here wrote, against ours: official MCP clients, and an ACP agent."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.kit import node
from tests.kit.daemon import Platform, environment, open_daemon, open_platform, open_served
from tests.kit.ports import free_port
from tests.kit.stdio_process import StdioProcess, larkd, open_stdio

Map = dict[str, Any]
CLIENTS = Path(__file__).parent / "clients"


@pytest.fixture(scope="module")
def node_modules() -> Path:
    """Return the folder of the locked packages."""
    return node.installed(CLIENTS, ["mcp_client.mjs"])


async def call(client: StdioProcess, name: str, **args: Any) -> Map:
    await client.send_bytes(json.dumps({"name": name, "args": args}).encode() + b"\n")
    return await client.until(lambda one: one.get("called") == name)


async def attached(client: StdioProcess) -> None:
    with trio.fail_after(60):
        while (await call(client, "feishu_channel_status"))["error"]:
            await trio.sleep(0.05)


async def drive(state_dir: Path, command: Sequence[str], *, takes_channels: bool) -> None:
    env = environment() | {
        "LARKD_STATE_DIR": str(state_dir),
        "LARKD_ROLE": "dispatcher",
        "LARKD_AUTOSTART": "0",
    }
    async with open_platform() as platform, open_stdio([*command, *larkd("mcp")], env) as client:
        first = await client.until(lambda one: "tools" in one, within_s=60)
        assert first["server"] == "feishu"
        assert "reply" in first["tools"]
        chat = await platform.chat()
        for number in (1, 2):  # the daemon is another one the second time
            async with open_daemon(platform, state_dir) as daemon:
                await attached(client)
                sent = await platform.send(chat, f"hello {number}")
                if takes_channels:
                    notice = await client.until(lambda one: "notified" in one)
                    assert notice["notified"] == "notifications/claude/channel"
                    assert notice["params"]["content"] == f"hello {number}"
                await inbox_holds(client, f"hello {number}")
                answer = await call(
                    client,
                    "reply",
                    chat_id=chat["chat_id"],
                    message_id=sent["message_id"],
                    text=f"answer {number}",
                )
                assert answer["text"].startswith("Sent to "), answer
                await daemon.kill()
            gone = await call(client, "reply", chat_id=chat["chat_id"], text="x")
            assert gone["error"]
        assert "answer 2" in str(await platform.messages(chat))
        await client.close_input()
        await client.until(lambda one: one.get("closed") is True)


async def inbox_holds(client: StdioProcess, content: str) -> None:
    with trio.fail_after(60):
        while content not in (await call(client, "inbox"))["text"]:
            await trio.sleep(0.05)


async def test_the_python_mcp_client(state_dir: Path) -> None:
    command = [sys.executable, str(CLIENTS / "mcp_client.py")]
    await drive(state_dir, command, takes_channels=False)


@pytest.mark.parametrize("mode", ["first", "legacy", "auto"])
async def test_the_typescript_mcp_clients(state_dir: Path, node_modules: Path, mode: str) -> None:
    """In the mode ``auto`` it probes for a newer revision first, as Claude Code does."""
    command = ["node", str(node_modules / "mcp_client.mjs"), mode]
    await drive(state_dir, command, takes_channels=True)


async def test_the_example_agent_of_the_typescript_acp_sdk(
    state_dir: Path, tmp_path: Path, node_modules: Path
) -> None:
    agent = node_modules / "node_modules/@agentclientprotocol/sdk/dist/examples/agent.js"
    command = larkd("acp", "--state-dir", str(state_dir), "--role", "dispatcher", "--cwd")
    async with (
        open_served(state_dir) as platform,
        open_stdio([*command, str(tmp_path), "--", "node", str(agent)], environment()),
    ):
        chat = await platform.chat()
        await platform.send(chat, "improve my project")
        await platform.wait_cards(1, "Reading project files", "I'll help you with that")
        question = await permission_card(platform, chat)
        assert "Modifying critical configuration file" in question["content"]
        await platform.post("click", message_id=question["message_id"], element_id="option_0")
        await platform.wait_cards(
            1, "The changes have been applied.", "🔧 Tool calls (2)", "Done · "
        )
        await platform.send(chat, "once more")
        await platform.wait_cards(1, "Processing... ", "I'll help you with that")
        await platform.send(chat, "stop")
        await platform.wait_cards(1, "🛑 Stopped")


@pytest.fixture(scope="module")
def python_acp_examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fetch what the installed library's wheel leaves out; return the examples' folder."""
    folder = tmp_path_factory.mktemp("acp")
    release = f"agent-client-protocol=={version('agent-client-protocol')}"
    fetch = (sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps")
    done = subprocess.run(
        [*fetch, "--no-binary", ":all:", "--dest", str(folder), release],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (archive,) = folder.glob("*.tar.gz")
    shutil.unpack_archive(archive, folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz") / "examples"


@pytest.mark.parametrize("example", ["echo_agent.py", "agent.py"])
async def test_the_example_agents_of_the_python_acp_sdk(
    state_dir: Path, tmp_path: Path, python_acp_examples: Path, example: str
) -> None:
    command = larkd("acp", "--state-dir", str(state_dir), "--role", "dispatcher", "--cwd")
    agent = (sys.executable, str(python_acp_examples / example))
    async with (
        open_served(state_dir) as platform,
        open_stdio([*command, str(tmp_path), "--", *agent], environment()),
    ):
        chat = await platform.chat()
        await platform.send(chat, "repeat this")
        await platform.wait_cards(1, "repeat this", "Done · ", within_s=60)


async def permission_card(platform: Platform, chat: Map) -> Map:
    with trio.fail_after(60):
        while True:
            for message in await platform.messages(chat):
                if "option_0" in message["content"]:
                    return message
            await trio.sleep(0.05)


async def test_the_mcp_conformance_suite(state_dir: Path, node_modules: Path) -> None:
    """Its scenarios for servers that apply, over HTTP, which a proxy of others' bridges."""
    binaries = node_modules / "node_modules" / ".bin"
    port = free_port()
    env = environment() | {"LARKD_STATE_DIR": str(state_dir), "LARKD_AUTOSTART": "0"}
    bridge = await trio.lowlevel.open_process(
        [
            *(str(binaries / "mcp-proxy"), "--host", "127.0.0.1", "--port", str(port)),
            *("--", *larkd("mcp")),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=env,
    )
    try:
        with trio.fail_after(60):
            while not await listens(port):
                await trio.sleep(0.1)
        for scenario in ("server-initialize", "ping", "tools-list"):
            done = await trio.run_process(
                [
                    *(str(binaries / "conformance"), "server"),
                    *("--url", f"http://127.0.0.1:{port}/mcp", "--scenario", scenario),
                ],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
            printed = done.stdout.decode()
            assert done.returncode == 0, printed + done.stderr.decode()
            assert "Passed: 1/1, 0 failed, 0 warnings" in printed
    finally:
        bridge.terminate()
        with trio.move_on_after(60, shield=True):
            await bridge.wait()


async def listens(port: int) -> bool:
    try:
        await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
    except OSError:
        return False
    return True

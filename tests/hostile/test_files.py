"""Files of larkd, and of other machines, that a session would have sent into a chat."""

from __future__ import annotations

import json
import os
import ssl
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from actors.kit.real_files import NotAFile, read_real
from actors.proxies.agent_files import AgentFiles
from tests.cluster.nodes import Certificates
from tests.daemon.test_outbound import bots, given
from tests.kit.daemon import environment, open_daemon, open_platform, open_served
from tests.kit.ports import free_port
from tests.kit.raw_proxy import Map, RawProxy, session
from tests.kit.stdio_process import larkd, open_stdio


async def test_a_proxy_of_another_machine_names_no_files_of_this_one(
    state_dir: Path, tmp_path: Path
) -> None:
    made = Certificates.made(tmp_path)
    port = free_port()
    tls = {"host": "127.0.0.1", "port": port, "certFile": str(made.cert), "keyFile": str(made.key)}
    (tmp_path / "private.txt").write_text("of this machine")
    async with (
        open_served(state_dir, listen={"tls": tls}) as platform,
        await trio.open_ssl_over_tcp_stream(
            "localhost", port, ssl_context=ssl.create_default_context(cafile=str(made.ca))
        ) as stream,
    ):
        far = RawProxy(stream)
        registered = await far.register(
            state_dir, "far", "dispatcher", capabilities=[], metadata={"cwd": str(tmp_path)}
        )
        assert registered["t"] == "registered"
        chat = await platform.chat()
        await given(platform, far, chat, "send it")
        there = str(tmp_path / "private.txt")
        refused = await far.tool("reply", chat_id=chat["chat_id"], text="t", files=[there])
        assert "does not lie in the session's directory" in refused["error"]
        assert await bots(platform, chat) == []
        along = [{"name": "own.txt", "content": b"read over there"}]
        sent = await far.tool("reply", chat_id=chat["chat_id"], text="t", files=along)
        assert sent["ok"], sent


async def test_a_configuration_and_a_key_are_not_sent_though_no_secret_stands_in_them(
    state_dir: Path, tmp_path: Path
) -> None:
    async with open_platform() as platform:
        (tmp_path / "secret").write_text(platform.running.settings.app_secret)
        (tmp_path / "secret").chmod(0o600)
        own = {"appSecret": {"file": str(tmp_path / "secret")}}
        async with (
            open_daemon(platform, state_dir, **own),
            session(
                state_dir, "boss", "dispatcher", capabilities=[], metadata={"cwd": str(tmp_path)}
            ) as boss,
        ):
            chat = await platform.chat()
            await given(platform, boss, chat, "send them")
            config = state_dir.parent / f"{state_dir.name}.json"
            (tmp_path / "hard").hardlink_to(tmp_path / "secret")
            for path in (config, tmp_path / "secret", tmp_path / "hard"):
                answer = await boss.tool(
                    "reply", chat_id=chat["chat_id"], text="t", files=[str(path)]
                )
                assert not answer["ok"], path
            assert await bots(platform, chat) == []


async def test_an_mcp_session_sends_nothing_of_larkd_from_outside_its_directory(
    state_dir: Path, tmp_path: Path
) -> None:
    """What lies elsewhere its own proxy reads, and sends along; larkd's own files it does not."""
    (tmp_path / "cwd").mkdir()
    (tmp_path / "elsewhere.txt").write_text("a session's user may read it")
    async with open_served(state_dir) as platform:
        env = environment() | {
            "LARKD_STATE_DIR": str(state_dir),
            "LARKD_ROLE": "dispatcher",
            "CLAUDE_PROJECT_DIR": str(tmp_path / "cwd"),
        }
        async with open_stdio(larkd("mcp"), env, tmp_path / "cwd") as agent:
            await agent.ask("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}})
            await agent.send(method="notifications/initialized")
            chat = await platform.chat()
            await platform.send(chat, "send them")
            await agent.notified("notifications/claude/channel")

            async def sent_by_it() -> list[Map]:
                """What is no notice of the daemon's own, as of a session that is slow to read."""
                return [one for one in await bots(platform, chat) if one["msg_type"] != "text"]

            config = state_dir.parent / f"{state_dir.name}.json"
            for path in (state_dir / "tokens" / "dispatcher.token", config, "/dev/zero"):
                done, text = await agent.tool(
                    "reply", chat_id=chat["chat_id"], text="t", files=[str(path)]
                )
                assert not done, path
                assert str(path) in text
            assert await sent_by_it() == []
            outside = [str(tmp_path / "elsewhere.txt")]
            done, text = await agent.tool("reply", chat_id=chat["chat_id"], text="t", files=outside)
            assert done, text
            interactive, file = await sent_by_it()
            assert (interactive["msg_type"], file["msg_type"]) == ("interactive", "file")
            assert json.loads(file["content"])["file_key"]


def test_an_agent_that_swaps_a_directory_for_a_link_gets_out_of_its_own_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``fs/read_text_file`` and ``fs/write_text_file``, with the swap right after the check."""
    root, away = tmp_path / "root", tmp_path / "away"
    for folder, text in ((root / "real", "mine"), (away, "not mine")):
        (folder / "in").mkdir(parents=True)
        (folder / "in" / "x").write_text(text)
    (root / "link").symlink_to(away)
    files = AgentFiles(str(root))
    with pytest.raises(ValueError, match="is not inside"):
        files.read({"path": str(root / "link" / "in" / "x")})
    resolve = os.path.realpath

    def resolve_and_swap(path: str) -> str:
        resolved = resolve(path)
        (root / "real").rename(root / "kept")
        (root / "real").symlink_to(away)
        return resolved

    for asked in (
        lambda: files.read({"path": str(root / "real" / "in" / "x")}),
        lambda: files.write({"path": str(root / "real" / "in" / "x"), "content": "written"}),
        lambda: files.write({"path": str(root / "real" / "new" / "y"), "content": "written"}),
        lambda: files.write({"path": str(root / "real" / "z"), "content": "written"}),
    ):
        with monkeypatch.context() as patched, pytest.raises(OSError, match="real"):
            patched.setattr(os.path, "realpath", resolve_and_swap)
            asked()
        (root / "real").unlink()
        (root / "kept").rename(root / "real")
    assert (away / "in" / "x").read_text() == "not mine"
    assert sorted(one.name for one in away.rglob("*")) == ["in", "x"]
    assert files.read({"path": str(root / "real" / "in" / "x")}) == "mine"


def test_an_agent_waits_for_no_pipe_and_replaces_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    files = AgentFiles(str(tmp_path))
    with pytest.raises(NotAFile):
        files.read({"path": str(tmp_path / "pipe")})
    with pytest.raises(ValueError, match="is no file"):
        files.write({"path": str(tmp_path / "pipe"), "content": "x"})
    (tmp_path / "run.sh").write_text("old")
    (tmp_path / "run.sh").chmod(0o750)
    files.write({"path": str(tmp_path / "run.sh"), "content": "half of a pair: \ud800"})
    assert (tmp_path / "run.sh").read_text() == "half of a pair: ?"
    assert (tmp_path / "run.sh").stat().st_mode & 0o777 == 0o750
    files.write({"path": str(tmp_path / "new" / "er" / "x"), "content": "x"})
    assert sorted(one.name for one in tmp_path.iterdir()) == ["new", "pipe", "run.sh"]


def test_a_directory_that_becomes_a_link_meanwhile_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "real" / "in").mkdir(parents=True)
    (tmp_path / "real" / "in" / "x").write_text("mine")
    (tmp_path / "other" / "in").mkdir(parents=True)
    (tmp_path / "other" / "in" / "x").write_text("not mine")
    path = tmp_path / "real" / "in" / "x"
    assert read_real(path, 100) == b"mine"
    assert read_real(path, 2) == b"mi"
    with pytest.raises(NotAFile):
        read_real(path.parent, 100)
    os.mkfifo(path.parent / "pipe")
    with pytest.raises(NotAFile):
        read_real(path.parent / "pipe", 100)
    (tmp_path / "swap").symlink_to("other")
    over = threading.Event()

    def swap() -> None:
        """Let the directory be a link, and a directory again, as fast as it goes."""
        while not over.is_set():
            (tmp_path / "real").rename(tmp_path / "kept")
            (tmp_path / "swap").rename(tmp_path / "real")
            (tmp_path / "real").rename(tmp_path / "swap")
            (tmp_path / "kept").rename(tmp_path / "real")

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        for _ in range(2_000):
            with suppress(OSError):
                assert read_real(path, 100) == b"mine"
    finally:
        over.set()
        swapping.join()

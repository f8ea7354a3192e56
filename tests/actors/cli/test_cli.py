"""The command line, as its users have it: real processes, exit statuses, messages."""

from __future__ import annotations

import io
import itertools
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

import actors
from actors import links
from actors.cli import operator, qr, status
from actors.cli.arguments import parse_daemon_arguments
from actors.cli.main import main
from actors.host import state_dir, tokens
from actors.host.arguments import DaemonArguments
from actors.messages import ownership
from protocol.config.places import DaemonInfo, StateDir
from protocol.ids import ConnectionId
from protocol.wire import codec
from protocol.wire import messages as wire
from protocol.wire.framing import FrameReader, frame
from tests.kit.daemon import configuration, environment

LARKD = [sys.executable, "-m", "actors.cli"]
WITHIN_S = 60


def larkd(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LARKD, *arguments],
        env=environment() | env,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    found = StateDir(tmp_path / "state")
    state_dir.create(found)
    return found


def serving(port: int) -> DaemonInfo:
    return DaemonInfo(
        host="127.0.0.1",
        port=port,
        pid=os.getpid(),
        version="0.1.0",
        generation=2,
        started_at=time.time_ns() // 1_000_000,
    )


# ── arguments ───────────────────────────────────────────────────────────────


def test_the_daemons_arguments() -> None:
    assert parse_daemon_arguments([]) == DaemonArguments(
        config=None, state_dir=None, sandbox=False, check=False, listen=None
    )
    every = [
        "--config",
        "c.toml",
        "--state-dir",
        "s",
        "--sandbox",
        "--check",
        "--listen",
        "[::1]:0",
    ]
    assert parse_daemon_arguments(every) == DaemonArguments(
        config=Path("c.toml"), state_dir=Path("s"), sandbox=True, check=True, listen="[::1]:0"
    )


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("serve",), "invalid choice: 'serve'"),
        (("status", "--jsn"), "unrecognized arguments: --jsn"),
        (("daemon", "--sand"), "unrecognized arguments: --sand"),
        (("daemon", "--config"), "--config: expected one argument"),
        (("daemon", "extra"), "invalid choice: 'extra'"),
        (("handoff",), "{grant,acquire,return,reclaim}"),
        (("handoff", "acquire"), "one of the arguments SESSION --session-id --match is required"),
        (("handoff", "grant", "a", "--match", "x=1"), "not allowed with argument SESSION"),
        (("handoff", "grant", "--match", "cwd"), "'cwd' is not KEY=VALUE"),
        (("tokens", "rotate", "boss"), "invalid choice: 'boss'"),
        (("status", "--state-dir", ""), "argument --state-dir: it is empty; name one"),
        (("daemon", "--config", ""), "argument --config: it is empty; name one"),
        (("backup", ""), "argument FILE: it is empty; name one"),
    ],
)
def test_bad_usage_ends_with_2(arguments: tuple[str, ...], wanted: str) -> None:
    done = larkd(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert wanted in done.stderr


@pytest.mark.parametrize("arguments", [("mcp",), ("acp", "--", "sh"), ("status",)])
def test_an_address_that_is_none_ends_every_client_with_2(arguments: tuple[str, ...]) -> None:
    done = larkd(*arguments, LARKD_ADDRESS="a.example")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"larkd {arguments[0]}: LARKD_ADDRESS: 'a.example' is no list of addresses; write it as"
        " tls://a.example:7346,tls://b.example:7346\n"
    )


@pytest.mark.parametrize("arguments", [("--help",), ("status", "--help"), ("daemon", "--help")])
def test_help_is_on_stdout_and_ends_with_0(arguments: tuple[str, ...]) -> None:
    done = larkd(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: larkd")


@pytest.mark.parametrize("free_bytes", [0, 20, 60])
def test_where_no_space_is_left_the_directory_is_named(tmp_path: Path, free_bytes: int) -> None:
    """For the lock's pid, the tokens, the record of the start: each the first that lacks it."""
    config = tmp_path / "config.json"
    config.write_text(configuration("http://127.0.0.1:9", "cli_0123456789abcdef", "none"))
    state = tmp_path / "state"
    code = (
        "import resource, sys, actors.cli.main as cli\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({free_bytes}, {free_bytes}))\n"
        "sys.exit(cli.main(['daemon', *sys.argv[1:]]))"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, "--config", config, "--state-dir", state],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"larkd: the state directory {state} can't be used: File too large;"
        " name another one with --state-dir or LARKD_STATE_DIR\n"
    )


@pytest.mark.parametrize("named", [".", "..", "/"])
def test_a_directory_may_be_named_by_its_place(tmp_path: Path, named: str) -> None:
    done = subprocess.run(
        [*LARKD, "status", "--state-dir", named],
        cwd=tmp_path,
        env=environment() | {"PYTHONPATH": str(Path(actors.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("larkd status: larkd is not running on ")


def test_what_the_system_refuses_is_a_line(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "larkd.db").mkdir()
    done = larkd("backup", str(tmp_path / "copy"), "--state-dir", str(state))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("larkd backup: ")
    assert done.stderr.count("\n") == 1


def test_help_shows_every_command_and_how_to_try_it() -> None:
    shown = larkd("--help").stdout
    for needed in ("daemon", "status", "sandbox", "larkd daemon --sandbox", "Exit status: 0"):
        assert needed in shown


def test_help_needs_neither_the_event_loop_nor_the_platforms_library() -> None:
    code = (
        "import sys, contextlib, actors.cli.main\n"
        "with contextlib.suppress(SystemExit): actors.cli.main.main(['--help'])\n"
        "print([m for m in ('trio', 'lark_oapi', 'httpx', 'structlog') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_state_directory_may_stand_before_or_after_an_action(tmp_path: Path) -> None:
    where = ("--state-dir", str(tmp_path / "typo"))
    for arguments in (
        ("tokens", *where, "rotate", "session"),
        ("tokens", "rotate", "session", *where),
    ):
        done = larkd(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{tmp_path / 'typo'} is not the state directory of a larkd" in done.stderr


# ── status ──────────────────────────────────────────────────────────────────

STATUS: dict[str, Any] = {
    "owner_session_id": "dispatcher:1",
    "dispatcher_session_id": "dispatcher:1",
    "granted_session_id": None,
    "effective_target_session_id": "dispatcher:1",
    "lease_epoch": 4,
    "sessions": [
        {
            "sessionId": "dispatcher:1",
            "pid": 77,
            "proxyVersion": "0.1.0",
            "role": "dispatcher",
            "metadata": {"cwd": "/src/\x1b[31mapi"},
            "alias": "api",
            "capabilities": ["turns"],
            "connected_at": 1_000,
            "unanswered": 2,
        }
    ],
    "bindings": {"oc_1": "session:2"},
    "daemon": {"version": "0.1.0", "pid": 5, "generation": 2, "started_at": 0},
    "queue": {"pending": 3, "in_flight": 1, "oldest_pending_ms": 61_000, "damaged": 0},
    "connection": {"main": {"state": "connected", "last_event_at": 59_000, "last_error": None}},
}


NOW: dict[str, Any] = {
    "turns": [
        {"session_id": "session:2", "account": "main", "chat_id": "oc_1", "since": 5}
        | {"seen_by": "message"},
        {"session_id": "dispatcher:1", "account": "main", "chat_id": "oc_1", "since": 3_600_000}
        | {"seen_by": "card"},
    ],
    "chat_names": {"main": {"oc_1": "Team"}},
    "cards_in_flight": 1,
    "approvals_waiting": 2,
    "rows": {"ready": 3},
    "waiting_chats": [{"account": "main", "chat_id": "oc_1", "waiting": 3, "oldest_at": 3_600_000}],
    "budgets": [
        {"account": "main", "endpoint": "POST /a", "in_minute": 12, "minute_max": 1_000},
        {"account": "main", "endpoint": "POST /b", "in_minute": 0, "minute_max": 1_000},
    ],
}


async def answer_overview(_args: object) -> ownership.ToolDone:
    await trio.lowlevel.checkpoint()
    return ownership.ToolDone(result=NOW)


async def answer_status(inbox: trio.MemoryReceiveChannel[Any]) -> None:
    """What the ownership actor does for an observer."""
    async for message in inbox:
        match message:
            case ownership.RegisterSession(role="observer", reply=reply):
                with reply:
                    reply.send(ownership.Admitted(alias="", lease_epoch=4))
            case ownership.CallTool(name="feishu_channel_status", reply=reply):
                with reply:
                    reply.send(ownership.ToolDone(result=STATUS))
            case ownership.LinksStarted() | ownership.ConnectionEnded():
                pass
            case other:
                raise AssertionError(other)


async def larkd_while(
    serve: Callable[[list[trio.SocketListener]], Awaitable[None]],
    state: StateDir,
    *arguments: str,
) -> subprocess.CompletedProcess[bytes]:
    """Run ``larkd`` while something serves the address in ``daemon.json``."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    state_dir.write_daemon_info(state, serving(listeners[0].socket.getsockname()[1]))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, listeners)
        with trio.fail_after(WITHIN_S):
            done = await trio.run_process(
                [*LARKD, *arguments, "--state-dir", str(state.root)],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        nursery.cancel_scope.cancel()
    for listener in listeners:
        await listener.aclose()
    return done


def links_of(state: StateDir) -> Callable[[list[trio.SocketListener]], Awaitable[None]]:
    """The daemon's own links, with the tokens of this state directory."""
    verify = tokens.open_tokens(state, secrets.token_urlsafe).verify
    numbers = itertools.count(1)
    settings = links.LinkSettings(
        daemon_version="0.1.0",
        generation=2,
        verify=verify,
        next_connection_id=lambda: ConnectionId(next(numbers)),
        tools=links.Tools(of_onlookers={"larkd_overview": answer_overview}),
    )

    async def serve(listeners: list[trio.SocketListener]) -> None:
        tx, rx = trio.open_memory_channel[Any](8)
        with tx, rx:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(answer_status, rx)
                nursery.start_soon(links.serve, listeners, settings, tx)

    return serve


async def test_status_asks_the_daemon_as_an_observer(state: StateDir) -> None:
    done = await larkd_while(links_of(state), state, "status", "--json")
    assert done.stderr == b""
    assert done.returncode == 0
    shown = msgspec.json.decode(done.stdout)
    assert shown.pop("version") == 1
    (one,) = shown.pop("sessions")
    assert (one["session_id"], one["proxy_version"]) == ("dispatcher:1", "0.1.0")
    assert not [key for key in one if key != key.lower()]
    assert (one["turn_since"], one["turn_chat"]["chat_id"]) == (3_600_000, "oc_1")
    expected = STATUS | {key: value for key, value in NOW.items() if key != "turns"}
    assert shown == {key: value for key, value in expected.items() if key != "sessions"}


async def test_status_shows_a_table_to_people(state: StateDir) -> None:
    done = await larkd_while(links_of(state), state, "status")
    assert done.returncode == 0
    shown = done.stdout.decode()
    assert "goes to     dispatcher:1" in shown
    assert "cards         1 in flight, 2 approvals wait for a press" in shown
    assert "budget        12 of 1000 a minute  POST /a" in shown
    assert "POST /b" not in shown
    assert "    Team:  3 waiting, the oldest for " in shown


def test_the_table() -> None:
    assert status.as_text(STATUS, now_ms=3_661_000, columns=200).splitlines() == [
        "larkd 0.1.0   pid 5, start 2, up 1h 1m",
        "connections",
        "  main: connected, last event 1h 0m ago",
        "channel",
        "  owner       dispatcher:1",
        "  dispatcher  dispatcher:1",
        "  granted     -",
        "  goes to     dispatcher:1",
        "  epoch       4",
        "queue         3 waiting, the oldest for 1m 1s",
        "              1 offered and not yet taken",
        "sessions",
        "  ALIAS  ROLE        DOES  UP     SESSION       PID  WHERE",
        "  api    dispatcher  idle  1h 1m  dispatcher:1  77   /src/\\u001b[31mapi",
        "  api was given 2 messages over 10 minutes ago and has not answered",
        "chats bound to a session",
        "  oc_1  → session:2",
    ]


def test_the_table_of_a_daemon_with_nothing_and_trouble() -> None:
    shown = status.as_text(
        {
            "effective_target_session_id": None,
            "connection": {"main": {"state": "refused", "last_error": "app secret invalid"}},
            "queue": {"error": "disk I/O error"},
            "sessions": [],
        },
        now_ms=0,
    )
    assert "  main: refused, last error: app secret invalid" in shown
    assert "  goes to     - (nobody; messages wait)" in shown
    assert "queue         unknown: disk I/O error" in shown
    assert shown.splitlines()[-1] == "sessions      none"


def test_status_without_a_daemon_prints_how_to_start_one(tmp_path: Path) -> None:
    done = larkd("status", "--state-dir", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"larkd status: larkd is not running on {tmp_path}; start it with:"
        f" larkd daemon --state-dir {tmp_path}\n"
    )


def test_status_of_a_daemon_that_crashed(state: StateDir) -> None:
    tokens.open_tokens(state, secrets.token_urlsafe)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        state_dir.write_daemon_info(state, serving(taken.getsockname()[1]))
        done = larkd("status", "--state-dir", str(state.root))
    assert done.returncode == 1
    assert "can't be reached" in done.stderr
    assert f"if it crashed, start it: larkd daemon --state-dir {state.root}" in done.stderr


async def test_status_with_a_token_of_another_directory_is_refused(state: StateDir) -> None:
    other = StateDir(state.root.with_name("other"))
    state_dir.create(other)
    tokens.open_tokens(state, secrets.token_urlsafe)
    done = await larkd_while(links_of(other), state, "status")
    assert done.returncode == 1
    assert "bad_proof" in done.stderr.decode()


def test_status_with_a_token_open_to_others_ends_with_2(state: StateDir) -> None:
    tokens.open_tokens(state, secrets.token_urlsafe)
    state_dir.write_daemon_info(state, serving(1))
    state.token("observer").chmod(0o644)
    done = larkd("status", "--state-dir", str(state.root))
    assert done.returncode == 2
    assert "can be read by other users (mode 0644)" in done.stderr


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "something else answers"),
        (b"", "closed the connection"),
    ],
)
async def test_status_where_something_else_listens(
    state: StateDir, sent: bytes, wanted: str
) -> None:
    tokens.open_tokens(state, secrets.token_urlsafe)

    async def handler(stream: trio.SocketStream) -> None:
        async with stream:
            if sent:
                await stream.send_all(sent)

    async def serve(listeners: list[trio.SocketListener]) -> None:
        await trio.serve_listeners(handler, listeners)

    done = await larkd_while(serve, state, "status")
    assert done.returncode == 1
    assert wanted in done.stderr.decode()


@pytest.mark.parametrize("command", [("status",), ("handoff", "reclaim")])
async def test_no_command_believes_who_has_no_proof_of_being_the_daemon(
    state: StateDir, command: tuple[str, ...]
) -> None:
    """Somebody took the port: he lets everybody in, and has an answer to everything."""
    tokens.open_tokens(state, secrets.token_urlsafe)
    asked: list[object] = []

    async def impostor(stream: trio.SocketStream) -> None:
        reader = FrameReader()
        await stream.send_all(frame(wire.Hello(nonce=bytes(32))))
        with suppress(trio.BrokenResourceError):
            while data := await stream.receive_some(4096):
                reader.feed(data)
                for body in reader:
                    asked.append(codec.decode_from_proxy(body))
                    for message in (
                        wire.Registered(
                            session_id="s",
                            alias="s",
                            role="observer",
                            lease_epoch=1,
                            proof="0" * 64,
                        ),
                        wire.ToolResult(id=1, ok=True, result={"sessions": [], "accounts": {}}),
                    ):
                        await stream.send_all(frame(message))

    async def serve(listeners: list[trio.SocketListener]) -> None:
        await trio.serve_listeners(impostor, listeners)

    done = await larkd_while(serve, state, *command)
    assert done.returncode == 1
    assert b"it does not know this state directory's token" in done.stderr
    assert [type(one) for one in asked] == [wire.Register], "nothing else is sent"


async def test_status_of_a_daemon_that_hangs_gives_up(
    state: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens.open_tokens(state, secrets.token_urlsafe)
    monkeypatch.setattr(operator, "ANSWER_WITHIN_S", 0.05)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    state_dir.write_daemon_info(state, serving(listeners[0].socket.getsockname()[1]))
    # The kernel takes the connection; nobody ever answers.
    with pytest.raises(operator.Unavailable, match=r"did not answer within 0\.05 s"):
        await trio.to_thread.run_sync(status.fetch, state)
    for listener in listeners:
        await listener.aclose()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_is_no_accident(unbuffered: str) -> None:
    """``larkd --help | true``."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [*LARKD, "--help"],
            stdout=write_end,
            stderr=subprocess.PIPE,
            timeout=WITHIN_S,
            check=False,
        )
    finally:
        os.close(write_end)
    assert done.stderr == b""
    assert done.returncode in (0, 1)


@pytest.mark.parametrize(("encoding", "arrow"), [("gbk", "→"), ("latin-1", "->")])
def test_what_the_locale_lacks_is_written_otherwise(
    encoding: str, arrow: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = io.BytesIO()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding=encoding))
    assert main(["doctor", "--state-dir", str(tmp_path / "none")]) == 1
    lines = printed.getvalue().decode(encoding).splitlines()
    assert lines[0].startswith("!! daemon: ")
    assert lines[1].startswith(f"     {arrow} set it up: larkd init ")
    assert not qr.can_be_drawn({"TERM": "xterm"})

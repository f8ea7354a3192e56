"""What ``larkd mcp`` and ``larkd acp`` report on standard error of their link to the daemon."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio

from tests.kit.daemon import environment
from tests.kit.stdio_process import larkd

AGENT = Path(__file__).parents[2] / "fakes" / "acp_agent.py"


def frame(**message: object) -> bytes:
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(4, "big") + body


async def pretend(came: list[trio.Event], stream: trio.SocketStream) -> None:
    """Let everybody in, without knowing the token; set the next of *came*."""
    if came:
        came.pop(0).set()
    with suppress(trio.BrokenResourceError):  # who is killed resets it
        await let_in(stream)


async def let_in(stream: trio.SocketStream) -> None:
    await stream.send_all(frame(t="hello", protocol=1, nonce=b"n" * 32))
    await stream.receive_some(65_536)
    await stream.send_all(
        frame(
            t="registered",
            session_id="one",
            alias="one",
            role="session",
            lease_epoch=1,
            proof="00" * 32,
            daemon_version="0",
            pid=1,
            generation=1,
        )
    )
    await stream.receive_some(65_536)


@pytest.mark.parametrize(
    "command",
    [
        ("mcp",),
        ("acp", "--alias", "one", "--", sys.executable, str(AGENT)),
    ],
    ids=["mcp", "acp"],
)
async def test_who_answers_in_place_of_the_daemon_is_reported_once(
    state_dir: Path, command: tuple[str, ...]
) -> None:
    (state_dir / "tokens").mkdir(mode=0o700, parents=True)
    state_dir.chmod(0o700)
    for role in ("dispatcher", "session", "observer"):
        token = state_dir / "tokens" / f"{role}.token"
        token.write_text("k" * 43)
        token.chmod(0o600)
    async with trio.open_nursery() as nursery:
        events = [trio.Event() for _ in range(3)]
        serve = partial(trio.serve_tcp, partial(pretend, [*events]), 0, host="127.0.0.1")
        listeners = await nursery.start(serve)
        port = listeners[0].socket.getsockname()[1]
        (state_dir / "daemon.json").write_text(
            json.dumps(
                {
                    "host": "127.0.0.1",
                    "port": port,
                    "pid": 1,
                    "version": "0",
                    "generation": 1,
                    "started_at": 1,
                }
            )
        )
        process = await trio.lowlevel.open_process(
            larkd(*command),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment()
            | {
                "LARKD_STATE_DIR": str(state_dir),
                "LARKD_SESSION_ID": "one",
                "LARKD_AUTOSTART": "0",
            },
        )
        try:
            assert process.stdin is not None
            assert process.stderr is not None
            if command[0] == "mcp":
                line = {"jsonrpc": "2.0", "id": 1, "method": "initialize"}
                line["params"] = {"protocolVersion": "2025-06-18"}
                await process.stdin.send_all(json.dumps(line).encode() + b"\n")
                line = {"jsonrpc": "2.0", "method": "notifications/initialized"}
                await process.stdin.send_all(json.dumps(line).encode() + b"\n")
            printed = b""
            wanted = (
                f"larkd {command[0]}: something else answers at 127.0.0.1:{port};"
                " it does not know this state directory's token\n"
            ).encode()
            with trio.move_on_after(60):
                while wanted not in printed:
                    printed += await process.stderr.receive_some()
            assert wanted in printed
            with trio.fail_after(60):
                await events[2].wait()  # it tries again later, and has been refused again
            assert process.poll() is None
            process.kill()
            while data := await process.stderr.receive_some():
                printed += data
            assert printed.count(wanted) == 1
        finally:
            process.kill()
            with trio.move_on_after(60, shield=True):
                await process.wait()
            nursery.cancel_scope.cancel()

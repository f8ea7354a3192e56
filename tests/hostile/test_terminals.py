"""What others chose the characters of, on the terminal of whoever looks: nothing moves."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import trio

from actors.kit.plain import plain
from tests.kit import preloaded
from tests.kit.daemon import environment, open_served
from tests.kit.raw_proxy import frame, session

MOVING = "\x1b[2J\x1b]0;title\x07\x9b2J\u202e\u2066\u2028\u2029\u200b\x7f\r\nlarkd: all is well"


async def larkd(state_dir: Path, *arguments: str) -> tuple[str, str]:
    """Return what a command wrote; no character of it may move a cursor."""
    command = [*arguments, "--state-dir", str(state_dir)]
    done = await preloaded.run("actors.cli", command, environment())
    shown, complained = done.stdout.decode(), done.stderr.decode()
    for text in (shown, complained):
        assert text.replace("\n", "").isprintable(), (arguments, text)
        assert "\nlarkd: all is well" not in text, arguments
    return shown, complained


async def test_commands_show_what_sessions_and_strangers_call_themselves(state_dir: Path) -> None:
    async with (
        open_served(state_dir, dmPolicy="pairing", allowFrom=[]) as platform,
        session(
            state_dir,
            "evil",
            metadata={"note": MOVING, "alias": MOVING, "cwd": MOVING, MOVING: MOVING},
            proxy_version=MOVING,
        ) as evil,
    ):
        stranger = await platform.chat(name=MOVING)
        await platform.send(stranger, "let me in")
        listed = json.loads((await larkd(state_dir, "status", "--json"))[0])
        (one,) = (one for one in listed["sessions"] if one["session_id"] == "evil")
        assert one["metadata"]["note"] == MOVING
        await larkd(state_dir, "status")
        with trio.fail_after(60):
            while "all is well" not in (await larkd(state_dir, "pair", "list"))[0]:
                pass
        await larkd(state_dir, "pair", "list", "--json")
        await larkd(state_dir, "pair", "approve", MOVING.partition("\r")[0])
        await larkd(state_dir, "log", MOVING.partition("\r")[0])
        await larkd(state_dir, "handoff", "acquire", MOVING.partition("\r")[0])
        await evil.barrier()


async def test_whoever_holds_the_port_writes_nothing_on_the_terminal(state_dir: Path) -> None:
    """He has proved nothing, and what he refuses with is shown."""
    async with open_served(state_dir):
        where = json.loads((state_dir / "daemon.json").read_text())
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    where["port"] = listener.socket.getsockname()[1]
    (state_dir / "daemon.json").write_text(json.dumps(where))
    (state_dir / "daemon.json").chmod(0o600)

    async def refuse(stream: trio.SocketStream) -> None:
        async with stream:
            hello = {"t": "hello", "protocol": 1, "nonce": bytes(32)}
            refused = {"t": "refused", "code": MOVING, "message": MOVING, "at": [MOVING]}
            await stream.send_all(frame(hello) + frame(refused))
            while await stream.receive_some():
                pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, refuse, [listener])
        for arguments in (("status",), ("handoff", "reclaim"), ("doctor",)):
            shown = await larkd(state_dir, *arguments)
            assert "all is well" in "".join(shown) or "something else answers" in "".join(shown)
        nursery.cancel_scope.cancel()


def test_what_is_escaped_is_json_still() -> None:
    text = msgspec.json.encode({MOVING: "\U000e0041é界😀"}).decode()
    assert plain(text).isprintable()
    assert msgspec.json.decode(plain(text)) == {MOVING: "\U000e0041é界😀"}
    assert plain("a\tb\n", "\n\t") == "a\tb\n"
    assert plain("\ud800") == "\\ud800"

"""The TCP connection: what the contract says of bad frames, proofs and early messages."""

from __future__ import annotations

import random
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from tests.kit.daemon import open_daemon, open_platform
from tests.kit.raw_proxy import Closed, connect, registration, session


async def test_errors_say_what_is_wrong_and_the_connection_stays_open(state_dir: Path) -> None:
    async with open_platform() as platform, open_daemon(platform, state_dir):
        async with connect(state_dir) as proxy:
            hello = await proxy.expect("hello")
            assert hello["protocol"] == 1
            assert hello["generation"] == 1
            assert len(hello["nonce"]) == 32

            await proxy.send(t="delta", turn_id="x", text="early")
            early = await proxy.expect("error")
            assert (early["code"], early["fatal"]) == ("not_registered", False)

            await proxy.send(t="tool", id=7, name="feishu_channel_status", args={})
            refused = await proxy.expect("tool_result")
            assert refused["id"] == 7
            assert not refused["ok"]
            assert refused["error"] == "channel proxy is not registered"

            await proxy.send(t="dance")
            unknown = await proxy.expect("error")
            assert (unknown["code"], unknown["fatal"]) == ("unknown_message", False)

            await proxy.send(t="ping", n="three")
            invalid = await proxy.expect("error")
            assert (invalid["code"], invalid["fatal"]) == ("invalid_message", False)
            assert "ping" in invalid["message"]
            assert "`$.n`" in invalid["message"]

            await proxy.send(t="ping", n=3, extra={"unknown": ["keys", "are", "ignored"]})
            assert (await proxy.expect("pong"))["n"] == 3

            await proxy.send(**registration(hello, state_dir, "s", "session", None, {}))
            assert (await proxy.expect("registered"))["alias"] == "s"
            await proxy.send(**registration(hello, state_dir, "s", "session", None, {}))
            assert (await proxy.expect("error"))["code"] == "already_registered"

            for _ in range(3):
                await proxy.send(t="delta", turn_id="ghost", text="x")
            ghost = await proxy.expect("error")
            assert (ghost["code"], ghost["turn_id"]) == ("unknown_turn", "ghost")
            await proxy.send(t="ping", n=4)
            assert (await proxy.expect("pong"))["n"] == 4, "said once per turn"

            unknown_tool = await proxy.tool("dance")
            assert unknown_tool["error"] == "Unknown tool: dance"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"protocol": 2}, "unsupported_protocol"),
        ({"proof": "0" * 64}, "bad_proof"),
        ({"session_id": "no spaces"}, "invalid_session_id"),
        ({"session_id": "x" * 129}, "invalid_session_id"),
    ],
)
async def test_a_bad_registration_is_refused_with_its_code(
    state_dir: Path, fields: dict[str, Any], code: str
) -> None:
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir),
        connect(state_dir) as proxy,
    ):
        answer = await proxy.register(state_dir, "s", **fields)
        assert (answer["t"], answer["code"]) == ("refused", code)
        assert answer["message"]
        assert await proxy.wait_closed() == []


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0\0\0\0",
        (8 * 1024 * 1024 + 1).to_bytes(4, "big"),
        b"\xff\xff\xff\xff",
        b"\0\0\0\1\xc1",
        b"\0\0\0\4\x93\1\2\3",
        b"\0\0\0\2\x80\x80",
    ],
)
async def test_a_bad_frame_is_fatal_for_its_connection_alone(
    state_dir: Path, garbage: bytes
) -> None:
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir),
        session(state_dir, "other") as other,
        connect(state_dir) as proxy,
    ):
        await proxy.expect("hello")
        await proxy.send_bytes(garbage)
        error = await proxy.expect("error")
        assert (error["code"], error["fatal"]) == ("bad_frame", True)
        assert await proxy.wait_closed() == []
        await other.barrier()


async def test_roles_are_proved_by_their_tokens(state_dir: Path) -> None:
    async with open_platform() as platform, open_daemon(platform, state_dir):
        for token in ("dispatcher", "session", "observer"):
            path = state_dir / "tokens" / f"{token}.token"
            assert path.stat().st_mode & 0o777 == 0o600
            assert len(path.read_text()) == 43
        proven = {
            ("dispatcher", "dispatcher"): True,
            ("dispatcher", "session"): True,
            ("dispatcher", "observer"): True,
            ("session", "dispatcher"): False,
            ("session", "session"): True,
            ("session", "observer"): True,
            ("observer", "session"): False,
            ("observer", "observer"): True,
        }
        for (token, role), holds in proven.items():
            async with connect(state_dir) as proxy:
                answer = await proxy.register(state_dir, "s", role, token_role=token)
                assert (answer["t"] == "registered") is holds, (token, role, answer)


async def test_a_newer_connection_of_a_session_replaces_the_older(state_dir: Path) -> None:
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir),
        session(state_dir, "s") as older,
        session(state_dir, "s") as newer,
    ):
        (bye,) = await older.wait_closed()
        assert (bye["t"], bye["reason"]) == ("bye", "replaced")
        status = (await newer.tool("feishu_channel_status"))["result"]
        assert [one["sessionId"] for one in status["sessions"]] == ["s"]


async def test_an_observer_sees_and_is_not_seen(state_dir: Path) -> None:
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir) as daemon,
        session(state_dir, "boss", "dispatcher", metadata={"cwd": "/srv/api"}),
        session(state_dir, "watcher", "observer") as observer,
    ):
        answer = await observer.tool("feishu_channel_status")
        status = answer["result"]
        assert [one["sessionId"] for one in status["sessions"]] == ["boss"]
        assert status["sessions"][0]["alias"] == "api"
        assert status["sessions"][0]["metadata"] == {"cwd": "/srv/api"}
        assert status["owner_session_id"] == status["effective_target_session_id"] == "boss"
        assert status["queue"]["pending"] == 0
        assert status["connection"]["default"]["state"] in {"connecting", "connected"}
        refused = await observer.tool("feishu_channel_reclaim", 2)
        assert not refused["ok"]
        daemon.signal(signal.SIGTERM)
        (bye,) = await observer.wait_closed()
        assert (bye["t"], bye["reason"]) == ("bye", "shutdown")


async def test_rubbish_of_every_kind_never_takes_the_daemon_down(state_dir: Path) -> None:
    rng = random.Random(20261120)
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir),
        session(state_dir, "steady") as steady,
    ):
        for _ in range(150):
            async with connect(state_dir) as proxy:
                hello = await proxy.expect("hello")
                if rng.random() < 0.5:
                    await proxy.send(**registration(hello, state_dir, "fuzz", "session", None, {}))
                # A torn frame ends its own link; half of one waits for the rest.
                with suppress(Closed, trio.BrokenResourceError), trio.move_on_after(1):
                    for _ in range(rng.randrange(1, 6)):
                        await proxy.send_bytes(_rubbish(rng))
                    await proxy.barrier()
        await steady.barrier()


def _rubbish(rng: random.Random) -> bytes:
    match rng.randrange(4):
        case 0:
            return rng.randbytes(rng.randrange(1, 200))
        case 1:
            body = rng.randbytes(rng.randrange(1, 60))
        case 2:
            body = msgspec.msgpack.encode(
                {
                    "t": rng.choice(["delta", "turn_end", "register", "tool", "ack", "plan"]),
                    rng.choice(["turn_id", "id", "name", "text"]): rng.choice(
                        [1, None, "x" * 1000, [1], {"a": 1}, 2**63, -1, 1.5, b"\0"]
                    ),
                }
            )
        case _:
            body = b"\x91" * rng.randrange(1, 3000) + b"\xc0"
    return len(body).to_bytes(4, "big") + body

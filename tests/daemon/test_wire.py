"""The TCP connection: what the contract prescribes for bad frames, proofs and early messages."""

from __future__ import annotations

import hashlib
import hmac
import random
import resource
import signal
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from actors.kit.descriptors import raise_limit
from tests.kit.daemon import open_daemon, open_platform, open_served
from tests.kit.raw_proxy import Closed, connect, registration, session


async def test_errors_name_what_is_wrong_and_the_connection_stays_open(state_dir: Path) -> None:
    async with open_served(state_dir):
        async with connect(state_dir) as proxy:
            hello = await proxy.expect("hello")
            assert hello == {"t": "hello", "protocol": 1, "nonce": hello["nonce"]}
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
            assert (await proxy.expect("pong"))["n"] == 4, "reported once per turn"

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
    async with open_served(state_dir), connect(state_dir) as proxy:
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
        open_served(state_dir),
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
    async with open_served(state_dir):
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
                answer = await proxy.register(state_dir, f"s-{role}", role, token_role=token)
                assert (answer["t"] == "registered") is holds, (token, role, answer)


async def test_the_daemon_proves_itself_with_the_token_that_proved_the_proxy(
    state_dir: Path,
) -> None:
    ours = bytes(range(32))
    async with open_served(state_dir):
        for token in ("session", "dispatcher"):
            async with connect(state_dir) as proxy:
                hello = await proxy.expect("hello")
                fields = {"nonce": ours}
                await proxy.send(**registration(hello, state_dir, "s", "session", token, fields))
                registered = await proxy.expect("registered")
                key = (state_dir / "tokens" / f"{token}.token").read_bytes()
                signed = b"larkd daemon\0" + ours + b"\0" + hello["nonce"] + b"\0s"
                assert registered["proof"] == hmac.new(key, signed, hashlib.sha256).hexdigest()
                assert registered["generation"] == 1
                assert registered["daemon_version"]
                assert registered["pid"] > 0
        async with connect(state_dir) as proxy:
            hello = await proxy.expect("hello")
            fields = {"nonce": ours[:31]}
            await proxy.send(**registration(hello, state_dir, "s", "session", None, fields))
            error = await proxy.expect("error")
            assert (error["code"], error["fatal"]) == ("invalid_message", False)
            assert "register" in error["message"]
            assert "nonce" in error["message"]
            await proxy.send(**registration(hello, state_dir, "s", "session", None, {}))
            assert (await proxy.expect("registered")).get("proof") is None


async def test_a_session_id_belongs_to_its_first_role_also_after_a_restart(
    state_dir: Path,
) -> None:
    async def answer(session_id: str, role: str, token: str, **fields: Any) -> tuple[str, str]:
        async with connect(state_dir) as proxy:
            given = await proxy.register(state_dir, session_id, role, token_role=token, **fields)
            return given["t"], given.get("code", "")

    refused = ("refused", "role_mismatch")
    async with open_platform() as platform:
        async with open_daemon(platform, state_dir):
            async with session(state_dir, "boss", "dispatcher"):
                # Observers and operators reserve nothing, and replace nobody.
                assert await answer("boss", "observer", "observer") == ("registered", "")
                operator = {"capabilities": ["operator"]}
                assert await answer("boss", "dispatcher", "dispatcher", **operator) == (
                    "registered",
                    "",
                )
                assert await answer("boss", "session", "session") == refused
            assert await answer("later", "observer", "observer") == ("registered", "")
            assert await answer("later", "session", "session") == ("registered", "")
        async with open_daemon(platform, state_dir):
            assert await answer("boss", "session", "session") == refused
            assert await answer("boss", "session", "dispatcher") == ("registered", "")
            assert await answer("boss", "session", "session") == ("registered", "")


async def test_before_registration_frames_are_small_and_errors_few(state_dir: Path) -> None:
    async with open_served(state_dir):
        async with connect(state_dir) as proxy:
            await proxy.expect("hello")
            await proxy.send_bytes((256 * 1024 + 1).to_bytes(4, "big"))
            error = await proxy.expect("error")
            assert (error["code"], error["fatal"]) == ("bad_frame", True)
            assert await proxy.wait_closed() == []
        async with connect(state_dir) as proxy:
            await proxy.expect("hello")
            for kind in ("delta", "dance", "ping", "tool") * 4:
                await proxy.send(t=kind, turn_id="t", text="x", id=1, name="n")
                answer = await proxy.receive()
                assert answer.get("fatal") in (False, None)
            await proxy.send(t="dance")
            last = await proxy.expect("error")
            assert (last["code"], last["fatal"]) == ("unknown_message", True)
            assert await proxy.wait_closed() == []
        async with session(state_dir, "s") as proxy:
            # Registered, it may send what the protocol allows.
            await proxy.send(t="tool", id=1, name="n", args={"text": "x" * 7_000_000})
            assert (await proxy.until("tool_result"))["error"] == "Unknown tool: n"
            for _ in range(20):
                await proxy.send(t="dance")
                assert (await proxy.expect("error"))["fatal"] is False


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="measures with /proc")
async def test_nobody_without_a_token_keeps_anybody_out(state_dir: Path) -> None:
    """As many connections as the attacker may open, each with most of a frame."""
    part = (256 * 1024).to_bytes(4, "big") + bytes(200_000)
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir) as daemon,
        session(state_dir, "steady") as steady,
        trio.open_nursery() as nursery,
    ):
        raise_limit()  # of the attacker
        pid = daemon.process.pid
        idle = resident_bytes(pid)

        async def attack() -> None:
            async with connect(state_dir) as proxy:
                with suppress(Closed, trio.BrokenResourceError):
                    await proxy.expect("hello")
                    await proxy.send_bytes(part)
                    await proxy.receive()

        async def guess() -> None:
            async with connect(state_dir) as proxy:
                with suppress(Closed, trio.BrokenResourceError, TimeoutError):
                    await proxy.register(state_dir, "s", proof="0" * 64)

        for _ in range(600):
            nursery.start_soon(attack)
            nursery.start_soon(guess)
            await trio.sleep(0.001)
        with trio.fail_after(60):
            await steady.barrier()
            async with session(state_dir, "new") as new:
                await new.barrier()
            async with session(state_dir, "operator:1", "observer") as observer:
                assert (await observer.tool("feishu_channel_status"))["ok"]
            assert resident_bytes(pid) - idle < 100 * 1024 * 1024
            assert len(list(Path(f"/proc/{pid}/fd").iterdir())) < 64 + 64 + 100
        nursery.cancel_scope.cancel()


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


async def test_a_result_that_fits_no_frame_is_an_error_of_its_call(state_dir: Path) -> None:
    metadata = {f"key{n:02}": "中" * 1_024 for n in range(32)}
    async with (
        open_served(state_dir),
        session(state_dir, "watcher", "observer") as observer,
        AsyncExitStack() as stack,
    ):
        for n in range(88):
            await stack.enter_async_context(session(state_dir, f"s{n}", metadata=metadata))
        answer = await observer.tool("feishu_channel_status")
        assert answer["ok"]
        status = answer["result"]
        assert len(status["sessions"]) == 88
        assert status["sessions"][0]["metadata"] == metadata
        assert status["left_out"]["metadata_of_sessions"] > 0
        await observer.barrier()


async def test_a_newer_connection_of_a_session_replaces_the_older(state_dir: Path) -> None:
    async with (
        open_served(state_dir),
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
    async with open_served(state_dir), session(state_dir, "steady") as steady:
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

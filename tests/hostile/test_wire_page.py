"""The page of the wire protocol, sentence by sentence, by a client that knows nothing else."""

from __future__ import annotations

import hashlib
import hmac
import itertools
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from tests.kit.daemon import Daemon, open_daemon, open_platform, open_served
from tests.kit.raw_proxy import Map, RawProxy, connect, registration, session

KIB = 1024
EARLY_MAX = 256 * KIB
BODY_MAX = 8 * KIB * KIB

WHOLE: dict[str, Map] = {
    "ping": {"n": 1},
    "pong": {"n": 1},
    "register": {
        "protocol": 1,
        "session_id": "s",
        "role": "session",
        "proof": "",
        "pid": 1,
        "proxy_version": "",
    },
    "ack": {"event_id": "e", "attempt": 1},
    "delta": {"turn_id": "t", "text": "x"},
    "tool_event": {"turn_id": "t", "call_id": "c"},
    "plan": {"turn_id": "t", "entries": []},
    "usage": {"turn_id": "t"},
    "turn_end": {"turn_id": "t", "status": "complete"},
    "turn_open": {"turn_id": "own-1"},
    "offer": {"options": [], "commands": []},
    "chosen": {"n": 1, "ok": True},
    "tool": {"id": 1, "name": "n", "args": {}},
    "permission_request": {"request_id": "r", "title": "t", "options": []},
    "permission_closed": {"request_id": "r", "reason": "x"},
}
"""Each type a proxy may send, with the fields that may not be left out."""
MAY_BE_LEFT_OUT = {("tool", "args"), ("offer", "options"), ("offer", "commands")}
NILS: dict[str, Map] = {
    "tool_event": dict.fromkeys(
        (
            "name",
            "kind",
            "status",
            "summary",
            "input",
            "parent_id",
            "duration_ms",
            "output",
            "error",
            "diff",
        )
    ),
    "usage": dict.fromkeys(("used", "size", "input_tokens", "output_tokens")),
    "turn_end": dict.fromkeys(("text", "error")),
    "turn_open": dict.fromkeys(("account", "chat_id", "thread_id", "title")),
    "permission_request": dict.fromkeys(("turn_id", "detail")),
    "chosen": {"error": None},
}


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def padded(size: int, **message: Any) -> bytes:
    """Return a frame whose body has exactly *size* bytes."""
    encoded = msgspec.msgpack.encode({**message, "padding": b""})
    padding = b"x" * (size - len(encoded) - 3)
    body = msgspec.msgpack.encode({**message, "padding": padding})
    assert len(body) == size
    return framed(body)


async def test_frames_are_taken_up_to_their_limit_however_they_come(state_dir: Path) -> None:
    async with open_served(state_dir):
        async with connect(state_dir) as proxy:
            await proxy.expect("hello")
            await proxy.send_bytes(padded(EARLY_MAX, t="ping", n=1))
            assert (await proxy.expect("pong"))["n"] == 1
            for byte in framed(msgspec.msgpack.encode({"t": "ping", "n": 2**64 - 1})):
                await proxy.send_bytes(bytes((byte,)))
            assert (await proxy.expect("pong"))["n"] == 2**64 - 1
            pings = [framed(msgspec.msgpack.encode({"t": "ping", "n": n})) for n in range(100)]
            await proxy.send_bytes(b"".join(pings))
            assert [(await proxy.expect("pong"))["n"] for _ in range(100)] == [*range(100)]
            await proxy.send_bytes(padded(EARLY_MAX + 1, t="ping", n=1))
            await fatal(proxy, "bad_frame")
        async with session(state_dir, "s") as proxy:
            await proxy.send_bytes(padded(BODY_MAX, t="ping", n=8))
            assert (await proxy.expect("pong"))["n"] == 8
            await proxy.send_bytes((BODY_MAX + 1).to_bytes(4, "big"))
            await fatal(proxy, "bad_frame")


async def fatal(proxy: RawProxy, code: str) -> None:
    error = await proxy.expect("error")
    assert (error["code"], error["fatal"]) == (code, True), error
    assert await proxy.wait_closed() == []


NO_MAPS = (b"\xc0", b"\x07", b"\xa1x", b"\x90", b"\xc3", b"\xc1", b"\x81")


async def test_what_is_no_map_ends_its_connection(state_dir: Path) -> None:
    async with open_served(state_dir):
        for body, registered in itertools.product(NO_MAPS, (False, True)):
            async with connect(state_dir) as proxy:
                if registered:
                    await proxy.register(state_dir, "s")
                else:
                    await proxy.expect("hello")
                await proxy.send_bytes(framed(body))
                await fatal(proxy, "bad_frame")


async def test_what_is_wrong_with_a_message_is_named_and_nothing_else_happens(
    state_dir: Path,
) -> None:
    async with open_served(state_dir), session(state_dir, "s") as proxy:
        unknown: list[Any] = [None, 7, [], "", "Ping", "hello", "registered", "deliver", "bye"]
        for one in unknown:
            await proxy.send(t=one, n=1)
            await not_fatal(proxy, "unknown_message")
        await proxy.send(n=1)
        await not_fatal(proxy, "unknown_message")
        for kind, fields, named in wrong_ones():
            await proxy.send(t=kind, **fields)
            error = await not_fatal(proxy, "invalid_message")
            assert kind in error["message"], error
            assert named in error["message"], (kind, fields, error)
        await proxy.send(t="pong", n=77)
        await proxy.barrier()


async def not_fatal(proxy: RawProxy, code: str) -> Map:
    error = await proxy.expect("error")
    assert (error["code"], error["fatal"]) == (code, False), error
    assert error["message"]
    return error


def wrong_ones() -> Iterator[tuple[str, Map, str]]:
    """Each type without each of its fields, and with each of them of a type that none has."""
    for kind, fields in WHOLE.items():
        for name in fields:
            if (kind, name) not in MAY_BE_LEFT_OUT:
                yield kind, {key: one for key, one in fields.items() if key != name}, name
            yield kind, {**fields, name: 1.5}, name
            yield kind, {**fields, name: None}, name
    for kind, optional in NILS.items():
        for name in optional:
            if name != "input":
                yield kind, {**WHOLE[kind], name: 1.5}, name
    yield "turn_end", {"turn_id": "t", "status": "done"}, "status"
    yield "tool_event", {"turn_id": "t", "call_id": "c", "kind": "dance"}, "kind"
    yield "tool_event", {"turn_id": "t", "call_id": "c", "status": "pending"}, "status"
    yield "tool_event", {"turn_id": "t", "call_id": "c", "diff": [{"path": "p"}]}, "new"
    yield "delta", {"turn_id": "t", "text": "x", "channel": "aside"}, "channel"
    yield "plan", {"turn_id": "t", "entries": [{"content": "x", "status": "done"}]}, "status"
    options = [{"id": "a", "label": "b", "kind": "allow"}]
    yield "permission_request", {**WHOLE["permission_request"], "options": options}, "kind"
    kind_of_option = [{"id": "a", "name": "b", "kind": "speed", "value": "x", "choices": []}]
    yield "offer", {"options": kind_of_option, "commands": []}, "kind"


async def test_nil_is_as_good_as_left_out_and_unknown_keys_are_ignored(state_dir: Path) -> None:
    async with open_served(state_dir), session(state_dir, "s", nonce=None) as proxy:
        for number, (kind, nils) in enumerate(NILS.items()):
            more = {"zzz": {"a": [1, None]}, "turn_id": f"own-{number}"}
            await proxy.send(t=kind, **WHOLE[kind] | nils | more)
        await proxy.send(t="ping", n=5, zzz=msgspec.Raw(msgspec.msgpack.encode({1: {2: b""}})))
        await proxy.until("pong")
        codes = {one["code"] for one in proxy.seen if one["t"] == "error"}
        assert codes <= {"unknown_turn", "turn_refused"}


async def test_before_registration_each_type_is_refused_and_the_17th_error_closes(
    state_dir: Path,
) -> None:
    early = [kind for kind in WHOLE if kind not in ("ping", "pong", "register", "tool")]
    async with open_served(state_dir):
        async with connect(state_dir) as proxy:
            await proxy.expect("hello")
            for kind in early:
                await proxy.send(t=kind, **WHOLE[kind])
                await not_fatal(proxy, "not_registered")
            for _ in range(16 - len(early)):
                await proxy.send(t="ping", n=None)
                await not_fatal(proxy, "invalid_message")
            for _ in range(20):
                await proxy.barrier()
            await proxy.send(t="dance")
            await proxy.expect("error")
            assert await proxy.wait_closed() == []


async def test_of_64_that_wait_the_oldest_gives_way_and_who_registers_is_none_of_them(
    state_dir: Path,
) -> None:
    async with open_served(state_dir), AsyncExitStack() as stack:
        waiting = [await stack.enter_async_context(connect(state_dir)) for _ in range(64)]
        nonces = {(await one.expect("hello"))["nonce"] for one in waiting}
        assert len(nonces) == 64
        newer = await stack.enter_async_context(connect(state_dir))
        hello = await newer.expect("hello")
        assert await waiting[0].wait_closed() == []
        await waiting[1].barrier()
        await newer.send(**registration(hello, state_dir, "s", "session", None, {}))
        await newer.expect("registered")
        newest = await stack.enter_async_context(connect(state_dir))
        await newest.expect("hello")
        for one in (waiting[1], waiting[-1], newer, newest):
            await one.barrier()


async def test_a_registration_is_judged_by_the_page(state_dir: Path) -> None:
    fine: list[Map] = [
        {"metadata": {f"{n:064}": "界" * 1_024 for n in range(32)}},
        {"capabilities": ["turns", "fly", "x" * 1_000]},
        {"nonce": None, "zzz": 1},
    ]
    invalid: list[tuple[Map, str]] = [
        ({"metadata": {str(n): "" for n in range(33)}}, "metadata"),
        ({"metadata": {"界" * 65: ""}}, "metadata"),
        ({"metadata": {"k": "界" * 1_025}}, "metadata"),
        ({"metadata": {"k": 1}}, "metadata"),
        ({"nonce": b"n" * 31}, "nonce"),
        ({"nonce": b"n" * 33}, "nonce"),
        ({"nonce": b""}, "nonce"),
        ({"nonce": "n" * 32}, "nonce"),
        ({"role": "king"}, "role"),
    ]
    async with open_served(state_dir):
        for session_id in ("a", "x" * 128, "A-Z.a_z:0-9"):
            async with connect(state_dir) as proxy:
                registered = await proxy.register(state_dir, session_id)
                assert (registered["t"], registered["session_id"]) == ("registered", session_id)
        for fields in fine:
            async with connect(state_dir) as proxy:
                assert (await proxy.register(state_dir, "s", **fields))["t"] == "registered"
        for session_id in ("", "x" * 129, "a b", "a/b", "界", "a\n", "a\0"):
            async with connect(state_dir) as proxy:
                refused = await proxy.register(state_dir, session_id)
                assert refused["code"] == "invalid_session_id"
                assert await proxy.wait_closed() == []
        async with connect(state_dir) as proxy:
            hello = await proxy.expect("hello")
            made = registration(hello, state_dir, "s", "session", None, {})
            for fields, named in invalid:
                await proxy.send(**made | fields)
                error = await not_fatal(proxy, "invalid_message")
                assert "register" in error["message"]
                assert named in error["message"]
            await proxy.send(**made)
            assert (await proxy.expect("registered"))["role"] == "session"
            await proxy.send(**made)
            await not_fatal(proxy, "already_registered")
        async with connect(state_dir) as proxy:
            hello = await proxy.expect("hello")
            made = registration(hello, state_dir, "s", "session", None, {})
            await proxy.send(**made | {"proof": made["proof"].upper()})
            assert (await proxy.expect("refused"))["code"] == "bad_proof"
            assert await proxy.wait_closed() == []


ALIASES = [
    ({"alias": "API Server", "teammate_name": "b", "cwd": "/c"}, "api-server"),
    ({"teammate_name": "Straße.Dev_1", "cwd": "/c"}, "strasse.dev_1"),
    ({"cwd": "/srv/Web App/"}, "web-app"),
    ({"alias": "", "teammate_name": "", "cwd": "/srv/one"}, "one"),
    ({"alias": "前端 服务！！"}, "前端-服务-"),
    ({"alias": "café"}, "café"),
    ({"alias": "हिन्दी"}, "हिन्दी"),
    ({"alias": "a//@@  b"}, "a-b"),
    ({"alias": "x" * 100}, "x" * 64),
    ({"alias": "boss\u3164"}, "boss-"),  # a letter that shows nothing
    ({"alias": "boss\ufe0f\u034f"}, "boss-"),  # and such marks
    ({}, "the-id"),
]


async def test_aliases_are_made_and_made_distinct_by_the_page(state_dir: Path) -> None:
    async with open_served(state_dir):
        for metadata, alias in ALIASES:
            async with connect(state_dir) as proxy:
                answer = await proxy.register(state_dir, "the-id", metadata=metadata)
                assert answer["alias"] == alias, (metadata, answer)
        long = {"alias": "Y" * 64}
        async with (
            session(state_dir, "one", metadata=long),
            connect(state_dir) as two,
            connect(state_dir) as three,
        ):
            second = await two.register(state_dir, "two", metadata=long)
            third = await three.register(state_dir, "three", metadata=long)
            assert second["alias"] == "y" * 62 + "-2"
            assert third["alias"] == "y" * 62 + "-3"


async def test_who_only_looks_sends_nothing_for_the_session_he_names(state_dir: Path) -> None:
    """An observer's token registered under a session's id, and operators, are no session."""
    everything: list[str] = ["cancel", "turns", "permission", "options", "restores"]
    everything.append("conversations")
    options = [{"id": "y", "label": "Yes", "kind": "allow_once"}]
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir, admins=["ou_admin"]) as daemon,
        session(state_dir, "boss", "dispatcher", capabilities=everything) as boss,
    ):
        chat = await platform.chat()
        await platform.send(chat, "hello")
        row = await boss.until("deliver")
        await boss.send(t="conversation", id="its own")
        await boss.barrier()
        for role, token, more in (
            ("observer", "observer", []),
            ("observer", "dispatcher", ["inside"]),
            ("dispatcher", "dispatcher", ["operator"]),
        ):
            fields: Map = {"token_role": token, "capabilities": [*everything, *more]}
            async with session(state_dir, "boss", role, **fields) as other:
                await other.send(t="conversation", id="another", state="lost", why="because")
                await other.send(
                    t="permission_request", request_id="r", title="rm", options=options
                )
                verdict = await other.expect("permission_verdict")
                assert verdict["outcome"] == "cancelled"
                await other.send(t="turn_open", turn_id="own-1", chat_id=chat["chat_id"])
                refused = await not_fatal(other, "turn_refused")
                assert refused["turn_id"] == "own-1"
                await other.send(t="delta", turn_id="own-1", text="x")
                await other.send(t="turn_end", turn_id=row["turn_id"], status="complete")
                await not_fatal(other, "unknown_turn")
                await other.send(t="ack", event_id=row["event_id"], attempt=row["attempt"])
                await other.send(t="offer", options=[], commands=[{"name": "evil"}])
                await other.barrier()
        await boss.send(t="delta", turn_id=row["turn_id"], text="still mine")
        await boss.barrier()
        await daemon_forgets_nothing(daemon, state_dir)
        assert not [one for one in await platform.messages(chat) if "conversation" in str(one)]


async def daemon_forgets_nothing(daemon: Daemon, state_dir: Path) -> None:
    """The conversation is the one that the session itself reported."""
    async with connect(state_dir) as again:
        fields: Map = {"capabilities": ["conversations"]}
        answer = await again.register(state_dir, "boss", "dispatcher", **fields)
        assert answer["conversation"] == "its own", answer


async def test_a_role_holds_from_the_moment_of_its_registered(state_dir: Path) -> None:
    async with open_platform() as platform:
        async with open_daemon(platform, state_dir) as daemon, connect(state_dir) as proxy:
            assert (await proxy.register(state_dir, "s"))["generation"] == 1
            daemon.process.kill()
            await daemon.process.wait()
        async with open_daemon(platform, state_dir), connect(state_dir) as proxy:
            hello = await proxy.expect("hello")
            ours = bytes(32)
            made = registration(
                hello, state_dir, "s", "session", "session", {"nonce": ours, "capabilities": []}
            )
            await proxy.send(**made)
            registered = await proxy.expect("registered")
            assert registered["generation"] == 2
            key = (state_dir / "tokens" / "session.token").read_bytes()
            signed = b"larkd daemon\0" + ours + b"\0" + hello["nonce"] + b"\0s"
            assert registered["proof"] == hmac.new(key, signed, hashlib.sha256).hexdigest()
            async with connect(state_dir) as other:
                refused = await other.register(state_dir, "s", "dispatcher")
                # The dispatcher's own token may change the role.
                assert refused["t"] == "registered"
            (bye,) = await proxy.wait_closed()
            assert bye["reason"] == "replaced"

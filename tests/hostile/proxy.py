"""A proxy that does its worst: with a session's token, or with none."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import trio

from tests.kit.raw_proxy import Closed, Map, RawProxy, connect, registration

ATTACK_WITHIN_S = 1.0
NAMES = ("delta", "tool_event", "plan", "usage", "turn_end", "turn_open", "ack", "offer", "chosen")
ODD: tuple[Any, ...] = (
    None,
    -1,
    2**63,
    1.5,
    "",
    "x" * 5_000,
    "../../etc/passwd",
    "\u202e<AT id=all></AT>\n",
    b"\0\xff",
    [],
    {},
    [[[[{}]]]],
    {"t": "register"},
    True,
)


class HostileProxy:
    """Attacks of one seed, over and over; it is cancelled from outside."""

    def __init__(self, rng: random.Random, state_dir: Path, turns: Path, name: str) -> None:
        self._rng = rng
        self._state_dir = state_dir
        self._turns = turns
        """A file of ids of honest turns, which it tries to speak in."""
        self._name = name
        self._proof: Map | None = None
        self.attacks = 0

    async def run(self) -> None:
        attacks: tuple[Callable[[], Awaitable[None]], ...] = (
            self._garbage,
            self._half_frames,
            self._slow_frames,
            self._guesses,
            self._replays_a_proof,
            self._speaks_too_early,
            self._takes_a_name,
            self._odd_messages,
            self._turns_of_others,
            self._floods_of_small_frames,
            self._large_tools,
            self._many_values,
            self._reads_nothing,
            self._status_flood,
            self._opens_turns,
            self._asks_permission,
            self._closes_in_the_middle,
        )
        while True:
            attack = self._rng.choice(attacks)
            with suppress(Closed, OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                with trio.move_on_after(ATTACK_WITHIN_S):
                    await attack()
            self.attacks += 1
            await trio.sleep(0.001)

    # ── without a token ─────────────────────────────────────────────────────

    async def _garbage(self) -> None:
        async with connect(self._state_dir) as proxy:
            for _ in range(20):
                await proxy.send_bytes(self._rng.randbytes(self._rng.randrange(1, 300)))

    async def _half_frames(self) -> None:
        async with connect(self._state_dir) as proxy:
            size = self._rng.choice((1, 4, 4_096, 256 * 1024, 256 * 1024 + 1, 2**31, 2**32 - 1))
            await proxy.send_bytes(size.to_bytes(4, "big") + b"\x81" * min(size - 1, 200_000))
            await trio.sleep(self._rng.random() / 4)

    async def _slow_frames(self) -> None:
        async with connect(self._state_dir) as proxy:
            for byte in b"\0\0\1\0" + b"\x80" * 40:
                await proxy.send_bytes(bytes((byte,)))
                await trio.sleep(0.01)

    async def _guesses(self) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(self._guess, f"guess-{number}")

    async def _guess(self, session_id: str) -> None:
        with suppress(Closed, OSError, trio.BrokenResourceError):
            async with connect(self._state_dir) as proxy:
                hello = await proxy.expect("hello")
                made = registration(hello, self._state_dir, session_id, "dispatcher", "session", {})
                await proxy.send(**made | {"proof": self._rng.choice(ODD[4:8])})
                await proxy.receive()

    async def _replays_a_proof(self) -> None:
        async with connect(self._state_dir) as proxy:
            hello = await proxy.expect("hello")
            made = registration(hello, self._state_dir, "replayed", "session", None, {})
            replayed, self._proof = self._proof, made
            if replayed is not None:
                await proxy.send(**replayed)
                assert (await proxy.receive()).get("code") == "bad_proof"

    async def _speaks_too_early(self) -> None:
        async with connect(self._state_dir) as proxy:
            await proxy.expect("hello")
            for _ in range(20):
                await proxy.send(**self._message(self._rng.choice((*NAMES, "tool", "ping"))))
            await proxy.receive()

    async def _takes_a_name(self) -> None:
        async with connect(self._state_dir) as proxy:
            name = self._rng.choice(
                ("boss", "../boss", "boss\0", "operator:1", "x" * 129, "b\u202e")
            )
            answer = await proxy.register(
                self._state_dir, name, "session", metadata={"alias": "boss", "cwd": "/"}
            )
            assert name != "boss" or answer.get("code") == "role_mismatch", answer

    # ── with a session's ────────────────────────────────────────────────────

    async def _session(self, proxy: RawProxy, *capabilities: str) -> None:
        answer = await proxy.register(
            self._state_dir,
            f"{self._name}-{self._rng.randrange(3)}",
            "session",
            capabilities=["turns", "cancel", "permission", "options", *capabilities],
            metadata={"alias": self._rng.choice(("boss", "<at user_id=all>", "\u202e", "a" * 900))},
        )
        assert answer["t"] in ("registered", "refused"), answer

    def _message(self, kind: str) -> Map:
        fields = ("turn_id", "text", "call_id", "status", "event_id", "attempt", "entries", "n")
        more = {one: self._rng.choice(ODD) for one in self._rng.sample(fields, 3)}
        return {"t": kind, **more}

    def _turn_id(self) -> str:
        known = self._rng.choice(self._turns.read_text().split() or ["turn_0"])
        return self._rng.choice((known, "turn_" + "0" * 16, "own-1", "../x", ""))

    async def _odd_messages(self) -> None:
        async with connect(self._state_dir) as proxy:
            await self._session(proxy)
            for _ in range(200):
                await proxy.send(**self._message(self._rng.choice((*NAMES, "tool", "register"))))
            await proxy.barrier()

    async def _turns_of_others(self) -> None:
        async with connect(self._state_dir) as proxy:
            await self._session(proxy)
            for _ in range(100):
                turn_id = self._turn_id()
                await proxy.send(t="delta", turn_id=turn_id, text="NOT WHAT BOSS WROTE")
                await proxy.send(t="turn_end", turn_id=turn_id, status="error", error="not boss")
                await proxy.send(t="ack", event_id=turn_id, attempt=self._rng.randrange(3))
            await proxy.barrier()

    async def _floods_of_small_frames(self) -> None:
        frames = b"".join(_frame(t="ping", n=number) for number in range(700))
        events = _frame(t="tool_event", turn_id="t", call_id="c", status="running") * 5_000
        async with connect(self._state_dir) as proxy:
            await self._session(proxy)
            await proxy.send_bytes(events)
            await proxy.send_bytes(frames)
            await proxy.barrier()

    async def _large_tools(self) -> None:
        async with connect(self._state_dir) as proxy:
            await self._session(proxy)
            for number in range(3):
                args = {"x": self._rng.randbytes(16) * 300_000, "chat_id": "oc_1", "text": "t"}
                await proxy.send(
                    t="tool", id=number, name=self._rng.choice(("n", "reply")), args=args
                )
            await proxy.barrier()

    async def _many_values(self) -> None:
        value: list[Any] = self._rng.choice(([[]], [{}], [1], ["abc"]))
        async with connect(self._state_dir) as proxy:
            await self._session(proxy)
            await proxy.send(t="tool", id=1, name="n", args={"x": value * 500_000})
            await proxy.barrier()

    async def _reads_nothing(self) -> None:
        async with connect(self._state_dir) as proxy:
            await self._session(proxy)
            while True:
                await proxy.send(t="tool", id=1, name="feishu_channel_status", args={})

    async def _status_flood(self) -> None:
        async with connect(self._state_dir) as proxy:
            await self._session(proxy)
            for number in range(60):
                name = self._rng.choice(
                    ("feishu_channel_status", "inbox", "feishu_channel_acquire", "dance")
                )
                await proxy.send(t="tool", id=number % 7, name=name, args={"limit": 100})
            await proxy.barrier()

    async def _opens_turns(self) -> None:
        async with connect(self._state_dir) as proxy:
            await self._session(proxy)
            for number in range(50):
                turn_id = self._rng.choice((f"own-{number}", "own-1", "own-../x", self._turn_id()))
                await proxy.send(
                    t="turn_open", turn_id=turn_id, chat_id="oc_1", title="\u202e" * 99
                )
                await proxy.send(t="delta", turn_id=turn_id, text="x" * 1_000)
            await proxy.barrier()

    async def _asks_permission(self) -> None:
        options = [{"id": "a", "label": "Reject", "kind": "allow_always"}] * 2
        async with connect(self._state_dir) as proxy:
            await self._session(proxy)
            for number in range(20):
                await proxy.send(
                    t="permission_request",
                    request_id=f"r{number % 5}",
                    turn_id=self._turn_id(),
                    title="<at id=all>",
                    detail="\u202e" * 10_000,
                    options=options,
                )
                await proxy.send(t="permission_closed", request_id="r1", reason="x" * 10_000)
            await proxy.barrier()

    async def _closes_in_the_middle(self) -> None:
        whole = _frame(t="tool", id=1, name="feishu_channel_status", args={"x": "y" * 100_000})
        async with connect(self._state_dir) as proxy:
            await self._session(proxy)
            await proxy.send_bytes(whole[: self._rng.randrange(len(whole))])


def _frame(**message: Any) -> bytes:
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(4, "big") + body

"""Sessions that behave by the seed: acks that come once, twice, wrong, late or never."""

from __future__ import annotations

import random
from typing import Any, Protocol

import msgspec
import trio

from tests.faults.history import Delivered
from tests.kit.raw_proxy import Closed, RawProxy
from tests.simulation.clock import sleep
from tests.simulation.network import End

Map = dict[str, Any]
GONE = (Closed, OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)
MANNERS = ("once", "once", "once", "once", "twice", "wrong", "late", "never")
ROLES: dict[str, tuple[str, list[str]]] = {
    "boss": ("dispatcher", ["turns", "cancel", "permission"]),
    "mate": ("session", ["turns", "cancel", "permission"]),
    "pal": ("session", ["turns"]),
    "talker": ("session", []),
    "watch": ("observer", []),
}
OPTIONS = (
    {"id": "yes", "label": "Allow", "kind": "allow_once"},
    {"id": "no", "label": "Reject", "kind": "reject_once"},
)
VERDICT_WITHIN_S = 20.0
WORDS = ("Well", " then", ": the", " *answer*", " is\n\n", "- one\n", "- `two`\n", "done.")


class Stage(Protocol):
    """What a session needs of the run it is part of."""

    calm: bool
    calmed: trio.Event
    expected: dict[str, tuple[float, str]]
    seed: int

    def note(self, what: str, /, **fields: Any) -> None: ...
    def delivered(self, one: Delivered) -> None: ...
    def settled(self, event: str) -> None: ...
    def given(self, message_ids: list[str], paths: list[str]) -> None: ...
    def broke(self, text: str) -> None: ...


class Peer:
    """One connection of a session, or of the observer."""

    def __init__(self, stage: Stage, name: str, end: End, state_dir: Any) -> None:
        self.name = name
        self.end = end
        self.gone = trio.Event()
        self.registered = trio.Event()
        self._stage = stage
        self._state_dir = state_dir
        self._proxy = RawProxy(end)
        self._writing = trio.StrictFIFOLock()
        self._calls = 0
        self._answers: dict[int, trio.MemorySendChannel[Map]] = {}
        self._turns: dict[str, trio.CancelScope] = {}
        self._cancelled: set[str] = set()
        self._verdicts: dict[str, trio.Event] = {}
        self._owed: list[Map] = []  # deliveries it has not acked, until all is calm

    async def run(self) -> None:
        """Register and take what comes until the connection ends."""
        role, capabilities = ROLES.get(self.name, ("session", ["turns", "cancel"]))
        try:
            answer = await self._proxy.register(
                self._state_dir,
                self.name,
                role,
                capabilities=capabilities,
                metadata={"alias": self.name, "cwd": f"/w/{self.name}"},
            )
            if answer["t"] != "registered":
                self._stage.note("refused", session=self.name, code=answer.get("code"))
                return
            self._stage.note("registered", session=self.name)
            self.registered.set()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._make_good, nursery)
                while True:
                    self._take(await self._proxy.receive(), nursery)
        except* GONE:
            pass
        finally:
            self.gone.set()
            self.end.wire.cut()
            for waiting in self._answers.values():
                waiting.close()

    def _take(self, message: Map, nursery: trio.Nursery) -> None:
        match message["t"]:
            case "tool_result":
                with self._answers.pop(message["id"]) as answer:
                    answer.send_nowait(message)
            case "deliver":
                event, attempt = message["event_id"], message["attempt"]
                self._stage.note(
                    "deliver",
                    session=self.name,
                    message=message["content"].splitlines()[0],
                    attempt=attempt,
                )
                self._stage.delivered(Delivered(self.name, event, attempt, message["lease_epoch"]))
                self._stage.given(
                    message["meta"].get("message_ids", "").split(","),
                    [one["path"] for one in message["attachments"] if one["path"]],
                )
                nursery.start_soon(self._handle, message)
            case "permission_verdict":
                self._stage.note("verdict", session=self.name, outcome=message["outcome"])
                decided = self._verdicts.get(message["request_id"])
                if decided is None or decided.is_set():
                    self._stage.broke(f"{message['request_id']} was decided twice, or never asked")
                else:
                    decided.set()
            case "cancel":
                self._stage.note("cancel", session=self.name)
                self._cancelled.add(message["turn_id"])
                scope = self._turns.get(message["turn_id"])
                if scope is not None:
                    scope.cancel()
            case _:
                pass

    async def _handle(self, deliver: Map) -> None:
        event, attempt = deliver["event_id"], deliver["attempt"]
        name = str(deliver["content"]).splitlines()[0]
        chance = random.Random(f"{self._stage.seed} {self.name} {name} {attempt}")
        manner = "once" if self._stage.calm else chance.choice(MANNERS)
        try:
            await self._ack(event, attempt, manner, chance)
            if manner == "never":
                self._owed.append(deliver)
                return
            status = await self.status()
            # With an error of the journal's it is no answer to what was sent before it; a row
            # that is taken from its session is cancelled there first.
            if (
                status is not None
                and deliver["turn_id"] not in self._cancelled
                and "error" not in status["queue"]
                and status["lease_epoch"] == deliver["lease_epoch"]
            ):
                self._stage.settled(event)
            if ROLES.get(self.name, ("", ["turns"]))[1]:
                await self._take_turn(deliver, f"answer to {name} in attempt {attempt}: ", chance)
        except GONE:
            pass

    async def _make_good(self, nursery: trio.Nursery) -> None:
        """Once all is calm, handle what was left lying."""
        await self._stage.calmed.wait()
        for deliver in self._owed:
            nursery.start_soon(self._handle, deliver)

    async def flood(self, acks: int) -> None:
        """Ack so many rows that were never given to it, all at once."""
        bodies = [
            msgspec.msgpack.encode({"t": "ack", "event_id": f"nothing {number}", "attempt": 1})
            for number in range(acks)
        ]
        async with self._writing:
            await self._proxy.send_bytes(
                b"".join(len(body).to_bytes(4, "big") + body for body in bodies)
            )

    async def _ack(self, event: str, attempt: int, manner: str, chance: random.Random) -> None:
        if manner == "never":
            return
        if manner == "late":
            await sleep(chance.uniform(0, 3))
        if manner == "wrong":
            await self._send(t="ack", event_id=event, attempt=attempt + 1)
        await self._send(t="ack", event_id=event, attempt=attempt)
        if manner == "twice":
            await self._send(t="ack", event_id=event, attempt=attempt)

    async def _take_turn(self, deliver: Map, head: str, chance: random.Random) -> None:
        turn_id, text = deliver["turn_id"], head
        began = trio.current_time()
        is_long = str(deliver["content"]).startswith("long")
        words = chance.randrange(8, 20) if is_long else chance.randrange(6)
        if turn_id in self._cancelled:
            await self._send(t="turn_end", turn_id=turn_id, status="aborted")
            return
        with trio.CancelScope() as scope:
            self._turns[turn_id] = scope
            try:
                await self._send(t="delta", turn_id=turn_id, text=head)
                if str(deliver["content"]).startswith("careful"):
                    await self._ask_permission(turn_id)
                for _ in range(words):
                    await sleep(chance.choice((0.4, 0.7) if is_long else (0.0, 0.02, 0.4, 2.0)))
                    word = chance.choice(WORDS)
                    text += word
                    await self._send(t="delta", turn_id=turn_id, text=word)
            finally:
                del self._turns[turn_id]
        if scope.cancelled_caught:
            await self._send(t="turn_end", turn_id=turn_id, status="aborted")
            return
        await self._send(t="turn_end", turn_id=turn_id, status="complete")
        await self.tool("feishu_channel_status")
        if turn_id not in self._cancelled:  # what comes after it is dropped
            self._stage.expected[turn_id] = (began, head)

    async def _ask_permission(self, turn_id: str) -> None:
        """Ask, and wait for the verdict; after a while it is no longer needed."""
        if "permission" not in ROLES.get(self.name, ("", ["permission"]))[1]:
            return
        request_id = f"request {turn_id}"
        decided = self._verdicts[request_id] = trio.Event()
        await self._send(
            t="permission_request",
            request_id=request_id,
            turn_id=turn_id,
            title="Run a command",
            detail="make",
            options=OPTIONS,
        )
        with trio.move_on_after(VERDICT_WITHIN_S):
            await decided.wait()
            return
        await self._send(t="permission_closed", request_id=request_id, reason="decided elsewhere")

    # ── tools ───────────────────────────────────────────────────────────────

    async def tool(self, name: str, **args: Any) -> Map:
        """Call a tool and wait for its answer.

        Raises:
            Closed, OSError, TooSlowError: it did not come.
        """
        self._calls += 1
        number = self._calls
        self._answers[number], answer = trio.open_memory_channel[Map](1)
        await self._send(t="tool", id=number, name=name, args=args)
        with trio.fail_after(20):
            try:
                found = await answer.receive()
            except trio.EndOfChannel:
                raise Closed from None
        return found

    async def status(self) -> Map | None:
        """Return the channel's status; None where the daemon had none to give."""
        answer = await self.tool("feishu_channel_status")
        return answer["result"] if answer["ok"] else None

    async def _send(self, **message: Any) -> None:
        async with self._writing:
            await self._proxy.send(**message)

"""Kill a daemon again and again while people write and the channel changes hands.

The daemon is a real process; so are its journal and its sockets. Everything is chosen
by one seed: who writes what, which pushes come twice or late, who owns, who leaves, which
acks come late, twice, wrong or never, and at which point SIGKILL comes. Operating
systems do not schedule by seed, so a seed gives like runs, not the same one.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final, Literal

import trio

from tests.faults.history import (
    Accepted,
    Delivered,
    Leased,
    Refused,
    Seen,
    Sent,
    Settled,
    Started,
    Stored,
)
from tests.kit.daemon import Daemon, Platform, open_daemon, open_platform
from tests.kit.raw_proxy import Closed, RawProxy, connect

Map = dict[str, Any]
KillAt = Literal["any time", "push", "deliver", "ack", "tool"]

KILL_POINTS: Final[tuple[KillAt, ...]] = ("any time", "push", "deliver", "ack", "tool")
SESSIONS: Final = {
    "boss": ("dispatcher", []),
    "deputy": ("dispatcher", ["turns", "cancel"]),
    "runner": ("session", ["turns", "cancel"]),
    "talker": ("session", []),
}
CYCLE_MAX_S: Final = 1.0
CALM_WITHIN_S: Final = 60.0
PUSHED_AGAIN_QUICKLY: Final = 100.0
"""Platform seconds in one of ours: the second push of an event comes after 3.2 s."""

GONE = (Closed, OSError, trio.BrokenResourceError, trio.ClosedResourceError)


class Driver:
    """One run. :attr:`history` is what was seen of it."""

    def __init__(self, seed: int, platform: Platform, state_dir: Path) -> None:
        self.history: list[Seen] = []
        self.chance = random.Random(seed)
        self.step = trio.Lock()
        """One change of the lease at a time, so that each epoch is seen."""
        self.peers: dict[str, Peer] = {}
        self.calm = False
        self._platform = platform
        self._state_dir = state_dir
        self._kill = trio.Event()
        self._kill_at: KillAt = "any time"
        self._points_left = 0
        self._messages = 0
        self._events: dict[str, str] = {}  # by message
        self._chats: list[Map] = []

    async def run(self, cycles: int, at_stake: int) -> None:
        """Run and be killed so often, then let everything come to rest and write it down.

        On a machine that comes to little in a cycle, more often: until *at_stake* deliveries.
        """
        self._chats = [
            await self._platform.chat(),
            await self._platform.chat("group", "Team"),
            await self._platform.chat("p2p", "Zoë"),
        ]
        for _ in range(cycles):
            await self._run_and_kill()
        while sum(isinstance(one, Delivered) for one in self.history) < at_stake:
            await self._run_and_kill()
        self.calm = True
        async with self._daemon() as (_, watch):
            await self._come_to_rest(watch)
        await self._write_down()

    # ── one run of the daemon ────────────────────────────────────────────────────────────

    async def _run_and_kill(self) -> None:
        self._kill = trio.Event()
        self._kill_at = self.chance.choice(KILL_POINTS)
        self._points_left = self.chance.randrange(1, 6)
        async with self._daemon() as (daemon, watch), trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            nursery.start_soon(self._hand_over, watch)
            with trio.move_on_after(
                self.chance.uniform(0.05, 0.4) if self._kill_at == "any time" else CYCLE_MAX_S
            ):
                await self._kill.wait()
            await daemon.kill()
            nursery.cancel_scope.cancel()

    def point(self, reached: KillAt) -> None:
        """The daemon has just come to such a point; kill it there if this is the time."""
        if reached == self._kill_at and not self.calm:
            self._points_left -= 1
            if self._points_left == 0:
                self._kill.set()

    @asynccontextmanager
    async def _daemon(self) -> AsyncIterator[tuple[Daemon, Peer]]:
        async with open_daemon(self._platform, self._state_dir) as daemon:
            async with trio.open_nursery() as nursery:
                watch = Peer(self, "watch", "observer", [])
                await nursery.start(watch.run)
                answer = await watch.tool("feishu_channel_status")
                self.history.append(Started(answer["result"]["daemon"]["generation"]))
                self._leased(answer["result"])
                for name, (role, capabilities) in SESSIONS.items():
                    nursery.start_soon(self._attend, name, role, capabilities, watch)
                yield daemon, watch
                nursery.cancel_scope.cancel()

    async def observe(self, watch: Peer) -> None:
        """Note the lease as it stands."""
        self._leased((await watch.tool("feishu_channel_status"))["result"])

    def _leased(self, status: Map) -> None:
        self.history.append(Leased(status["lease_epoch"], status["owner_session_id"]))

    # ── what people and platform do ─────────────────────────────────────────

    async def _write(self) -> None:
        while True:
            chat = self.chance.choice(self._chats)
            self._messages += 1
            with trio.CancelScope(shield=True):  # what was sent is known to have been sent
                sent = await self._platform.send(
                    chat, f"message {self._messages}", mention_bot=chat["type"] == "group"
                )
            self._events[sent["message_id"]] = sent["event_id"]
            self.history.append(Sent(sent["event_id"], chat["chat_id"]))
            self.point("push")
            if self.chance.random() < 0.3:
                await self._platform.post(
                    "push",
                    repeat_event_id=sent["event_id"],
                    times=self.chance.randrange(1, 4),
                    delay_s=self.chance.choice([0, 0.01, 0.2]),
                )
            if self.chance.random() < 0.5:
                await self._note_accepted()
            await trio.sleep(self.chance.choice([0, 0.005, 0.03, 0.08]))

    def _unaccepted(self) -> list[str]:
        accepted = {one.event for one in self.history if isinstance(one, Accepted)}
        sent = [one.event for one in self.history if isinstance(one, Sent)]
        return [event for event in sent if event not in accepted]

    async def _note_accepted(self) -> None:
        unaccepted = self._unaccepted()
        for event in await self._platform.get("events"):
            if event["event_id"] in unaccepted and any(
                push["ack"] == 200 for push in event["pushes"]
            ):
                self.history.append(Accepted(event["event_id"]))

    # ── what sessions do ────────────────────────────────────────────────────

    async def _attend(self, name: str, role: str, capabilities: list[str], watch: Peer) -> None:
        """Keep a session attached, and leave now and then."""
        while True:
            await trio.sleep(self.chance.uniform(0, 0.05))
            peer = Peer(self, name, role, capabilities)
            try:
                async with trio.open_nursery() as nursery:
                    async with self.step:
                        await nursery.start(peer.run)
                        await self.observe(watch)
                    self.peers[name] = peer
                    if self.calm or self.chance.random() < 0.5:
                        await peer.gone.wait()
                    else:
                        await trio.sleep(self.chance.uniform(0.05, 0.5))
                    nursery.cancel_scope.cancel()
            except* GONE:
                pass
            finally:
                self.peers.pop(name, None)

    async def _hand_over(self, watch: Peer) -> None:
        while True:
            await trio.sleep(self.chance.choice([0.01, 0.03, 0.08]))
            if not self.peers:
                continue
            caller = self.peers[self.chance.choice(sorted(self.peers))]
            tool, args = self.chance.choice(
                [
                    *[("grant", {"session_id": name}) for name in SESSIONS],
                    *[("acquire", {"session_id": name}) for name in SESSIONS],
                    ("acquire", {}),
                    ("acquire", {}),
                    ("return_to_dispatcher", {}),
                    ("reclaim", {}),
                ]
            )
            async with self.step:
                try:
                    answer = await caller.call(f"feishu_channel_{tool}", args)
                    self.point("tool")
                    await caller.answered(answer)
                    await self.observe(watch)
                except* GONE:
                    pass

    # ── the end ─────────────────────────────────────────────────────────────

    async def _come_to_rest(self, watch: Peer) -> None:
        await self._note_accepted()
        for event in self._unaccepted():
            await self._platform.post("push", repeat_event_id=event)
        with trio.fail_after(CALM_WITHIN_S):
            while True:
                await self._note_accepted()
                status = (await watch.tool("feishu_channel_status"))["result"]
                queue = status["queue"]
                if not self._unaccepted() and queue["pending"] == queue["in_flight"] == 0:
                    return
                if status["effective_target_session_id"] is None and "boss" in self.peers:
                    async with self.step:
                        await self.peers["boss"].tool("feishu_channel_reclaim")
                        await self.observe(watch)
                await trio.sleep(0.05)

    async def _write_down(self) -> None:
        await self._note_refused()
        with closing(sqlite3.connect(self._state_dir / "larkd.db")) as db:
            for event, chat, state in db.execute(
                "SELECT event_id, chat_id, state FROM inbound WHERE kind = 'message'"
                " ORDER BY row_id"
            ):
                self.history.append(Stored(event, chat, state))

    async def _note_refused(self) -> None:
        """Note to whom the bot wrote that there is no space."""
        for message in (await self._platform.get("state"))["messages"]:
            if "already has 20 messages waiting" in message["content"]:
                self.history.append(Refused(self._events[message["parent_id"]]))


class Peer:
    """One connection of a session that acks as it pleases, or of an observer."""

    def __init__(self, driver: Driver, name: str, role: str, capabilities: list[str]) -> None:
        self.gone = trio.Event()
        self._driver = driver
        self._name = name
        self._role = role
        self._capabilities = capabilities
        self._proxy: RawProxy
        self._writing = trio.Lock()
        self._calls = 0
        self._answers: dict[int, trio.MemorySendChannel[Map]] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Register, report started, and take what comes until the connection ends."""
        driver = self._driver
        try:
            async with connect(driver._state_dir) as self._proxy:
                answer = await self._proxy.register(
                    driver._state_dir, self._name, self._role, capabilities=self._capabilities
                )
                if answer["t"] != "registered":
                    raise Closed
                task_status.started()
                async with trio.open_nursery() as nursery:
                    while True:
                        self._take(await self._proxy.receive(), nursery)
        except* GONE:
            if self._role != "observer":
                raise
        finally:
            self.gone.set()
            for waiting in self._answers.values():
                waiting.close()

    def _take(self, message: Map, nursery: trio.Nursery) -> None:
        match message["t"]:
            case "tool_result":
                with self._answers.pop(message["id"]) as answer:
                    answer.send_nowait(message)
            case "deliver":
                self._driver.history.append(
                    Delivered(
                        self._name,
                        message["event_id"],
                        message["attempt"],
                        message["lease_epoch"],
                    )
                )
                self._driver.point("deliver")
                nursery.start_soon(self._handle, message)
            case "cancel":
                nursery.start_soon(self._end, message["turn_id"], "aborted")

    async def _handle(self, deliver: Map) -> None:
        chance = self._driver.chance
        event, attempt = deliver["event_id"], deliver["attempt"]
        manner = "once" if self._driver.calm else chance.choice(MANNERS)
        if manner == "never":
            return
        if manner == "late":
            await trio.sleep(chance.uniform(0, 0.1))
        if manner == "wrong":
            await self._ack(event, attempt + 1)
        await self._ack(event, attempt)
        if manner == "twice":
            await self._ack(event, attempt)
        self._driver.point("ack")
        status = (await self.tool("feishu_channel_status"))["result"]  # None: too late
        # with an error of the journal's it is no answer to what was sent before it
        if (
            status is not None
            and "error" not in status["queue"]
            and status["lease_epoch"] == deliver["lease_epoch"]
        ):
            self._driver.history.append(Settled(event))
        if "turns" in self._capabilities:
            await self._send(t="delta", turn_id=deliver["turn_id"], text="so it is")
            await self._end(deliver["turn_id"], "complete")

    async def _ack(self, event: str, attempt: int) -> None:
        await self._send(t="ack", event_id=event, attempt=attempt)

    async def _end(self, turn_id: str, status: str) -> None:
        await self._send(t="turn_end", turn_id=turn_id, status=status)

    # ── tools ───────────────────────────────────────────────────────────────

    async def tool(self, name: str) -> Map:
        return await self.answered(await self.call(name, {}))

    async def call(self, name: str, args: Map) -> trio.MemoryReceiveChannel[Map]:
        """Send a tool call; its answer is for :meth:`answered`."""
        self._calls += 1
        number = self._calls
        self._answers[number], answer = trio.open_memory_channel[Map](1)
        await self._send(t="tool", id=number, name=name, args=args)
        return answer

    @staticmethod
    async def answered(answer: trio.MemoryReceiveChannel[Map]) -> Map:
        """Wait for the answer of a call.

        Raises:
            Closed: the connection ended before it came.
        """
        try:
            return await answer.receive()
        except trio.EndOfChannel:
            raise Closed from None

    async def _send(self, **message: Any) -> None:
        async with self._writing:
            await self._proxy.send(**message)


MANNERS: Final = ("once", "once", "once", "twice", "wrong", "late", "never")


async def drive(
    seed: int, cycles: int, state_dir: Path, round_trip_s: float = 0.0, at_stake: int = 0
) -> list[Seen]:
    """Run and kill so often, until as many deliveries are *at_stake*; return what was seen.

    *round_trip_s* is what each call to the platform takes.
    """
    async with open_platform(clock_scale=PUSHED_AGAIN_QUICKLY, seed=seed) as platform:
        if round_trip_s:
            await platform.post("faults", match={}, kind="delay", seconds=round_trip_s, times=None)
        driver = Driver(seed, platform, state_dir)
        await driver.run(cycles, at_stake)
        return driver.history

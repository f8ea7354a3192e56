"""Two nodes, a database, a platform, six sessions, people who write, and faults by seed.

Everything is real: processes, sockets, TLS, PostgreSQL. A seed chooses what fails, where,
for how long and in which order; operating systems do not schedule by seed, so a seed gives
like runs, not the same one.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg
import trio

from actors.proxies.errors import ProxyError
from tests.cluster import audit
from tests.cluster.machines import Machine, open_machine
from tests.cluster.nodes import Certificates, Fleet
from tests.cluster.sessions import Given, Session, is_served
from tests.faults.history import Accepted, Leased, Refused, Seen, Sent, Started, Stored
from tests.kit import postgres
from tests.kit.daemon import Platform, open_platform
from tests.kit.starvation import starved_so_far_s

Map = dict[str, Any]

SESSIONS: Final = ("boss", "deputy", "mate1", "mate2", "mate3", "mate4")
PLATFORM_SCALE: Final = 5.0
"""Platform seconds in one of ours: an event that was not acked comes again after 3.6 s."""
SERVED_WITHIN_S: Final = 120.0
"""Against hanging; what is promised is judged where the machine was not starved."""
REST_WITHIN_S: Final = 300.0
"""Also against hanging: a starved machine needs some seconds for each message."""
MESSAGES_MIN: Final = 15
DRIFT: Final = 0.01
KINDS: Final = (
    "kill",
    "stop",
    "leave",
    "move",
    "cut from the database",
    "reset from the database",
    "slow database",
    "cut from the platform",
    "reset from the platform",
    "cut from proxies",
    "database restarts",
    "replica promoted",
)
SILENCES: Final = frozenset({"kill", "stop", "cut from the database"})
"""After these, where they lead to another holder, it must serve within 5 s."""


LEAVING: Final = frozenset({"kill", "leave", "move"})
"""After these the holder holds no more, whatever it still answers."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    faults: Sequence[tuple[str, float]]
    """What happens, and for how many seconds, where it lasts."""
    drifts: Sequence[tuple[float, float]]
    """Of each machine: the rate of its clock, and how far ahead its wall clock is."""

    @classmethod
    def made(cls, seed: int, faults: int, longest_s: float) -> Plan:
        chance = random.Random(seed)
        kinds = [chance.choice(KINDS) for _ in range(faults)]
        return cls(
            faults=[(kind, 0.2 * (longest_s / 0.2) ** chance.random()) for kind in kinds],
            drifts=[
                (1 + chance.uniform(-DRIFT, DRIFT), chance.choice((0.0, 3_600.0, -3_600.0)))
                for _ in range(2)
            ],
        )


class Trouble(msgspec.Struct, kw_only=True):
    """One fault, as it was."""

    kind: str
    node: str
    """Of the holder, when it began."""
    began: float
    ended: float = 0.0
    successor: str | None = None
    acked_s: float | None = None
    """From its beginning to the first event acked, where another node took over."""
    registered_s: float | None = None
    """To the last session registered with the successor."""
    standby_known: bool = True
    """Whether the holder had read that the other node stands by, when it began."""
    starved: float = 0.0
    """The share of the time meanwhile in which processes were kept waiting."""


class Run(msgspec.Struct, kw_only=True):
    """All that is looked at when a run is over. Times are of Trio's clock."""

    history: list[Seen] = []
    given: list[Given] = []
    troubles: list[Trouble] = []
    audit: audit.Audit
    calls: dict[str, list[tuple[float, str]]] = {}
    claims: list[tuple[float, str]] = []
    """When which node claimed."""
    rows: list[tuple[str, str]] = []
    """Event and state of each row."""
    cards: list[Map] = []
    sequences: dict[str, list[int]] = {}
    """Of each card, as the platform accepted them."""
    running_10s_later: list[str] = []
    """Cards that ran when the last fault was over, and 10 s later still."""
    starved_at_end: float = 0.0
    """As in :class:`Trouble`, while the cards were waited for."""
    whole: dict[str, str] = {}


class Driver:
    """One run."""

    def __init__(self, seed: int, plan: Plan, root: Path, tls: Certificates) -> None:
        self.chance = random.Random(seed)
        self.plan = plan
        self.calm = False
        self.history: list[Seen] = []
        self.troubles: list[Trouble] = []
        self._root = root
        self._tls = tls
        self._events: dict[str, str] = {}  # by message
        self._chats: list[Map] = []
        self._numbers = 0
        self.sessions = [
            Session(name, self.history.append, self.chance, piece_s=0.02) for name in SESSIONS
        ]
        self.machines: list[Machine] = []
        self.servers: list[postgres.Server] = []
        self.platform: Platform
        self._still_running: list[str] = []
        self._starved_at_end = 0.0

    @property
    def url(self) -> str:
        return self.servers[-1 if self._promoted else 0].url()

    @property
    def _promoted(self) -> bool:
        return any(one.kind == "replica promoted" for one in self.troubles)

    @property
    def holder(self) -> Machine:
        return max(self.machines, key=lambda one: one.ready[-1] if one.ready else 0.0)

    async def run(self) -> Run:
        async with self._opened():
            for kind, seconds in self.plan.faults:
                await trio.sleep(self.chance.uniform(0.3, 1.0))
                await self._suffer(kind, seconds)
            await self._calm_down()
            return await self._written_down()

    # ── what there is ───────────────────────────────────────────────────────

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if any(kind == "replica promoted" for kind, _ in self.plan.faults):
                self.servers += stack.enter_context(postgres.replicated())
            else:
                self.servers.append(stack.enter_context(postgres.running()))
            self.platform = await stack.enter_async_context(
                open_platform(clock_scale=PLATFORM_SCALE)
            )
            self._chats = [
                await self.platform.chat(),
                await self.platform.chat("group", "Team"),
                await self.platform.chat("p2p", "Zoë"),
            ]
            members = [one for chat in self._chats for one in chat["members"]]
            fleet = Fleet(self.platform, self._root, self.servers[0].url(), "c", self._tls)
            for name, (rate, ahead_s) in zip("ab", self.plan.drifts, strict=True):
                clocks = {
                    "LARKD_TEST_CLOCK_RATE": str(rate),
                    "LARKD_TEST_CLOCK_WALL_S": str(ahead_s),
                }
                self.machines.append(
                    await stack.enter_async_context(
                        open_machine(name, self.servers, self.platform, clocks)
                    )
                )
            nursery = await stack.enter_async_context(trio.open_nursery())
            a, b = self.machines
            await nursery.start(_kept, a, fleet, members)
            await a.node.wait_ready()
            # Not in the loop: it waits for the holder, whose way to the server leads through it.
            await trio.to_thread.run_sync(audit.install, self.url, "c")
            await nursery.start(_kept, b, fleet, members)
            addresses = [one.place.advertise or "" for one in self.machines]
            tokens = a.node.state_dir / "tokens"
            for session in self.sessions:
                nursery.start_soon(session.run, addresses, self._tls, tokens)
            await b.node.wait_standing_by()
            await self.platform.wait_connected()
            for session in self.sessions:
                await session.wait_registered("a", 0.0)
            nursery.start_soon(self._write)
            nursery.start_soon(self._hand_over)
            yield
            nursery.cancel_scope.cancel()

    # ── what people do ──────────────────────────────────────────────────────

    async def _write(self) -> None:
        while not self.calm or self._numbers < MESSAGES_MIN:
            await self.send()
            if self.chance.random() < 0.3:
                await self._note_accepted()
            await trio.sleep(self.chance.choice([0.02, 0.1, 0.2]))

    async def send(self) -> str:
        """Let somebody write; return the event."""
        chat = self.chance.choice(self._chats)
        self._numbers += 1
        with trio.CancelScope(shield=True):  # what was sent is known to have been sent
            sent = await self.platform.send(
                chat, f"message {self._numbers}", mention_bot=chat["type"] == "group"
            )
        self._events[sent["message_id"]] = sent["event_id"]
        self.history.append(Sent(sent["event_id"], chat["chat_id"]))
        return str(sent["event_id"])

    async def _hand_over(self) -> None:
        """Let the channel change hands now and then; each change is in the server's audit."""
        while not self.calm:
            await trio.sleep(self.chance.uniform(0.2, 0.8))
            boss = self.sessions[0].proxy
            if boss is None:
                continue
            to = self.chance.choice(SESSIONS)
            with trio.move_on_after(2):
                try:
                    await boss.call_tool("feishu_channel_grant", {"session_id": to})
                except Exception as refused:
                    if type(refused).__module__ != "actors.proxies.errors":
                        raise

    def _unaccepted(self) -> list[str]:
        accepted = {one.event for one in self.history if isinstance(one, Accepted)}
        sent = [one.event for one in self.history if isinstance(one, Sent)]
        return [event for event in sent if event not in accepted]

    async def _note_accepted(self) -> None:
        unaccepted = set(self._unaccepted())
        for event in await self.platform.get("events"):
            if event["event_id"] in unaccepted and any(
                push["ack"] == 200 for push in event["pushes"]
            ):
                self.history.append(Accepted(event["event_id"]))

    # ── faults ──────────────────────────────────────────────────────────────

    async def _suffer(self, kind: str, seconds: float) -> None:
        """Let one fault happen, heal it, and wait until somebody serves."""
        if kind == "replica promoted" and self._promoted:
            return  # there was one replica
        holder = self.holder
        other = next(one for one in self.machines if one is not holder)
        trouble = Trouble(kind=kind, node=holder.name, began=trio.current_time())
        self.troubles.append(trouble)
        if kind == "cut from the database":
            trouble.standby_known = await self._knows(other)
            trouble.began = trio.current_time()
        starved_s = starved_so_far_s()
        async with trio.open_nursery() as nursery:
            if kind in SILENCES:
                nursery.start_soon(self._measure, trouble, other)
            await self._faults()[kind](holder, seconds)
            trouble.ended = trio.current_time()
            await self._wait_served(trouble)
            if trouble.successor is None:
                nursery.cancel_scope.cancel()
        took_s = trio.current_time() - trouble.began
        trouble.starved = (starved_so_far_s() - starved_s) / took_s

    async def _knows(self, other: Machine) -> bool:
        """Return whether the holder knows that the other node stands by; True: nobody answers."""
        status = await self.sessions[0].status()
        return status is None or other.name in {one["node"] for one in status["standbys"]}

    def _faults(self) -> dict[str, Callable[[Machine, float], Awaitable[None]]]:
        return {
            "kill": self._kill,
            "stop": self._stop,
            "leave": self._leave,
            "move": self._move,
            "cut from the database": lambda one, s: self._cut(one.databases, s),
            "reset from the database": lambda one, _: self._reset(one.databases),
            "slow database": self._slow_database,
            "cut from the platform": lambda one, s: self._cut(one.platform, min(s, 5)),
            "reset from the platform": lambda one, _: self._reset(one.platform),
            "cut from proxies": lambda one, s: self._cut([one.proxies], min(s, 5)),
            "database restarts": self._restart_database,
            "replica promoted": self._promote,
        }

    async def _kill(self, machine: Machine, seconds: float) -> None:
        await machine.kill()
        await trio.sleep(min(seconds, 2))
        machine.may_start.set()

    async def _stop(self, machine: Machine, seconds: float) -> None:
        machine.stop()
        await trio.sleep(seconds)
        machine.go_on()

    async def _leave(self, machine: Machine, seconds: float) -> None:
        machine.may_start = trio.Event()
        machine.node.signal(signal.SIGTERM)
        with trio.fail_after(SERVED_WITHIN_S):
            await machine.node.process.wait()
        await trio.sleep(min(seconds, 2))
        machine.may_start.set()

    async def _move(self, machine: Machine, _seconds: float) -> None:
        other = next(one for one in self.machines if one is not machine)
        await trio.to_thread.run_sync(_want, self.url, other.name)

    @staticmethod
    async def _cut(edges: Sequence[Any], seconds: float) -> None:
        for edge in edges:
            edge.let("stop")
        await trio.sleep(seconds)
        for edge in edges:
            edge.let("pass")

    @staticmethod
    async def _reset(edges: Sequence[Any]) -> None:
        for edge in edges:
            edge.let("reset")
        await trio.sleep(0.05)
        for edge in edges:
            edge.let("pass")

    async def _slow_database(self, machine: Machine, seconds: float) -> None:
        delay_s = self.chance.choice((0.02, 0.1, 0.4))
        for edge in machine.databases:
            edge.delay_s = delay_s
        await trio.sleep(seconds)
        for edge in machine.databases:
            edge.delay_s = 0.0

    async def _restart_database(self, _machine: Machine, seconds: float) -> None:
        server = self.servers[-1 if self._promoted else 0]
        await trio.to_thread.run_sync(server.stop, "immediate")
        await trio.sleep(seconds)
        await trio.to_thread.run_sync(server.start)

    async def _promote(self, _machine: Machine, _seconds: float) -> None:
        await trio.to_thread.run_sync(self.servers[0].stop, "immediate")
        await trio.to_thread.run_sync(self.servers[1].promote)

    async def _wait_served(self, trouble: Trouble) -> None:
        """Wait until a node answers a session out of the database, after the fault."""
        with trio.fail_after(SERVED_WITHIN_S):
            while True:
                status = await self.sessions[0].status()
                if status is not None and is_served(status):
                    node = str(status["daemon"]["node"])
                    if node != trouble.node:
                        trouble.successor = node
                        return
                    if trouble.kind not in LEAVING:
                        return
                await trio.sleep(0.1)

    async def _measure(self, trouble: Trouble, successor: Machine) -> None:
        """Measure until an event is acked and everybody registered, if it comes to that."""
        began = trouble.began
        before = {event["event_id"] for event in await self.platform.get("events")}

        async def registered() -> None:
            at = [await one.wait_registered(successor.name, began) for one in self.sessions]
            trouble.registered_s = max(at) - began

        async def acked() -> None:
            while not successor.ready or successor.ready[-1] < began:
                await successor.changed.wait()
            while True:
                for event in await self.platform.get("events"):
                    if event["event_id"] not in before and any(
                        push["ack"] == 200 for push in event["pushes"]
                    ):
                        trouble.acked_s = trio.current_time() - began
                        return
                await self.send()
                await trio.sleep(0.05)

        with trio.move_on_after(SERVED_WITHIN_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(registered)
                nursery.start_soon(acked)

    # ── the end ─────────────────────────────────────────────────────────────

    async def _calm_down(self) -> None:
        over, starved_s = trio.current_time(), starved_so_far_s()
        running = await self.platform.running_cards()
        self.calm = True
        while running and trio.current_time() < over + 10:
            await trio.sleep(0.1)
            running &= await self.platform.running_cards()
        self._still_running = sorted(running)
        took_s = max(trio.current_time() - over, 0.01)
        self._starved_at_end = (starved_so_far_s() - starved_s) / took_s
        unrest: Any = "nothing was looked at"
        with trio.move_on_after(REST_WITHIN_S):
            while unrest := await self._unrest():
                await trio.sleep(0.2)
        assert not unrest, f"no rest in {REST_WITHIN_S:g} s: {unrest}"

    async def _unrest(self) -> Any:
        """Return what still goes on, and nothing at rest."""
        if self._numbers < MESSAGES_MIN:
            return f"{self._numbers} messages were written"
        await self._note_accepted()
        status = await self.sessions[0].status()
        if status is None or not is_served(status):
            return "nobody serves"
        if unaccepted := self._unaccepted():
            async with trio.open_nursery() as nursery:
                for event in unaccepted:  # the platform's own next push may be an hour away
                    nursery.start_soon(self._push_again, event)
            return f"{unaccepted} were not accepted"
        if status["effective_target_session_id"] is None:
            boss = self.sessions[0].proxy
            assert boss is not None
            with suppress(ProxyError):  # the holder may just have been cut off
                await boss.call_tool("feishu_channel_reclaim")
            return "nobody owns the channel"
        queue = status["queue"]
        if queue["pending"] != 0 or queue["in_flight"] != 0:
            return queue
        if not status["standbys"]:
            return "nobody stands by"
        return await self.platform.running_cards()

    async def _cards_at_rest(self) -> list[Map]:
        """Return all cards once none runs.

        A turn that was over before its card was made shows in no queue, nor among the cards.
        """
        cards = await self.platform.cards()
        with trio.move_on_after(REST_WITHIN_S):
            while any(one["streaming"] and one["message_id"] is not None for one in cards):
                await trio.sleep(0.2)
                cards = await self.platform.cards()
        return cards

    async def _push_again(self, event: str) -> None:
        await self.platform.post("push", repeat_event_id=event)

    async def _written_down(self) -> Run:
        for message in (await self.platform.get("state"))["messages"]:
            if "already has 20 messages waiting" in message["content"]:
                self.history.append(Refused(self._events[message["parent_id"]]))
        ahead_s = time.time() - trio.current_time()
        seen = await trio.to_thread.run_sync(audit.read, self.url)
        stored = await trio.to_thread.run_sync(_stored, self.url)
        cards = await self._cards_at_rest()
        sequences = {
            card["card_id"]: [
                one["sequence"]
                for one in await self.platform.get(f"cards/{card['card_id']}/history")
            ]
            for card in cards
        }
        claims = seen.claims()
        return Run(
            history=[
                *[Started(one.term) for one in claims],
                *[Leased(epoch, owner) for epoch, owner in seen.standing_leases()],
                *self.history,
                *[Stored(*row) for row in stored],
            ],
            given=[one for session in self.sessions for one in session.given],
            troubles=self.troubles,
            audit=seen,
            calls={machine.name: machine.calls for machine in self.machines},
            claims=[(one.at - ahead_s, str(one.node)) for one in claims],
            rows=[(event, state) for event, _chat, state in stored],
            cards=cards,
            sequences=sequences,
            running_10s_later=self._still_running,
            starved_at_end=self._starved_at_end,
            whole={turn: text for one in self.sessions for turn, text in one.whole.items()},
        )


def _want(url: str, node: str) -> None:
    with psycopg.connect(url, autocommit=True) as database:
        database.execute("UPDATE larkd.claim SET wanted = %s", (node,))


def _stored(url: str) -> list[tuple[str, str, str]]:
    with psycopg.connect(url) as database:
        return database.execute(
            "SELECT event_id, chat_id, state FROM larkd_c.inbound WHERE kind = 'message'"
            " ORDER BY row_id"
        ).fetchall()


async def _kept(
    machine: Machine, fleet: Fleet, members: list[str], *, task_status: trio.TaskStatus[None]
) -> None:
    await machine.keep(fleet, allowFrom=members, task_status=task_status)


async def drive(seed: int, root: Path, tls: Certificates, *, faults: int, longest_s: float) -> Run:
    """Make one run; return what was seen of it."""
    return await Driver(seed, Plan.made(seed, faults, longest_s), root, tls).run()

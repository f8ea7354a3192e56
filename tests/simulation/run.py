"""One run of a plan: the platform, the people, the sessions, and the daemon's processes."""

from __future__ import annotations

import base64
import gc
import itertools
import random
import re
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
import trio

from actors.host import state_dir as host_state
from actors.host.tokens import TokenFiles, open_tokens
from actors.sandbox.clock import Clock
from actors.sandbox.platform import PlatformSettings, open_sandbox
from protocol.agents import starting
from protocol.config.places import StateDir
from protocol.config.reading import read_settings
from tests.faults.history import Delivered
from tests.kit.daemon import configuration
from tests.kit.scheduler import seeded_scheduler
from tests.simulation import plan as plans
from tests.simulation.clock import JumpingClock, sleep
from tests.simulation.http import Control
from tests.simulation.invariants import Ending, violations
from tests.simulation.journal import put_new_journal
from tests.simulation.machine import COMMIT_S, Machine, SimulatedCrash, Steps, now_ms
from tests.simulation.network import End
from tests.simulation.peers import GONE, Map, Peer
from tests.simulation.watching import Watch

REST_WITHIN_S: Final = 900.0
QUIET_EVERY_S: Final = 1.0
QUIET_EVERY_MAX_S: Final = 60.0
REATTACH_S: Final = 0.5
BASE_URL: Final = "http://127.0.0.1:9999"
START_WITHIN_S: Final = 90.0
STOP_WITHIN_S: Final = 120.0
AT_REST_S: Final = 30.0
REPAIRED_WITHIN_S: Final = 45.0
"""After a start: for what an earlier process left in doubt."""
NEVER_S: Final = 100_000.0
CRASH_TAKES_S: Final = 120.0
"""How long a crash may have consequences: restarts, and what they wait for."""
CRASHES: Final = {"actor.ended", "turn.crashed", "lane.crashed", "agent.crashed"}
TWO_ACCOUNTS_SHARE: Final = 0.25
"""Of the seeds; Bob talks to the second app then."""
SECOND_APP: Final = ("cli_5ec0000123456789", "second-secret")
GOES_ON_S: Final = 8.0
"""After the last action, at most, before all is healed."""
RUNS_A_COLLECTION: Final = 8
"""Of garbage: a run leaves some 2 MB."""
_RUNS: Final = itertools.count()
JUMPS_MAX: Final = 1_000_000
"""How often a run goes on when nothing more can at a time: some 3,000 are usual."""
MAY_GO_ON: Final = frozenset(
    {
        "actors.intake.marks.WaitingMarks._put",
        "actors.lanes.marks.Marks._show",
        "actors.turns.given._notify_if_unread",
    }
)
"""What may outlast its cause: looking for a mark whose call was not answered, 75 s long, and
the mark of a row that its session never answers."""
ESCALATES_AFTER: Final = 3
ESCALATES_WITHIN_S: Final = 120.0
FAULTY_S: Final = 30.0
"""For so long a fault outside of the daemon may keep it from leaving well."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    log: list[str]
    violations: list[str]


def simulate(plan: plans.Plan, make: Callable[..., Run] | None = None) -> Result:
    """Run *plan* from its beginning to its end. The same plan gives the same result.

    *make* makes the world of it, :class:`Run` unless it is given.
    """
    make = make or Run
    steps = Steps()
    if next(_RUNS) % RUNS_A_COLLECTION == 0:
        gc.collect()
    gc.disable()  # a fifth of a run; what some leave is collected before the next
    root = tempfile.mkdtemp(prefix="larkd-sim-", dir=_memory_disk())
    try:
        run = make(plan, steps, Path(root) / "state")
        with run.logging(), seeded_scheduler(plan.seed):
            trio.run(run.main, clock=run.clock)
        return Result(log=run.log, violations=run.broken)
    finally:
        gc.enable()
        shutil.rmtree(root, ignore_errors=True)


def _memory_disk() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  # a directory of its own in it


class Run:
    """The world of one run; what the daemon's processes and the sessions need of it."""

    may_go_on = MAY_GO_ON
    files_stay: Sequence[str] = ("tokens/*",)

    def __init__(self, plan: plans.Plan, steps: Steps, state_dir: Path) -> None:
        self.seed = plan.seed
        self.plan = plan
        self.steps = steps
        self.clock = JumpingClock()
        self.log: list[str] = []
        self.broken: list[str] = []
        self.watch = Watch(self._break)
        self.expected: dict[str, tuple[float, str]] = {}
        """Text that must be readable at the end, by turn, with when the turn began."""
        self.chance = random.Random(f"chance {plan.seed}")
        self.calm = False
        self.calmed = trio.Event()
        self._cuts_at_rest = self.chance.random() < 0.5
        self._backlog = 0
        self._comments: list[str] = []
        self._two_accounts = self.chance.random() < TWO_ACCOUNTS_SHARE
        self.carried: set[str] = set()
        """Messages that were part of a prompt that was given to a session."""
        self.paths: set[str] = set()
        """Files that sessions were given."""
        self._visitors = 0
        self._crashes_at: list[float] = []
        self.disturbed_at = -1.0
        """When a process or an actor ended last: turns before may have lost their text."""
        self.agents: list[str] = []
        """Every agent that was ever started; :attr:`running_agents` are those that run."""
        self.running_agents: list[str] = []
        self.crashed: list[str] = []
        self.unexpected: list[str] = []
        self.site: Any = None
        self.platform: trio.Nursery
        self._control: Control
        self._state = StateDir(state_dir)
        self._tokens: TokenFiles
        self._settings: Any = None
        self._sandbox: Any = None
        self._machine: Machine | None = None
        self._serving = trio.Event()
        self._serving_since = 0.0
        self._peers: dict[str, Peer] = {}
        self._wanted: set[str] = set()
        self._away = trio.Event()
        """One that is wanted is not here, or may not be."""
        self._sent: list[Map] = []
        self._events: set[str] = set()
        self._bad_http: list[plans.BadHttp] = []
        self._bad_http_left = 0
        self._slow: tuple[float, int] = (0.0, 0)
        self._failing = 0
        self._crashing_until = -1.0
        self._leaving = False
        self._agents_at_most = 0
        self._at_rest: Map = {}

    # ── what goes to the log ────────────────────────────────────────────────

    def note(self, what: str, /, **fields: Any) -> None:
        shown = " ".join(f"{key}={value}" for key, value in fields.items())
        self.log.append(f"{trio.current_time():10.3f} {what} {shown}".rstrip())

    def _break(self, text: str) -> None:
        """Note at once what must not be."""
        self.note("! " + text)
        self.broken.append(text)

    def delivered(self, one: Delivered) -> None:
        self.watch.delivered(one)

    def settled(self, event: str) -> None:
        self.watch.settled(event)

    def given(self, message_ids: list[str], paths: list[str]) -> None:
        self.carried |= {*message_ids}
        self.paths |= {*paths}

    def broke(self, text: str) -> None:
        self._break(text)

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Take the daemon's own log into ours."""

        def take(_logger: Any, level: str, entry: MutableMapping[str, Any]) -> Any:
            self._take_log(level, dict(entry))
            raise structlog.DropEvent

        structlog.configure(processors=[take], cache_logger_on_first_use=False)
        try:
            yield
        finally:
            structlog.reset_defaults()

    def _take_log(self, level: str, entry: dict[str, Any]) -> None:
        event, crash = entry.pop("event"), entry.pop("exc_info", None)
        crash = sys.exc_info()[1] if crash is True else crash
        fields = {
            key: value for key, value in entry.items() if isinstance(value, str | int | float)
        }
        if event in {"daemon.ready", "daemon.stopped"}:
            fields.pop("pid", None)
        self.note(f"  [{level}] {event}", **fields)
        self.watch.logged(event, entry)
        if event in CRASHES and isinstance(crash, BaseException):
            for leaf in leaves_of(crash):
                self.note(f"     {type(leaf).__name__}: {leaf}")
            if self._machine is not None and not self._machine.is_dead:
                self._judge_crash(str(entry.get("actor", event)), crash)

    def _disturb(self, until: float) -> None:
        self.disturbed_at = max(self.disturbed_at, until)

    def _judge_crash(self, actor: str, crash: BaseException) -> None:
        """A crash that is none of ours, and no consequence of one, is a finding."""
        if trio.current_time() > self._crashing_until:
            kinds = sorted({f"{type(leaf).__name__}: {leaf}" for leaf in leaves_of(crash)})
            self.unexpected.append(f"{actor} crashed by itself: {'; '.join(kinds)}")

    # ── what the daemon's processes are given ───────────────────────────────

    def http_fault(self, path: str) -> plans.BadHttp | None:
        if not self._bad_http or self.calm:
            return None
        fault = self._bad_http[0]
        if not re.search(fault.part, path) or "tenant_access_token" in path:
            return None
        if fault.kind == "denied" and not path.endswith("/cardkit/v1/cards"):
            return None  # a scope is missing from the first call on
        if fault.kind == "twice" and path.endswith("/reactions"):
            return None  # it has no uuid, and what a second one does is not documented
        self._bad_http_left -= 1
        if self._bad_http_left <= 0:
            self._bad_http.pop(0)
            self._bad_http_left = self._bad_http[0].calls if self._bad_http else 0
        self.note("http fault", kind=fault.kind, seconds=fault.seconds)
        self.watch.fault()
        return fault

    def http_answered(self, path: str, status: int, content: bytes) -> None:
        self.watch.http_answered(path, status, content)

    def committed(self, batch: Any, answers: Any) -> None:
        self.watch.committed(batch, answers)

    def journal_fault(self) -> tuple[float, bool]:
        """Return how long the next batch takes, and whether it fails."""
        if self._failing:
            self._failing -= 1
            self.note("a batch fails")
            self.watch.fault()
            return COMMIT_S, True
        seconds, batches = self._slow
        if batches:
            self._slow = (seconds, batches - 1)
            self.note("a slow batch", seconds=seconds)
            self.watch.fault()
            return seconds, False
        return COMMIT_S, False

    def accept_long_connection(self, end: End) -> None:
        self.platform.start_soon(self._serve_long_connection, end)

    async def _serve_long_connection(self, end: End) -> None:
        self._long_connection = end
        try:
            await self._sandbox.accept(end)
        except* Exception as group:  # noqa: BLE001  # it was cut; the platform goes on
            self.note("long connection over", why=type(leaves_of(group)[0]).__name__)

    async def run_agent(self, command: list[str], take: Callable[[bytes], None]) -> int:
        """Attach what was started as a session that behaves, until the daemon ends it."""
        given = dict(one.split("=", 1) for one in command if "=" in one)
        name = given["--session-id"]
        if name not in self.agents:
            self.agents.append(name)
        self.note("agent runs", session=name)
        if "--report-start" in command:
            take(starting.encode(starting.ReportReady(name)))
        self._want([name])
        self.running_agents.append(name)
        self._agents_at_most = max(self._agents_at_most, self._agents())
        try:
            await trio.sleep_forever()
        finally:
            self.running_agents.remove(name)
        return 0

    def _agents(self) -> int:
        """Count those that run now."""
        return len(self.running_agents)

    # ── the run ─────────────────────────────────────────────────────────────

    def platform_settings(self) -> PlatformSettings:
        return PlatformSettings(
            reconnect_interval_s=1,
            reconnect_nonce_s=0,
            enforce_limits=False,
            more_apps=(SECOND_APP,) if self._two_accounts else (),
        )

    async def main(self) -> None:
        settings = self.platform_settings()
        clock = Clock(wall_ns=lambda: now_ms() * 1_000_000)
        async with open_sandbox(settings, clock=clock, rng=random.Random(self.seed)) as sandbox:
            self._sandbox = sandbox
            self.site = sandbox.site
            sandbox.located(BASE_URL, "ws://127.0.0.1:9998")
            async with trio.open_nursery() as platform:
                self.platform = platform
                self._control = Control(sandbox.site, sandbox.settings.token)
                self._chats = await self._open_chats()
                self._prepare()
                await self._act()
                platform.cancel_scope.cancel()

    async def _open_chats(self) -> dict[str, Map]:
        """Return the chats that people write in, by the names the plan has for them."""
        return {
            "Alice": await self._chat("p2p", "Alice"),
            "Bob": await self._chat("p2p", "Bob", SECOND_APP[0] if self._two_accounts else None),
            "Team": await self._chat("group", "Team"),
        }

    def _prepare(self) -> None:
        host_state.create(self._state)
        mint = random.Random(f"tokens {self.seed}")
        self._tokens = open_tokens(
            self._state, lambda _bytes: "".join(mint.choices("abcdefgh", k=43))
        )
        app = self._sandbox.settings
        accounts = {
            "default": {"appId": app.app_id, "appSecret": app.app_secret},
            "second": {"appId": SECOND_APP[0], "appSecret": SECOND_APP[1]},
        }
        raw = msgspec.json.decode(
            configuration(
                BASE_URL,
                app.app_id,
                app.app_secret,
                allowFrom=[one for chat in self._chats.values() for one in chat["members"]],
                admins=self._chats["Alice"]["members"],
                **({"accounts": accounts} if self._two_accounts else {}),
                agents={"coder": {"command": ["true"], "cwd": "/tmp"}},  # noqa: S108  # any directory
            )
        )
        self._settings = read_settings(raw, {}, lambda name: name)
        put_new_journal(self._state.database)
        self._gather()

    def _gather(self) -> None:
        """Bind the sessions of a crowd to chats where nobody writes, as an earlier run left it."""
        crowd = [
            f"bound{number}"
            for action in self.plan.actions
            if isinstance(action, plans.Crowd)
            for number in range(action.sessions)
        ]
        if crowd:
            self._bind([(f"oc_silent_{name}", name) for name in crowd])

    def _bind(self, bound: list[tuple[str, str]]) -> None:
        """Bind each chat to its session, and let the session come."""
        with closing(sqlite3.connect(self._state.database)) as db, db:
            db.executemany("INSERT OR IGNORE INTO binding VALUES (?, ?)", bound)
        self._want(session for _chat, session in bound)

    async def _act(self) -> None:
        async with trio.open_nursery() as nursery:
            self._attached = nursery
            nursery.start_soon(self._keep_running)
            nursery.start_soon(self._keep_attached, nursery)
            await self._serving.wait()
            began = trio.current_time()
            async with trio.open_nursery() as acting:
                for action in self.plan.actions:
                    acting.start_soon(self._at, began + action.at, action)
            await sleep(self.chance.uniform(0, GOES_ON_S))
            status, attached = await self._come_to_rest()
            nursery.cancel_scope.cancel()
        ending = Ending(
            history=self.watch.history,
            sent=self._sent,
            state=self._at_rest,
            repaired=await self._get("state"),
            database=self._state.database,
            stay=self.files_stay,
            status=status,
            attached=attached,
            expected=[text for began, text in self.expected.values() if began > self.disturbed_at],
            agents_at_most=self._agents_at_most,
            unexpected=self.unexpected,
            is_disturbed=self.disturbed_at > 0,
            carried=self.carried,
        )
        self.broken += violations(ending)

    async def _chat(self, kind: str, name: str, app_id: str | None = None) -> Map:
        for chat in (await self._get("state"))["chats"]:
            if chat["type"] == kind and chat["name"] == name:
                found: Map = chat
                return found
        user = await self._post("users", name=name)
        made: Map = await self._post(
            "chats", type=kind, name=name, members=[user["open_id"]], app_id=app_id
        )
        return made

    async def _get(self, path: str) -> Any:
        return await self._control.get(path)

    async def _post(self, path: str, **body: Any) -> Any:
        return await self._control.post(path, body)

    # ── the daemon, process after process ───────────────────────────────────

    async def _keep_running(self) -> None:
        self._down_s = 0.0
        while True:
            self.note("the daemon starts")
            machine = Machine(self, self._settings, self._state, self._tokens)
            self._machine = machine
            async with trio.open_nursery() as nursery:
                nursery.start_soon(machine.run)
                with trio.move_on_after(START_WITHIN_S):
                    await machine.settled.wait()
                if machine.ready.is_set():
                    self._serving_since = trio.current_time()
                    self._serving.set()
                if not machine.ready.is_set() and not machine.ended.is_set():
                    self.broken.append(f"the daemon was not ready within {START_WITHIN_S:g} s")
                    machine.die()
                await machine.ended.wait()
                nursery.cancel_scope.cancel()
            if not self._leaving:
                self._disturb(trio.current_time())
            self.note("the daemon has ended", status=machine.exit_status)
            self._judge_end(machine)
            if machine.fell_over is not None:
                leaves = leaves_of(machine.fell_over)
                if not all(isinstance(one, SimulatedCrash) for one in leaves):
                    names = sorted({f"{type(one).__name__}: {one}" for one in leaves})
                    self.broken.append(f"the daemon fell over: {'; '.join(names)}")
            await sleep(self._down_s)
            self._down_s = 0.0
            await self._pile_up()

    def _judge_end(self, machine: Machine) -> None:
        """It ends by itself when too much has crashed; asked to leave, it leaves well."""
        if machine.exit_status is None:
            return
        recent = [at for at in self._crashes_at if trio.current_time() - at < ESCALATES_WITHIN_S]
        if not machine.is_asked_to_leave and len(recent) < ESCALATES_AFTER:
            self._break(f"the daemon ended by itself with {machine.exit_status}")
        elif machine.exit_status != 0 and not (recent or self._is_faulty()):
            self._break(f"the daemon left with {machine.exit_status}")

    def _is_faulty(self) -> bool:
        return trio.current_time() - self.watch.faulty_at < FAULTY_S

    async def _pile_up(self) -> None:
        """Put rows into the journal that no intake has read, as a kill leaves them."""
        rows, self._backlog = self._backlog, 0
        with closing(sqlite3.connect(self._state.database)) as db, db:
            for number in range(rows):
                made = db.execute(
                    "INSERT INTO inbound (account, event_id, kind, state, received_at, changed_at)"
                    " VALUES ('default', ?1, 'other', 'received', ?2, ?2)",
                    (f"ev_backlog_{now_ms()}_{number}", now_ms()),
                )
                db.execute(
                    "INSERT INTO content (row_id, payload) VALUES (?1, ?2)", (made.lastrowid, b"{}")
                )
        await trio.lowlevel.checkpoint()

    # ── the sessions ────────────────────────────────────────────────────────

    async def _keep_attached(self, nursery: trio.Nursery) -> None:
        while True:
            for name in sorted(self._wanted - self._peers.keys()):
                self._attach(name, nursery)
            if self._wanted <= self._peers.keys():
                self._away = trio.Event()
                await self._away.wait()
            await sleep(REATTACH_S)

    def _want(self, names: Iterable[str]) -> None:
        """Let these sessions come, and come again, from now on."""
        self._wanted.update(names)
        self._away.set()

    def _attach(self, name: str, nursery: trio.Nursery) -> None:
        if self._machine is None:
            return
        try:
            end = self._machine.connect()
        except OSError:
            return
        peer = self.make_peer(name, end)
        self._peers[name] = peer
        nursery.start_soon(self._run_peer, peer)

    def make_peer(self, name: str, end: End) -> Peer:
        return Peer(self, name, end, self._state.root)

    def _visit(self, sessions: int) -> None:
        """Let sessions come that stay away once they are cut."""
        for _ in range(sessions):
            self._visitors += 1
            self._attach(f"visitor{self._visitors}", self._attached)

    async def _run_peer(self, peer: Peer) -> None:
        try:
            await peer.run()
        finally:
            if self._peers.get(peer.name) is peer:
                del self._peers[peer.name]
                self._away.set()

    # ── the actions ─────────────────────────────────────────────────────────

    async def _at(self, when: float, action: plans.Action) -> None:
        await trio.sleep_until(when)
        fields = {
            name: value for name, value in msgspec.structs.asdict(action).items() if name != "at"
        }
        self.note(f"> {type(action).__name__}", **fields)
        await self._do(action)

    async def _do(self, action: plans.Action) -> None:
        match action:
            case plans.Write(chat=chat, text=text):
                await self._write(chat, text)
            case plans.Send(chat=chat, kind=kind):
                await self._send(chat, kind)
            case plans.Comment():
                made = await self._post("comment", text="is this right?")
                self._comments.append(made["comment_id"])
            case plans.Decide(option=option):
                await self._decide(option)
            case plans.Recall(which=which) if self._sent:
                sent = self._sent[which % len(self._sent)]
                sent["recalled"] = True
                await self._post("recall", message_id=sent["message_id"])
            case plans.Press():
                await self._press()
            case plans.PushAgain(which=which, times=times) if self._sent:
                event = self._sent[which % len(self._sent)]["event_id"]
                await self._post("push", repeat_event_id=event, times=times)
            case plans.Attach(session=session):
                self._want([session])
            case plans.Detach(session=session, after_bytes=after):
                self._wanted.discard(session)
                self._cut(session, after)
            case plans.Visit(sessions=sessions):
                self._visit(sessions)
            case plans.Flood(session=session, acks=acks):
                peer = self._peers.get(session)
                if peer is not None and peer.registered.is_set():
                    with suppress(*GONE):
                        await peer.flood(acks)
            case plans.Backlog(rows=rows):
                self._backlog += rows
            case plans.DropAll():
                for name in sorted(self._peers):
                    self._cut(name, 0)
            case plans.HandOver():
                await self._hand_over(action)
            case plans.CutPlatform(after_bytes=after):
                self._cut_end(getattr(self, "_long_connection", None), after)
            case _:
                self._spoil(action)

    def _spoil(self, action: plans.Action) -> None:
        machine = self._machine
        assert machine is not None
        match action:
            case plans.SlowJournal(seconds=seconds, batches=batches):
                self._slow = (seconds, batches)
            case plans.FailingJournal(batches=batches):
                self._failing = batches
            case plans.BadHttp():
                self._bad_http.append(action)
                if len(self._bad_http) == 1:
                    self._bad_http_left = action.calls
            case plans.Crash(actor=actor, steps=steps, named=named):
                self._disturb(trio.current_time() + CRASH_TAKES_S)
                self._crashing_until = trio.current_time() + CRASH_TAKES_S
                self._crashes_at.append(trio.current_time())
                machine.crash(actor, steps, named)
            case plans.Die(steps=steps, down_s=down_s):
                self._down_s = down_s
                self.steps.after(steps, machine.die)
            case plans.Leave(down_s=down_s):
                self._down_s = down_s
                machine.terminate()
            case _:
                pass

    def _cut(self, session: str, after: int) -> None:
        peer = self._peers.get(session)
        self._cut_end(None if peer is None else peer.end.wire.server, after)

    @staticmethod
    def _cut_end(end: End | None, after: int) -> None:
        if end is None:
            return
        if after == 0:
            end.wire.cut()
        else:
            end.out.cut_after = after

    async def _write(self, chat: str, text: str) -> None:
        place = self._chats[chat]
        number = len(self._sent) + 1
        body = f"{text} {number}" if text in plans.PROMPTS else text
        self._sent.append(
            {"text": body, "chat": chat, "recalled": False, "event_id": "", "message_id": ""}
        )
        entry = self._sent[-1]
        sent = await self._post(
            "send", chat_id=place["chat_id"], text=body, mention_bot=place["type"] == "group"
        )
        entry.update(event_id=sent["event_id"], message_id=sent["message_id"])
        self._events.add(sent["event_id"])

    async def _send(self, chat: str, kind: str) -> None:
        data = base64.b64encode(kind.encode() * 100).decode()
        key = (await self._post("upload", kind=kind, base64=data))["key"]
        content = {f"{kind}_key": key} | ({"file_name": "notes.txt"} if kind == "file" else {})
        place = self._chats[chat]
        text = kind if place["type"] == "p2p" else f"unmentioned {kind}"
        entry = {"text": text, "chat": chat, "recalled": False, "event_id": "", "message_id": ""}
        self._sent.append(entry)
        place = self._chats[chat]
        sent = await self._post(
            "send",
            chat_id=place["chat_id"],
            message_type=kind,
            content=msgspec.json.encode(content).decode(),
        )
        entry.update(event_id=sent["event_id"] or "", message_id=sent["message_id"])
        if sent["event_id"]:
            self._events.add(sent["event_id"])

    async def _decide(self, option: int) -> None:
        for message in reversed((await self._get("state"))["messages"]):
            if message["msg_type"] == "interactive" and f'"option_{option}"' in message["content"]:
                await self._post(
                    "click", message_id=message["message_id"], element_id=f"option_{option}"
                )
                return

    async def _press(self) -> None:
        cards = [card for card in (await self._get("state"))["cards"] if card["streaming"]]
        if cards:
            await self._post("click", card_id=cards[-1]["card_id"])

    async def _hand_over(self, action: plans.HandOver) -> None:
        peer = self._peers.get(action.session)
        if peer is None or not peer.registered.is_set():
            return
        args = {} if action.to is None else {"session_id": action.to}
        with suppress(*GONE):
            await peer.tool(f"feishu_channel_{action.tool}", **args)

    # ── the end ─────────────────────────────────────────────────────────────

    async def _come_to_rest(self) -> tuple[Map, list[str]]:
        """Heal everything, wait until nothing is under way, restart the daemon, and stop it."""
        self.note("calm")
        self.calm = True
        self._bad_http.clear()
        self._slow, self._failing = (0.0, 0), 0
        self.calmed.set()
        self._want([*plans.SESSIONS, *self.agents, "watch"])
        for name in sorted(self._peers) if self._cuts_at_rest else ():
            self._cut(name, 0)
        status: Map = {}
        pause_s = QUIET_EVERY_S
        with trio.move_on_after(REST_WITHIN_S):
            while not self._is_quiet(status):
                await sleep(pause_s)
                pause_s = min(pause_s * 1.5, QUIET_EVERY_MAX_S)
                await self._push_unaccepted()
                status = await self._status() or status
                await self._reclaim(status)
                if self.clock.jumps > JUMPS_MAX:
                    self._break(f"over {JUMPS_MAX} moments, and no rest")
                    break
        if not self._is_quiet(status):
            self.broken.append(f"no rest within {REST_WITHIN_S:g} s: {self._summary(status)}")
        self.steps.forget()  # a death that has not come by now would disturb the rest
        await sleep(max(AT_REST_S, self._serving_since + REPAIRED_WITHIN_S - trio.current_time()))
        self._at_rest = await self._get("state")
        assert self._machine is not None
        if unread := self._machine.unread():
            self._break(f"mailboxes hold messages at rest: {unread}")
        tasks = self._machine.tasks()
        self._at_rest["comments"] = [
            await self._get(f"documents/doxcnSandbox/comments/{one}") for one in self._comments
        ]
        status, attached = await self._status() or status, sorted(self._peers)
        self._leaving = True
        self._serving = trio.Event()
        await self._stop()
        await self._serving.wait()
        await sleep(REPAIRED_WITHIN_S)
        if more := sorted(tasks - self._machine.tasks() - self.may_go_on):
            self._break(f"tasks at rest that a fresh process has none of: {', '.join(more)}")
        self._down_s = NEVER_S
        await self._stop()
        return status, attached

    async def _stop(self) -> None:
        machine = self._machine
        assert machine is not None
        self.note("SIGTERM at rest")
        machine.terminate()
        with trio.move_on_after(STOP_WITHIN_S):
            await machine.ended.wait()
        if machine.exit_status != 0:
            self.broken.append(f"the daemon left with {machine.exit_status} at rest")

    @staticmethod
    def _summary(status: Map) -> str:
        return str({key: status.get(key) for key in ("queue", "effective_target_session_id")})

    def _is_quiet(self, status: Map) -> bool:
        if not status or self._unaccepted or not self._wanted <= self._peers.keys():
            return False
        queue = status["queue"]
        return bool(queue["pending"] == queue["in_flight"] == 0)

    _unaccepted: tuple[str, ...] = ("unknown",)

    async def _push_unaccepted(self) -> None:
        events = await self._get("events")
        self._unaccepted = tuple(
            event["event_id"]
            for event in events
            if event["event_id"] in self._events
            and not any(push["ack"] == 200 for push in event["pushes"])
        )
        for event in self._unaccepted:
            await self._post("push", repeat_event_id=event)

    async def _status(self) -> Map | None:
        watch = self._peers.get("watch")
        if watch is None or not watch.registered.is_set():
            return None
        with suppress(*GONE):
            status = await watch.status()
            if status is not None:
                self.watch.status(status)
            return status
        return None

    async def _reclaim(self, status: Map) -> None:
        boss = self._peers.get("boss")
        if status.get("effective_target_session_id") is None and boss is not None:
            with suppress(*GONE):
                await boss.tool("feishu_channel_reclaim")


def leaves_of(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for one in error.exceptions for leaf in leaves_of(one)]
    return [error]

"""One process of the daemon, in memory: what it is given, and how it dies.

From the instant of its death nothing it does has an effect: its connections are cut,
its calls fail, its journal commits nothing. What is left of its tasks is then cancelled.
"""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, cast

import trio

from actors.app.adapters import Adapters
from actors.app.composition import App
from actors.host.tokens import TokenFiles
from actors.journal import RunSync
from actors.messages import journal
from protocol.config.places import StateDir
from protocol.config.settings import Settings
from tests.kit.httpx_transport import HttpxTransport
from tests.simulation.clock import sleep
from tests.simulation.http import Transport
from tests.simulation.network import End, Listener, Wire

COMMIT_S = 0.001
BEGINNING_MS = 1_790_000_000_000


class SimulatedCrash(Exception):
    """What an actor crashes with."""


class Dead(OSError):
    """Somebody of a dead process wants something done."""


class Outside(Protocol):
    """What a process needs of the world around it."""

    site: Any
    platform: trio.Nursery
    chance: random.Random
    steps: Steps

    def note(self, what: str, /, **fields: Any) -> None: ...
    def http_fault(self, path: str) -> Any: ...
    def http_answered(self, path: str, status: int, content: bytes) -> None: ...
    def committed(self, batch: Any, answers: Any) -> None: ...
    def journal_fault(self) -> tuple[float, bool]: ...
    def accept_long_connection(self, end: End) -> None: ...
    async def run_agent(self, command: list[str], take: Callable[[bytes], None]) -> int: ...


class Steps(trio.abc.Instrument):
    """Does something when so many more steps were made: of the loop, or of one task.

    It looks at steps only while something is to be done at one, for that costs each step.
    """

    def __init__(self) -> None:
        self._of_loop: list[tuple[int, Callable[[], None]]] = []
        self._of_task: dict[trio.lowlevel.Task, tuple[int, Callable[[], None]]] = {}
        self._looks = False
        self._count = 0

    def after(self, steps: int, act: Callable[[], None]) -> None:
        self._look()
        self._of_loop.append((self._count + steps, act))

    def after_steps_of(self, task: trio.lowlevel.Task, steps: int, act: Callable[[], None]) -> None:
        self._look()
        self._of_task[task] = (steps, act)

    def forget(self) -> None:
        """Do nothing any more of what was to be done at a step that has not come."""
        self._of_loop.clear()
        self._of_task.clear()

    def _look(self) -> None:
        if not self._looks:
            trio.lowlevel.add_instrument(self)
            self._looks = True

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        self._of_task.pop(task, None)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if not (self._of_loop or self._of_task):
            trio.lowlevel.remove_instrument(self)
            self._looks = False
            return
        self._count += 1
        if self._of_loop:
            due = [one for one in self._of_loop if one[0] <= self._count]
            self._of_loop = [one for one in self._of_loop if one[0] > self._count]
            for _, act in due:
                act()
        if task in self._of_task:
            left, act = self._of_task.pop(task)
            if left > 0:
                self._of_task[task] = (left - 1, act)
            else:
                act()


class Guarded:
    """One run of an actor that may be made to crash."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.scope = trio.CancelScope()
        self.task = trio.lowlevel.current_task()
        self.crashes = False


class Machine:
    def __init__(
        self, outside: Outside, settings: Settings, state: StateDir, tokens: TokenFiles
    ) -> None:
        self._outside = outside
        self._settings = settings
        self._state = state
        self._tokens = tokens
        self.listener = Listener()
        self.is_dead = False
        self.death = trio.Event()
        self.ended = trio.Event()
        self.ready = trio.Event()
        self.settled = trio.Event()
        """It is ready, or has ended."""
        self.exit_status: int | None = None
        self.guarded: dict[str, Guarded] = {}
        self.wires: list[Wire] = []
        self.fell_over: BaseException | None = None
        self.app: App
        self.is_asked_to_leave = False
        self._task: trio.lowlevel.Task | None = None
        self._scope = trio.CancelScope()
        self._signals_tx, self._signals = trio.open_memory_channel[int](8)

    async def run(self) -> None:
        """Run the daemon until it ends or dies."""
        self._task = trio.lowlevel.current_task()
        try:
            with self._scope:
                self.exit_status = await self._serve()
        except BaseExceptionGroup as group:
            if not self.is_dead:
                self.fell_over = group
        except Exception as error:  # noqa: BLE001  # whatever ends it is a finding
            if not self.is_dead:
                self.fell_over = error
        finally:
            self.is_dead = True
            for wire in self.wires:
                wire.cut()
            self.ended.set()
            self.settled.set()

    async def _serve(self) -> int:
        self.app = App(self._settings, self._state, self._tokens, self._adapters())
        return await self.app.run(self._announce)

    async def _announce(self, _host: str, _port: int) -> None:
        await trio.lowlevel.checkpoint()
        self.ready.set()
        self.settled.set()

    def connect(self) -> End:
        """Open a connection to the daemon, as a proxy does.

        Raises:
            OSError: it does not listen.
        """
        if self.is_dead or not self.ready.is_set():
            raise ConnectionRefusedError("nobody listens")
        wire = self._wire()
        self.listener.connect(wire.server)
        return wire.client

    def terminate(self) -> None:
        self.is_asked_to_leave = True
        self._signals_tx.send_nowait(15)

    def die(self) -> None:
        if self.is_dead:
            return
        self.is_dead = True
        self._outside.note("the process dies")
        self.death.set()
        for wire in self.wires:
            wire.cut()
        self._scope.cancel(reason="the process died")

    def crash(self, which: int, steps: int, named: str) -> None:
        """Make one of the running actors crash, here or at a later checkpoint of its own."""
        running = sorted(name for name in self.guarded if name.startswith(named))
        if not running:
            return
        victim = self.guarded[running[which % len(running)]]

        def strike() -> None:
            if not self.is_dead and self.guarded.get(victim.name) is victim:
                self._outside.note("crash", actor=victim.name)
                victim.crashes = True
                victim.scope.cancel(reason="simulated crash")

        if steps == 0:
            strike()  # where it waits, however long
        else:
            self._outside.steps.after_steps_of(victim.task, steps, strike)

    # ── what can be seen of it ──────────────────────────────────────────────

    def unread(self) -> dict[str, int]:
        """Return the mailboxes with messages in them, and how many."""
        boxes = {**vars(self.app._boxes)}
        for name, account in self.app._accounts.items():
            boxes |= {f"intake {name}": account.intake, f"connection {name}": account.connection}
        used = {name: box.tx.statistics().current_buffer_used for name, box in boxes.items()}
        return {name: count for name, count in used.items() if count}

    def tasks(self) -> set[str]:
        """Return what its tasks run, each kind once."""
        found: set[str] = set()
        left = [self._task] if self._task is not None else []
        while left:
            task = left.pop()
            found.add(re.sub(r"\b\w*\d\w*\b", "…", task.name))
            left += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        return found

    # ── what the daemon is given ────────────────────────────────────────────

    def _adapters(self) -> Adapters:
        outside = self._outside
        return Adapters(
            listen=self._listen,
            http=lambda: HttpxTransport(
                Transport(
                    outside.site,
                    outside.platform,
                    self._http_fault,
                    lambda: self.is_dead,
                    outside.http_answered,
                )
            ),
            dial=self._dial,
            journal_worker=lambda: cast("RunSync", self._work),
            in_thread=cast("RunSync", self._at_once),
            run_agent=outside.run_agent,
            signals=self._receive_signals,
            arm_watchdog=lambda *_args, **_fields: None,
            now_ms=now_ms,
            random_bytes=outside.chance.randbytes,
            guard=self._guard,
        )

    def _http_fault(self, path: str) -> Any:
        return self._outside.http_fault(path)

    async def _listen(self, _host: str, _port: int) -> tuple[list[Listener], int]:
        await trio.lowlevel.checkpoint()
        return [self.listener], 7345

    async def _dial(self, _host: str, _port: int, _tls: bool) -> trio.abc.Stream:
        await sleep(0.01)
        if self.is_dead:
            raise Dead("the process is gone")
        wire = self._wire()
        self._outside.accept_long_connection(wire.server)
        return wire.client

    def _wire(self) -> Wire:
        wire = Wire(self._outside.chance)
        self.wires = [one for one in self.wires if not one.is_cut]
        self.wires.append(wire)
        return wire

    async def _work(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run the store where a thread would: a call is not cut short, but by death."""
        name = getattr(function, "__name__", "")
        if name == "close":
            await trio.lowlevel.checkpoint()
            return function(*args)
        seconds, fails = (COMMIT_S, False) if name != "apply" else self._outside.journal_fault()
        before_s = seconds / 2 if seconds > COMMIT_S else 0.0
        await self._pass(before_s)
        if fails:
            return [journal.Failed(reason="disk I/O error") for _ in args[0]]
        result = function(*args)
        if name == "apply":
            self._outside.committed(args[0], result)
        await self._pass(seconds - before_s)
        return result

    async def _pass(self, seconds: float) -> None:
        if seconds > COMMIT_S:
            with trio.move_on_after(seconds, shield=True):
                await self.death.wait()
        else:
            await sleep(seconds, shielded=True)
        if self.is_dead:
            raise Dead("the process is gone")

    async def _at_once(self, function: Callable[..., Any], *args: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return function(*args)

    @contextmanager
    def _receive_signals(self) -> Iterator[AsyncIterable[int]]:
        yield self._signals

    def _guard(self, name: str) -> AbstractContextManager[None]:
        return self._guarded(name)

    @contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        guarded = self.guarded[name] = Guarded(name)
        try:
            with guarded.scope:
                yield
        finally:
            if self.guarded.get(name) is guarded:
                del self.guarded[name]
        if guarded.crashes and guarded.scope.cancelled_caught:
            raise SimulatedCrash(name)


def now_ms() -> int:
    """The wall clock of the simulated day."""
    return BEGINNING_MS + round(trio.current_time() * 1000)

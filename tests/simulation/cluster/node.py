"""One process of a node: it stands by, serves, and stands by again."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec
import trio

from actors.app.adapters import Adapters
from actors.app.database import ClusterWatcher, Database
from actors.app.standby import Node
from actors.host.tokens import TokenFiles
from actors.journal.postgres import Target
from actors.messages import journal
from protocol.config.places import StateDir
from protocol.config.settings import Settings
from protocol.wire.addresses import Address
from tests.simulation.cluster.holder import Store, Watcher
from tests.simulation.cluster.server import Server, Way
from tests.simulation.machine import Dead, Machine, Outside
from tests.simulation.network import End
from tests.simulation.plan import BadHttp


class Around(msgspec.Struct, kw_only=True):
    """What a node's process has around it that a daemon of one machine has not."""

    name: str
    server: Server
    way: Way
    rate: float
    """How many seconds its clock counts in one."""
    ahead_s: float
    began_call: Callable[[str, str], None]
    """``began_call(node, path)``: it starts a call to the platform."""
    connect: Callable[[str, str], End]
    """``connect(node, to)`` opens a stream to another node, or raises OSError."""
    serves: Callable[[Machine], None]
    died: Callable[[Machine], None]


class NodeMachine(Machine):
    def __init__(
        self,
        outside: Outside,
        settings: Settings,
        state: StateDir,
        tokens: TokenFiles,
        around: Around,
    ) -> None:
        super().__init__(outside, settings, state, tokens)
        self.name = around.name
        self.stands_by = trio.Event()
        self.proxies_cut = False
        self.stores: list[Store] = []
        self.around = around

    def now(self) -> float:
        """Its clock, which goes wrong."""
        return trio.current_time() * self.around.rate + self.around.ahead_s

    def connect(self) -> End:
        if self.is_dead or self.proxies_cut or not self.stands_by.is_set():
            raise ConnectionRefusedError("nobody answers")
        wire = self._wire()
        self.listener.connect(wire.server)
        return wire.client

    def die(self) -> None:
        if self.is_dead:
            return
        super().die()
        self.around.died(self)
        for one in tuple(self.around.server.connections):
            if one.way is self.around.way:
                one.close()  # by its kernel

    async def _serve(self) -> int:
        database = Database(
            open_watcher=cast("Callable[[Target], ClusterWatcher]", self._open_watcher),
            connect=self._connect_to,
            now=self.now,
        )
        node = Node(self._settings, self._state, self._tokens, self._adapters(), database)

        async def serves(host: str, port: int) -> None:
            assert node.app is not None
            self.app = node.app
            await self._announce(host, port)
            self.around.serves(self)

        return await node.run(self._announce_standing_by, serves)

    async def _announce_standing_by(self, _host: str, _port: int) -> None:
        await trio.lowlevel.checkpoint()
        self.stands_by.set()

    async def _open_watcher(self, target: Target) -> Watcher:
        return _Watcher(self, target, await self.around.server.connect(self.around.way))

    async def _connect_to(self, at: Address) -> trio.abc.Stream:
        await trio.sleep(0.01)
        return self.around.connect(self.name, at.host.partition(".")[0])

    def _adapters(self) -> Adapters:
        plain = super()._adapters()
        assert plain.http is not None
        return msgspec.structs.replace(plain, in_thread=self._in_thread)

    def _http_fault(self, path: str) -> BadHttp | None:
        self.around.began_call(self.name, path)
        fault: BadHttp | None = self._outside.http_fault(path)
        return fault

    async def _in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run what a thread would run: nothing but the death of the process cuts it short."""
        found = function(*args)
        if inspect.isawaitable(found):
            found = await found
        else:
            await trio.lowlevel.checkpoint()
        if self.is_dead:
            raise Dead("the process is gone")
        return found

    async def _work(self, function: Callable[..., Any], *args: Any) -> Any:
        if getattr(function, "__name__", "") != "apply":
            return await self._in_thread(function, *args)
        seconds, fails = self._outside.journal_fault()
        if self.stores:
            await self.stores[-1].pass_time(seconds)  # which hanging up cuts short
        if self.is_dead:
            raise Dead("the process is gone")
        if fails:
            return [journal.Failed(reason="disk I/O error") for _ in args[0]]
        answers: Sequence[Any] = await self._in_thread(function, *args)
        self._outside.committed(args[0], answers)
        return answers


class _Watcher(Watcher):
    """Notes the store that comes of it."""

    def __init__(self, machine: NodeMachine, target: Target, connection: Any) -> None:
        super().__init__(target, connection)
        self._machine = machine

    def open_store(self, claimed: Any, *, now: Callable[[], float]) -> Store:
        store = super().open_store(claimed, now=now)
        self._machine.stores.append(store)
        return store

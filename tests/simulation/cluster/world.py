"""A world with two nodes of a cluster: all that goes on in one with a single daemon, and more.

What is added to the faults of ``tests/simulation``: the ways of each node to the database are
cut, slow and reset; the database is away; a node is cut off from the other node, too; the
cluster is moved; standbys die. Clocks of the nodes run at different rates, from another hour.
Not simulated: a process that is stopped (SIGSTOP), which one loop can't show; TLS; and the
statements in PostgreSQL. ``tests/cluster`` has these.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from actors.host import state_dir as host_state
from actors.journal.postgres import Seen
from protocol.config.places import StateDir
from protocol.config.settings import ClusterSettings, Secret
from protocol.routing.claim import FRESH_S
from protocol.wire.vocabulary import ROLES
from tests.kit.raw_proxy import Closed, RawProxy
from tests.simulation import plan as plans
from tests.simulation.cluster import plan as cluster_plans
from tests.simulation.cluster.node import Around, NodeMachine
from tests.simulation.cluster.server import Server, Way
from tests.simulation.machine import Machine, SimulatedCrash, Steps
from tests.simulation.network import End
from tests.simulation.peers import Map, Peer, Stage
from tests.simulation.run import MAY_GO_ON, NEVER_S, Run, leaves_of

NAMES: Final = ("a", "b")
DRIFT: Final = 0.01
SERVED_WITHIN_S: Final = 5.0
STARTS_AGAIN_S: Final = 0.5


class ClusterProxy(RawProxy):
    """A standby's refusal is the end of a connection."""

    async def expect(self, kind: str, *, within_s: float = 10) -> Map:
        with trio.fail_after(within_s):
            message = await self.receive()
        if message["t"] == "refused" and message["code"] == "standby":
            raise Closed
        assert message["t"] == kind, message
        return message


class ClusterPeer(Peer):
    """A session that believes only a holder that has committed a batch to answer."""

    def __init__(self, stage: Stage, name: str, end: End, state_dir: Path) -> None:
        super().__init__(stage, name, end, state_dir)
        self._proxy = ClusterProxy(end)

    def _take(self, message: Map, nursery: trio.Nursery) -> None:
        if message["t"] == "bye":
            self._stage.note("bye", session=self.name, at=message.get("at"))
        super()._take(message, nursery)

    async def status(self) -> Map | None:
        status = await super().status()
        if status is None or status["daemon"].get("hold") != "holding":
            return None
        return None if "error" in status["queue"] else status


class ClusterRun(Run):
    """One run of a plan over two nodes."""

    server: Server
    peer: type[ClusterPeer] = ClusterPeer
    may_go_on = MAY_GO_ON | {
        "actors.connection.actor._Connection._run_for_a_while",
        "actors.journal.given_up._Calls.__call__.<locals>.call",
        "actors.turns.typing_mark.clear_typing",
        "repair",
    }
    """After a claim by silence there are more connections for 10 minutes; a beat may be under
    way; and a claim may be so late, as the database was away, that marks in doubt are still
    looked for."""
    files_stay: Sequence[str] = ("tokens/*", "*/tokens/*", "*/daemon.json", "larkd.db-*")
    """The holder still runs, and its journal is open."""

    def __init__(self, plan: plans.Plan, steps: Steps, state_dir: Path) -> None:
        super().__init__(plan, steps, state_dir)
        self._roots = {name: StateDir(state_dir / name) for name in NAMES}
        self._ways = {name: Way() for name in NAMES}
        self._nodes: dict[str, NodeMachine] = {}
        drift = random.Random(f"drift {plan.seed}")
        self._rates = {name: 1 + drift.uniform(-DRIFT, DRIFT) for name in NAMES}
        self._ahead_s = {name: drift.choice((0.0, 3_600.0, 86_400.0)) for name in NAMES}
        self._off: set[str] = set()
        """Nodes that the other one does not reach."""
        self._tried: dict[str, int] = {}
        self._fault_at: float | None = None
        self._healing: list[trio.CancelScope] = []

    # ── what there is ───────────────────────────────────────────────────────

    def _prepare(self) -> None:
        super()._prepare()
        for root in self._roots.values():
            host_state.create(root)
        keys = {str(role): self._state.token(role).read_text().strip() for role in ROLES}
        self.server = Server(
            self._state.database, keys, random.Random(f"server {self.seed}"), self._claimed
        )

    def _settings_of(self, name: str) -> Any:
        cluster = ClusterSettings(
            name="sim",
            node=name,
            database=Secret("of the simulation"),
            advertise=(f"tls://{name}.example:7346",),
        )
        return msgspec.structs.replace(self._settings, cluster=cluster)

    def _agents(self) -> int:
        """Count one once, that a frozen holder still runs and its successor does already."""
        return len({*self.running_agents})

    async def _keep_running(self) -> None:
        self._down_s = 0.0
        async with trio.open_nursery() as nursery:
            for name in NAMES:
                nursery.start_soon(self._keep_node, name)

    async def _keep_node(self, name: str) -> None:
        await trio.sleep(0.1 * NAMES.index(name))
        while True:
            self.note("the node starts", node=name)
            machine = self._nodes[name] = NodeMachine(
                self, self._settings_of(name), self._roots[name], self._tokens, self._around(name)
            )
            async with trio.open_nursery() as nursery:
                nursery.start_soon(machine.run)
                await machine.ended.wait()
                nursery.cancel_scope.cancel()
            if not self._leaving:
                self._disturb(trio.current_time())
            self.note("the node has ended", node=name, status=machine.exit_status)
            self._judge_end(machine)
            if machine.fell_over is not None:
                leaves = leaves_of(machine.fell_over)
                if not all(isinstance(one, SimulatedCrash) for one in leaves):
                    names = sorted({f"{type(one).__name__}: {one}" for one in leaves})
                    self.broken.append(f"node {name} fell over: {'; '.join(names)}")
            down_s, self._down_s = self._down_s, 0.0 if self._down_s < NEVER_S else NEVER_S
            await trio.sleep(down_s + STARTS_AGAIN_S)

    def _around(self, name: str) -> Around:
        return Around(
            name=name,
            server=self.server,
            way=self._ways[name],
            rate=self._rates[name],
            ahead_s=self._ahead_s[name],
            began_call=self._began_call,
            connect=self._connect_nodes,
            serves=self._serves,
            died=self._died,
        )

    def _died(self, machine: Machine) -> None:
        if machine is self._machine and self._fault_at is None:
            self._fault_at = trio.current_time()

    def _connect_nodes(self, node: str, to: str) -> End:
        if {node, to} & self._off:
            raise OSError("no route to host")
        return self._nodes[to].connect()

    # ── what must hold at every step ────────────────────────────────────────

    def _claimed(self, before: Seen) -> None:
        """At the commit of a claim nobody else may be fresh."""
        self._disturb(trio.current_time())
        if before.node is None:
            return  # it was given back
        for name, machine in self._nodes.items():
            for store in machine.stores:
                standing = store.standing()
                silent_s = machine.now() - standing.confirmed_at
                over = machine.is_dead or store.is_over or standing.lost
                if not over and silent_s < FRESH_S:
                    self._break(f"the cluster was claimed while {name} was fresh")

    def _began_call(self, name: str, path: str) -> None:
        machine = self._nodes[name]
        claim = self.server.now
        own = machine.stores[-1].generation if machine.stores else 0
        if claim.term != own:
            since_s = trio.current_time() - self.server.claims[-1][0]
            self._break(f"{name} began {path} {since_s:.2f} s after {claim.node} had claimed")
        elif claim.node is None:
            self._break(f"{name} began {path} after it had given the cluster back")

    def _serves(self, machine: Machine) -> None:
        self._machine = machine
        self._serving.set()
        if self._fault_at is None:
            return
        took_s, self._fault_at = trio.current_time() - self._fault_at, None
        self.note("served again", seconds=round(took_s, 2))
        if took_s > SERVED_WITHIN_S and cluster_plans.is_alone(self.plan):
            self._break(f"the cluster was served {took_s:.1f} s after its holder was gone")

    # ── sessions ────────────────────────────────────────────────────────────

    def _attach(self, name: str, nursery: trio.Nursery) -> None:
        """Try the nodes in turn, as a proxy does."""
        number = self._tried[name] = self._tried.get(name, -1) + 1
        machine = self._nodes.get(NAMES[number % len(NAMES)])
        if machine is None:
            return
        try:
            end = machine.connect()
        except OSError:
            return
        peer = self.peer(self, name, end, self._state.root)
        self._peers[name] = peer
        nursery.start_soon(self._run_peer, peer)

    # ── faults ──────────────────────────────────────────────────────────────

    @property
    def _holder(self) -> NodeMachine:
        holder = self._machine
        assert isinstance(holder, NodeMachine)
        return holder

    def _named(self, which: str) -> NodeMachine:
        if which == "holder":
            return self._holder
        return next(one for name, one in self._nodes.items() if name != self._holder.name)

    async def _do(self, action: plans.Action) -> None:
        match action:
            case plans.Backlog():
                pass  # rows of before are SQLite's
            case cluster_plans.CutDatabase(which=which, seconds=seconds, off=off):
                await self._cut_database(self._named(which), seconds, off=off)
            case cluster_plans.SlowDatabase(which=which, delay_s=delay_s, seconds=seconds):
                way = self._named(which).around.way
                way.delay_s = delay_s
                await self._last(seconds)
                way.delay_s = 0.0
            case cluster_plans.ResetDatabase(which=which):
                way = self._named(which).around.way
                for one in tuple(self.server.connections):
                    if one.way is way:
                        one.close()
            case cluster_plans.DatabaseAway(seconds=seconds):
                self.watch.fault()
                self.server.stop()
                await self._last(seconds)
                self.server.start()
            case cluster_plans.Move():
                self.server.want(self._named("standby").name)
            case cluster_plans.StandbyDies(steps=steps):
                self.steps.after(steps, self._named("standby").die)
            case _:
                await super()._do(action)

    async def _cut_database(self, machine: NodeMachine, seconds: float, *, off: bool) -> None:
        self.watch.fault()
        if machine is self._machine and self._fault_at is None:
            self._fault_at = trio.current_time()
        machine.around.way.let_pass(False)
        if off:
            self._off.add(machine.name)
            machine.proxies_cut = True
        await self._last(seconds)
        machine.around.way.let_pass(True)
        self._off.discard(machine.name)
        machine.proxies_cut = False
        if self._machine is machine:
            self._fault_at = None  # it went on

    async def _last(self, seconds: float) -> None:
        """Let a fault last, until all is healed."""
        with trio.move_on_after(seconds) as scope:
            self._healing.append(scope)
            await trio.sleep_forever()

    async def _come_to_rest(self) -> tuple[Map, list[str]]:
        for scope in self._healing:
            scope.cancel()
        return await super()._come_to_rest()

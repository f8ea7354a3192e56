"""The world of one such turn: its session, the faults of each endpoint, and what was read when."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import trio

from tests.simulation import plan as plans
from tests.simulation.cards import promises
from tests.simulation.cards.plan import RECALLED, CardPlan
from tests.simulation.cards.turn import IDLE_S, Map, Turn, panels, write
from tests.simulation.clock import sleep
from tests.simulation.machine import Steps
from tests.simulation.network import End
from tests.simulation.peers import GONE, Peer
from tests.simulation.run import Run

READABLE_AFTER_S = 20.0
"""After the turn's end."""


class FullPeer(Peer):
    """A session that answers a full prompt by the script of the seed."""

    def __init__(self, run: CardRun, name: str, end: End, state_dir: Any) -> None:
        super().__init__(run, name, end, state_dir)
        self._run = run

    async def _handle(self, deliver: Map) -> None:
        if not str(deliver["content"]).startswith("full"):
            await super()._handle(deliver)
            return
        await self._ack(deliver["event_id"], deliver["attempt"], "once", self._run.chance)
        self._stage.settled(deliver["event_id"])
        with trio.CancelScope() as scope:
            self._turns[deliver["turn_id"]] = scope
            try:
                await self._show(deliver["turn_id"], str(deliver["content"]).splitlines()[0])
            except GONE:
                pass
            finally:
                del self._turns[deliver["turn_id"]]
        if scope.cancelled_caught:
            await self._send(t="turn_end", turn_id=deliver["turn_id"], status="aborted")

    async def _show(self, turn_id: str, prompt: str) -> None:
        turn = Turn(script=write(self._run.seed), prompt=prompt, turn_id=turn_id)
        self._run.turns.append(turn)
        turn.began_at = trio.current_time()
        script = turn.script
        for message in panels(script, turn_id):
            await self._send(**message)
            turn.panels_at = trio.current_time()
        for number, text in enumerate(script.paragraphs, 1):
            await self._send(t="delta", turn_id=turn_id, text=text)
            turn.sent.append((trio.current_time(), number))
            await sleep(script.every_s + (IDLE_S if number == len(script.paragraphs) // 2 else 0))
        turn.read_at_end = len(set(promises.numbers(await self._run.shown())))
        await self._send(t="turn_end", turn_id=turn_id, status="complete", text=script.tail)
        turn.ended_at = trio.current_time()
        turn.sent.append((turn.ended_at, script.words))
        self._run.platform.start_soon(self._run.look_later, turn)


class CardRun(Run):
    """One turn, and each endpoint's own faults."""

    def __init__(self, plan: CardPlan, steps: Steps, state_dir: Path) -> None:
        super().__init__(plan, steps, state_dir)
        self.card_plan = plan
        self.turns: list[Turn] = []
        self.died_at: float | None = None
        self.read_later: dict[str, int] = {}
        """Words that could be read a while after the end of a turn, by its id."""
        self._two_accounts = False
        self._faults: list[plans.BadHttp] = []
        self._left: dict[int, int] = {}
        self.met: set[int] = set()
        """Which of the faults, by their place in the plan, a call has met."""

    def make_peer(self, name: str, end: End) -> Peer:
        return FullPeer(self, name, end, self._state.root)

    def _spoil(self, action: plans.Action) -> None:
        match action:
            case plans.BadHttp():
                self._faults.append(action)
                self._left[len(self._faults) - 1] = action.calls
                return
            case plans.Die():
                self.died_at = trio.current_time()
        super()._spoil(action)

    def http_fault(self, path: str) -> plans.BadHttp | None:
        if self.calm:
            return None
        for number, fault in enumerate(self._faults):
            if self._left[number] and re.search(fault.part, path) and self._meets(fault, path):
                self._left[number] -= 1
                self.met.add(self.card_plan.faults.index(fault))
                self.note("http fault", kind=fault.kind, code=fault.code, path=path)
                self.watch.fault()
                return fault
        return None

    def _meets(self, fault: plans.BadHttp, path: str) -> bool:
        """Whether a call is about what *fault* is about: the prompt alone is recalled."""
        is_about_it = fault.code in RECALLED and path.endswith("/reply")
        return not is_about_it or self._sent[0]["message_id"] in path

    async def shown(self) -> list[promises.Part]:
        """What can be read in the chat at this moment, from top to bottom."""
        return promises.read(await self._get("state"))

    async def look_later(self, turn: Turn) -> None:
        await sleep(READABLE_AFTER_S)
        self.read_later[turn.turn_id] = len(set(promises.numbers(await self.shown())))

    async def _act(self) -> None:
        await super()._act()
        histories = {
            card["card_id"]: await self._get(f"cards/{card['card_id']}/history")
            for card in self._at_rest["cards"]
        }
        rest = promises.AtRest(
            plan=self.card_plan,
            turns=self.turns,
            state=self._at_rest,
            calls=await self._get("calls"),
            histories=histories,
            died_at=self.died_at,
            read_later=self.read_later,
            met={*self.met},
        )
        self.broken += promises.broken(rest)

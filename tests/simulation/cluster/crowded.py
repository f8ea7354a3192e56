"""Many turns at the fault: the holder dies while each of many sessions shows a card.

The platform enforces its limits, exactly. The successor finds the cards in the ledger and
has a minute's budget of which it must take it that the dead used all.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from actors.sandbox.platform import PlatformSettings
from tests.simulation.cluster.world import ClusterPeer, ClusterRun
from tests.simulation.machine import Steps
from tests.simulation.peers import Map
from tests.simulation.plan import Die, Plan, Write

STREAMS_S: Final = 40.0
PIECE_S: Final = 0.5
DIES_AT: Final = 20.0
NO_CARD_LIVES_S: Final = 10.0
"""After the fault."""


def make_crowded_plan(turns: int, seed: int = 1) -> Plan:
    """Let somebody write in each of so many chats within 5 s, and the holder die at 20 s."""
    writes = [
        Write(at=round(5.0 * number / turns, 3), chat=f"Person {number}", text="prompt")
        for number in range(turns)
    ]
    return Plan(seed=seed, actions=(*writes, Die(at=DIES_AT, steps=0, down_s=0.0)))


class Streaming(ClusterPeer):
    """A session whose turns stream for a long time."""

    async def _ack(self, event: str, attempt: int, _manner: str, chance: random.Random) -> None:
        await super()._ack(event, attempt, "once", chance)

    async def _take_turn(self, deliver: Map, head: str, _chance: random.Random) -> None:
        turn_id, text = deliver["turn_id"], head
        began = trio.current_time()
        await self._send(t="delta", turn_id=turn_id, text=head)
        while trio.current_time() < began + STREAMS_S:
            await trio.sleep(PIECE_S)
            await self._send(t="delta", turn_id=turn_id, text="on and on ")
            text += "on and on "
        await self._send(t="turn_end", turn_id=turn_id, status="complete")
        if await self.status() is not None and turn_id not in self._cancelled:
            self._stage.expected[turn_id] = (began, text.rstrip())


class CrowdedRun(ClusterRun):
    peer: type[ClusterPeer] = Streaming

    def __init__(self, plan: Plan, steps: Steps, state_dir: Path) -> None:
        super().__init__(plan, steps, state_dir)
        self._two_accounts = False
        self.died_at: float | None = None
        self.streaming_at_death = 0

    def platform_settings(self) -> PlatformSettings:
        return msgspec.structs.replace(super().platform_settings(), enforce_limits=True)

    async def _open_chats(self) -> dict[str, Map]:
        chats = await super()._open_chats()
        for action in self.plan.actions:
            if isinstance(action, Write):
                chats[action.chat] = await self._chat("p2p", action.chat)
        return chats

    def _gather(self) -> None:
        self._bind(
            [
                (chat["chat_id"], name.replace(" ", "").lower())
                for name, chat in self._chats.items()
                if name.startswith("Person")
            ]
        )

    async def _do(self, action: Any) -> None:
        if not isinstance(action, Die):
            await super()._do(action)
            return
        before = await self._refused()
        live = await self._live()
        self.streaming_at_death, self.died_at = len(live), trio.current_time()
        await super()._do(action)
        with trio.move_on_after(NO_CARD_LIVES_S):
            while live := live & await self._live():
                await trio.sleep(0.2)
        self.note("cards of the dead", left=len(live), of=self.streaming_at_death)
        if live:
            self._break(f"{len(live)} cards ran {NO_CARD_LIVES_S:g} s after their holder had died")
        await trio.sleep(STREAMS_S)
        for api, count in (await self._refused()).items():
            if count > before.get(api, 0):
                self._break(f"{api} was refused {count - before.get(api, 0)} times for the rate")

    async def _live(self) -> set[str]:
        cards = (await self._get("state"))["cards"]
        return {card["card_id"] for card in cards if card["streaming"]}

    async def _refused(self) -> dict[str, int]:
        """Return how many calls of each API were refused for the rate so far."""
        usage = (await self._get("limits"))["usage"]
        return {one["api"]: one["refused"] for one in usage}

"""What the ledger keeps of a turn beside its text, so that a repaired card shows it again."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from protocol.cards.panels import REASONING_BYTES_MAX
from protocol.cards.turn import ToolStep, Turn
from protocol.wire.messages import PlanEntry, Usage

DETAIL_CHARACTERS_MAX = 1_200
"""Of what one step gave, the latest: a card shows no more."""


class _Kept(Struct, frozen=True, omit_defaults=True):
    plan: tuple[PlanEntry, ...] = ()
    steps: tuple[ToolStep, ...] = ()
    steps_dropped: int = 0
    reasoning: str = ""
    usage: Usage | None = None


def keep(turn: Turn, *, tools: bool) -> bytes:
    """Return plan, tools, reasoning and usage as they are now; *tools* as the card shows them."""
    steps = tuple(_bounded(step) for step in turn.steps.values()) if tools else ()
    kept = _Kept(
        plan=turn.plan,
        steps=steps,
        steps_dropped=turn.steps_dropped if tools else 0,
        reasoning=turn.reasoning[-REASONING_BYTES_MAX:],
        usage=turn.usage,
    )
    return msgspec.json.encode(kept)


def _bounded(step: ToolStep) -> ToolStep:
    return msgspec.structs.replace(
        step,
        error=step.error[-DETAIL_CHARACTERS_MAX:],
        output=step.output[-DETAIL_CHARACTERS_MAX:] if step.kind == "execute" else "",
        change=step.change[:DETAIL_CHARACTERS_MAX],
    )


def restored(kept: bytes) -> Turn:
    """Return a running turn that shows what was kept; nothing where that can't be read."""
    turn = Turn(0.0)
    try:
        known = msgspec.json.decode(kept, type=_Kept) if kept else _Kept()
    except msgspec.DecodeError:
        return turn
    turn.plan, turn.usage = known.plan, known.usage
    turn.steps = {step.call_id: step for step in known.steps}
    turn.steps_dropped = known.steps_dropped
    turn.restore_reasoning(known.reasoning)
    return turn

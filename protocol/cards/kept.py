"""What the ledger keeps of a turn beside its card's text, so that a repair shows all of it."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from protocol.cards.panels import REASONING_BYTES_MAX
from protocol.cards.turn import ToolStep, Turn
from protocol.ids import MessageId
from protocol.strings import Text, on_card
from protocol.wire.messages import PlanEntry, Usage

DETAIL_CHARACTERS_MAX = 1_200
"""Of what one step gave, the latest: a card shows no more."""


class UnsentReply(Struct, frozen=True, omit_defaults=True):
    """A message that is to be sent as it is; the footer is no part of the answer."""

    text: Text
    footer: Text | None = None


class Rest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What of a turn stands on no card yet, and where it goes."""

    waiting: tuple[UnsentReply, ...] = ()
    """Messages; the first may be sent already, under the same number."""
    texts: tuple[str, ...] = ()
    """Of the answer, after those messages."""
    sent: int = 0
    """How many messages were sent before: their numbers make the uuids of the next ones."""
    ended: bool = False
    """Whether the turn was over, and these messages are all that was left of it."""
    sure: bool = True
    """Whether nothing of it stands on a card."""
    message_id: MessageId | None = None
    """The user's message; None: the chat."""
    topic: str | None = None
    nonce: str = ""
    """Of a turn of the session's own: in the uuids of its messages."""
    title: str = ""


class _KeptTurn(Struct, frozen=True, omit_defaults=True):
    plan: tuple[PlanEntry, ...] = ()
    steps: tuple[ToolStep, ...] = ()
    steps_dropped: int = 0
    reasoning: str = ""
    usage: Usage | None = None
    rest: Rest = Rest()


def keep(turn: Turn, rest: Rest, *, tools: bool) -> bytes:
    """Return plan, tools, reasoning and usage as they are now; *tools* as the card shows them."""
    steps = tuple(_bounded(step) for step in turn.steps.values()) if tools else ()
    kept = _KeptTurn(
        plan=turn.plan,
        steps=steps,
        steps_dropped=turn.steps_dropped if tools else 0,
        reasoning=turn.reasoning[-REASONING_BYTES_MAX:],
        usage=turn.usage,
        rest=rest,
    )
    return msgspec.json.encode(kept)


def _bounded(step: ToolStep) -> ToolStep:
    return msgspec.structs.replace(
        step,
        error=step.error[-DETAIL_CHARACTERS_MAX:],
        output=step.output[-DETAIL_CHARACTERS_MAX:] if step.kind == "execute" else "",
        change=step.change[:DETAIL_CHARACTERS_MAX],
    )


def restored(kept: bytes) -> tuple[Turn, Rest]:
    """Return a running turn that shows what was kept; nothing where that can't be read."""
    turn = Turn(0.0)
    try:
        known = msgspec.json.decode(kept, type=_KeptTurn) if kept else _KeptTurn()
    except msgspec.DecodeError:
        return turn, Rest()
    turn.plan, turn.usage = known.plan, known.usage
    turn.steps = {step.call_id: step for step in known.steps}
    turn.steps_dropped = known.steps_dropped
    turn.restore_reasoning(known.reasoning)
    return turn, known.rest


def turn_of(rest: Rest, seconds: float) -> Turn:
    """Return a turn, interrupted after so long, whose answer is what stands on no card."""
    turn = Turn(0.0)
    if rest.texts:
        turn.answer.sealed += rest.texts[:-1]
        turn.answer.feed(rest.texts[-1])
    turn.stop(seconds, on_card.INTERRUPTED)
    return turn

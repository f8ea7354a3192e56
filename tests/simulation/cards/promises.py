"""What must hold of one turn, whatever its calls met: each by a sentence of ``cards.md``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from msgspec import Struct

from protocol.cards.changes import element
from protocol.strings import on_card
from tests.simulation import plan as plans
from tests.simulation.cards.plan import (
    CLOSED,
    ENDPOINTS,
    GONE,
    MISSING_SCOPE,
    RATE,
    TEXT,
    TOO_LARGE,
    WAYS,
    CardPlan,
)
from tests.simulation.cards.turn import IN_CODE, PLAN, SECRET, TOOL, Map, Turn
from tests.simulation.http import SCOPE
from tests.simulation.machine import BEGINNING_MS

NUMBERED: Final = re.compile(r"\bw(\d+)\b")
NOTED_WITHIN_S: Final = 2.5
"""What was sent longer before a crash is shown again: noted every 2 s, and committed."""
ENDS_WITHIN_S: Final = 2.0
FRESH_S: Final = 4.0
CARD_TEXT_BYTES: Final = 18_000
"""A card that is sealed holds more; one sealed at 14 kB does not."""
ENOUGH_S: Final = 1.0
LANGUAGES: Final = "i18n_content"
"""The same text again, for readers of each language."""
NOT_TICKS: Final = re.compile(r'"element_id":\s*"(?!footer)')


class Part(Struct, frozen=True, kw_only=True):
    """One message of the bot, as it can be read."""

    text: str
    """Of a card the answer alone."""
    whole: str
    card_id: str | None
    is_live: bool
    sent_ms: int


class AtRest(Struct, frozen=True, kw_only=True):
    plan: CardPlan
    turns: list[Turn]
    state: Map
    calls: list[Map]
    histories: dict[str, list[Map]]
    died_at: float | None
    read_later: dict[str, int]
    met: set[int]

    @property
    def faults(self) -> list[plans.BadHttp]:
        """Those that a call has met."""
        return [self.plan.faults[number] for number in sorted(self.met)]

    def meets_only(self, *endpoints: str, codes: Sequence[int] | None = None) -> bool:
        """Whether all that was met is of these endpoints, and of these codes."""
        parts = {ENDPOINTS[name] for name in endpoints}
        return all(
            fault.part in parts
            and (codes is None or (fault.kind == "code" and fault.code in codes))
            for fault in self.faults
        )


def read(state: Map) -> list[Part]:
    """Return what the bot shows in the chat, from top to bottom."""
    cards = {card["card_id"]: card for card in state["cards"]}
    parts = []
    for message in state["messages"]:
        if message["sender"]["type"] != "app" or message["recalled"]:
            continue
        card = cards.get(message["card_id"])
        if card is None:
            content = json.loads(message["content"])
            text = "\n".join(_strings(content, without=LANGUAGES))
        else:
            content = card["card"]
            found = element(content["body"]["elements"], "answer")
            text = "" if found is None else str(found.get("content", ""))
        parts.append(
            Part(
                text=text,
                whole="\n".join(_strings(content)),
                card_id=message["card_id"],
                is_live=card is not None and card["streaming"],
                sent_ms=message["create_time"],
            )
        )
    return parts


def _strings(value: Any, *, without: str = "") -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for key, one in value.items():
                if key != without:
                    yield from _strings(one, without=without)
        case list():
            for one in value:
                yield from _strings(one, without=without)


def numbers(parts: Sequence[Part]) -> list[int]:
    return [int(number) for part in parts for number in NUMBERED.findall(part.text)]


def broken(rest: AtRest) -> list[str]:
    """Name every promise that was broken; none is an empty list."""
    if len(rest.turns) != 1:
        return [f"{len(rest.turns)} turns were shown"]
    turn, parts = rest.turns[0], read(rest.state)
    return [
        *_whole(rest, turn, parts),
        *_once(parts),
        *_after_a_crash(rest, turn, parts),
        *_reasoning(turn, parts),
        *_ends(rest, turn, parts),
        *_fresh(rest, turn),
        *_ticks(rest, turn),
        *_cards(rest, turn, parts),
        *_scope(rest, parts),
        *_static(rest, turn, parts),
    ]


def _whole(rest: AtRest, turn: Turn, parts: Sequence[Part]) -> Iterator[str]:
    """All text of a turn that ended by itself can be read, in order; of another its beginning."""
    found = sorted(set(numbers(parts)))
    if found != list(range(len(found))):
        missing = sorted(set(range(turn.script.words)) - set(found))
        yield f"words are missing in the middle: {missing[:5]} of {turn.script.words}"
    elif rest.plan.end == "complete" and len(found) != turn.script.words:
        yield f"{len(found)} of {turn.script.words} words can be read"
    if any(part.is_live for part in parts):
        yield "a card is left live"


def _once(parts: Sequence[Part]) -> Iterator[str]:
    """No word is read twice, but below the note that it may be."""
    last = -1
    for part in parts:
        found = [int(number) for number in NUMBERED.findall(part.text)]
        is_noted = any(
            text in part.whole for text in (on_card.MAY_REPEAT.en, on_card.MAY_REPEAT.zh)
        )
        for number in found:
            if number <= last and not is_noted:
                yield f"w{number} is read again after w{last}"
                return
            is_noted, last = False, number


def _after_a_crash(rest: AtRest, turn: Turn, parts: Sequence[Part]) -> Iterator[str]:
    """What was noted 2 s before is there again, with its panels."""
    if rest.died_at is None or (turn.ended_at is not None and turn.ended_at < rest.died_at):
        return
    noted = turn.sent_by(rest.died_at - NOTED_WITHIN_S)
    if len(set(numbers(parts))) < noted:
        yield f"{len(set(numbers(parts)))} words after a crash, {noted} were noted"
    if turn.panels_at is None or rest.died_at - turn.panels_at < NOTED_WITHIN_S:
        return
    if rest.meets_only(*TEXT, codes=RATE):
        shown = "".join(part.whole for part in parts if part.card_id is not None)
        wanted = [PLAN, TOOL] if turn.script.has_panels else []
        wanted += [SECRET] if turn.script.reasoning == "channel" else []
        for mark in wanted:
            if mark not in shown:
                yield f"after a crash no card shows its {mark}"


def _reasoning(turn: Turn, parts: Sequence[Part]) -> Iterator[str]:
    """Reasoning is no part of the answer, and what is code is no reasoning."""
    text = "".join(part.text for part in parts)
    if SECRET in text:
        yield "reasoning is shown as the answer"
    codes = [number for number in set(numbers(parts)) if number % 8 in {3, 5, 6}]
    codes = [number for number in codes if number < turn.script.words - 1]
    if text.count(IN_CODE) < len(codes):
        yield f"{len(codes)} tags are code, {text.count(IN_CODE)} are shown"


def _ends(rest: AtRest, turn: Turn, parts: Sequence[Part]) -> Iterator[str]:
    """What text meets holds up no end."""
    lost = {*GONE, MISSING_SCOPE, *TOO_LARGE, *CLOSED, 500}
    if turn.ended_at is None or rest.died_at is not None or not rest.meets_only(*TEXT):
        return
    if any(fault.kind == "code" and fault.code in lost for fault in rest.faults):
        return
    last = next((part for part in reversed(parts) if part.card_id is not None), None)
    if last is None:
        return
    history = rest.histories[last.card_id or ""]
    # One that was sent after the end has none of it.
    ended = [one["at_ms"] for one in history if not one["streaming"]] or [last.sent_ms]
    took_s = (ended[0] - BEGINNING_MS) / 1000 - turn.ended_at
    if took_s > ENDS_WITHIN_S:
        yield f"the end was shown {took_s:.1f} s after the turn's"


def _fresh(rest: AtRest, turn: Turn) -> Iterator[str]:
    """Text goes on by another endpoint, or as messages; soon all is there."""
    if turn.ended_at is None or rest.died_at is not None:
        return
    one_endpoint = len({fault.part for fault in rest.faults}) <= 1
    of_text = rest.meets_only(*TEXT) and all(map(_leaves_others, rest.faults))
    once = all(fault.calls == 1 and fault.kind in WAYS for fault in rest.faults)
    if one_endpoint and (of_text or once):
        sent = turn.sent_by(turn.ended_at - FRESH_S)
        if turn.read_at_end < sent:
            yield f"{turn.read_at_end} words at the turn's end, {sent} older than {FRESH_S:g} s"
        read_later = rest.read_later.get(turn.turn_id, 0)
        if read_later < turn.script.words:
            yield f"{read_later} of {turn.script.words} words a while after the end"


def _leaves_others(fault: plans.BadHttp) -> bool:
    """Whether text can go on by another endpoint, or as messages, at once."""
    if fault.kind == "code":
        return fault.code in {99991400, *GONE, MISSING_SCOPE}
    return fault.kind in WAYS


def _ticks(rest: AtRest, turn: Turn) -> Iterator[str]:
    """The footer alone goes once a second, and only while no text goes."""
    if turn.ended_at is None or not rest.meets_only("create", "send", "whole card", "settings"):
        return
    ticks = [call for call in rest.calls if _is_tick(call)]
    took_s = turn.ended_at - turn.began_at
    idle_s = took_s - len(turn.script.paragraphs) * turn.script.every_s
    if len(ticks) > idle_s + ENOUGH_S + 1:
        yield f"{len(ticks)} ticks in {idle_s:.1f} s without text"


def _is_tick(call: Map) -> bool:
    request = call["request"] or {}
    if call["template"].endswith("/batch_update"):
        return '"footer' in request["actions"] and not NOT_TICKS.search(request["actions"])
    return "/elements/footer" in call["path"]


def _cards(rest: AtRest, turn: Turn, parts: Sequence[Part]) -> Iterator[str]:
    """A card is sealed when it is full, not before."""
    if any(fault.kind == "code" and fault.code in TOO_LARGE for fault in rest.faults):
        return
    cards = {part.card_id for part in parts if part.card_id is not None}
    most = 1 + len(turn.script.text.encode()) // CARD_TEXT_BYTES
    if len(cards) > most:
        yield f"{len(cards)} cards for {len(turn.script.text.encode())} bytes"


def _scope(rest: AtRest, parts: Sequence[Part]) -> Iterator[str]:
    """A scope that is missing is asked for in the chat."""
    asked = any(SCOPE in part.whole for part in parts)
    lost = any(
        fault.code == MISSING_SCOPE and fault.part != ENDPOINTS["settings"] for fault in rest.faults
    )
    if lost and not asked and rest.died_at is None:
        yield "a missing scope was asked for nowhere"


def _static(rest: AtRest, turn: Turn, parts: Sequence[Part]) -> Iterator[str]:
    """The end of a turn without a card is marked."""
    if rest.plan.end != "complete" or any(part.card_id is not None for part in parts):
        return
    marked = (on_card.FOOTER_COMPLETE.en.split(" ")[0], on_card.FOOTER_COMPLETE.zh.split(" ")[0])
    if not any(mark in parts[-1].whole for mark in marked if parts):
        yield "the end of plain replies is not marked"

"""From what a card shows to what it should show: one call at a time, the smallest.

Nothing where they are equal; the text of one element where only text differs, so that
the platform's typewriter runs on; the whole card where structure does. The machine
also holds the card's sequence, which rises over every call, and whether streaming is
open: it closes ten minutes after it was opened, and is opened again before that.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, Literal

from msgspec import Struct

from protocol.cards.card import ANSWER, FOOTER, View
from protocol.platform.outcomes import (
    Busy,
    Gone,
    NoAnswer,
    Outcome,
    RateLimited,
    Rejected,
    SequenceRefused,
    StreamingClosed,
    TokenRefused,
    TooLarge,
)

REOPEN_AFTER_S: Final = 540.0
SEQUENCE_JUMP: Final = 1_000
"""Past whatever a call that got lost may have used."""
REPAIR_SEQUENCE_BASE: Final = 1_000_000
BACKOFF_FIRST_S: Final = 0.25
BACKOFF_MAX_S: Final = 10.0
REFUSALS_MAX: Final = 5
"""Calls in a row, for reasons no code names; then only the card's end is tried."""

STREAMING_ON: Final = '{"config":{"streaming_mode":true}}'


class Kind(Enum):
    """What a call changes; in the order of what it costs to wait."""

    FINAL = auto()
    STRUCTURE = auto()
    TEXT = auto()
    TICK = auto()
    REOPEN = auto()


class Step(Struct, frozen=True, kw_only=True):
    """The next call on the card."""

    kind: Kind
    call: Literal["update", "content", "settings"]
    sequence: int
    element_id: str = ""
    content: str = ""
    """The card's JSON, the element's text, or the settings."""
    view: View


class Wait(Struct, frozen=True, kw_only=True):
    """Try again after so many seconds, with the plan of then."""

    seconds: float


class Lost(Struct, frozen=True, kw_only=True):
    """This card will not change any more; what it does not show has to go elsewhere."""

    reason: str


class Shrink(Struct, frozen=True, kw_only=True):
    """The platform takes no card of this size: put less of the text on it."""

    reason: str


Verdict = Wait | Shrink | Lost


class CardPlan:
    """The plan of one card entity that was created showing *shown*."""

    def __init__(self, shown: View, opened_at: float, sequence: int = 0) -> None:
        self._shown: View | None = shown
        self._opened_at = opened_at
        self._sequence = sequence
        self._typing = not shown.final
        self._reopen = False
        self._reopened_for = 0
        self._failures = 0
        self._refusals = 0
        self._end_only = False

    @property
    def settled(self) -> bool:
        """Whether the card shows a final view."""
        return self._shown is not None and self._shown.final

    @property
    def shown_answer(self) -> str:
        return self._shown.answer if self._shown is not None else ""

    def next(self, wanted: View, now: float) -> Step | None:
        """Return the call that brings the card closest to *wanted*; None: it is there."""
        shown = self._shown
        if self._end_only and not wanted.final:
            return None
        if shown is None or shown.structure != wanted.structure or wanted.final:
            if shown is not None and wanted.final and shown.card_json == wanted.card_json:
                return None
            kind = Kind.FINAL if wanted.final else Kind.STRUCTURE
            return self._step(kind, "update", wanted, content=wanted.card_json)
        if self._typing and (self._reopen or now - self._opened_at >= REOPEN_AFTER_S):
            return self._step(Kind.REOPEN, "settings", wanted, content=STREAMING_ON)
        if shown.answer != wanted.answer:
            # What is no longer the same text longer, a picture has come, is no typing.
            goes_on = wanted.answer.startswith(shown.answer)
            if not self._typing or not wanted.answer or not goes_on:
                return self._step(Kind.TEXT, "update", wanted, content=wanted.card_json)
            return self._step(Kind.TEXT, "content", wanted, ANSWER, wanted.answer)
        if shown.footer != wanted.footer:
            if not self._typing:
                return None  # a tick is not worth a whole card
            return self._step(Kind.TICK, "content", wanted, FOOTER, wanted.footer)
        return None

    def _step(
        self,
        kind: Kind,
        call: Literal["update", "content", "settings"],
        view: View,
        element_id: str = "",
        content: str = "",
    ) -> Step:
        return Step(
            kind=kind,
            call=call,
            sequence=self._sequence + 1,
            element_id=element_id,
            content=content,
            view=view,
        )

    def accepted(self, step: Step, now: float) -> None:
        """The platform did it."""
        self._sequence = step.sequence
        self._failures = self._refusals = 0
        shown = self._shown
        match step.kind:
            case Kind.REOPEN:
                self._opened_at, self._reopen = now, False
            case Kind.TICK if shown is not None:
                self._shown = _with(shown, footer=step.view.footer)
            case Kind.TEXT if step.call == "content" and shown is not None:
                self._shown = _with(shown, answer=step.view.answer)
                self._reopened_for = 0
            case _:
                self._shown = step.view

    def failed(self, step: Step, outcome: Outcome) -> Verdict:
        """The platform did not do it, or may have: return what to do about it."""
        match outcome:
            case RateLimited(retry_after_s=seconds):
                return Wait(seconds=seconds)
            case Busy():
                return self._back_off()
            case StreamingClosed():
                self._sequence = step.sequence
                if self._reopened_for:
                    self._typing = False  # it closed again at once: whole cards from here on
                else:
                    self._reopen, self._reopened_for = True, 1
                return Wait(seconds=0)
            case SequenceRefused():
                self._sequence = max(self._sequence, step.sequence) + SEQUENCE_JUMP
                self._shown_is_unknown(step)
                return self._back_off()
            case Gone():
                return Lost(reason=outcome.message)
            case NoAnswer() | TokenRefused():
                # It may have been applied, under this sequence.
                self._sequence = step.sequence
                self._shown_is_unknown(step)
                return self._back_off()
            case TooLarge():
                return Shrink(reason=f"too large: {outcome.message}")
            case Rejected():
                return self._refused(step)
        return self._back_off()

    def _refused(self, step: Step) -> Verdict:
        self._refusals += 1
        if step.kind is Kind.REOPEN:
            self._typing, self._reopen = False, False
            return Wait(seconds=0)
        if self._refusals >= REFUSALS_MAX:
            self._end_only = True
        return self._back_off()

    def _shown_is_unknown(self, step: Step) -> None:
        """A whole card may or may not be there now; texts are simply sent again."""
        if step.call == "update":
            self._shown = None

    def _back_off(self) -> Wait:
        self._failures += 1
        return Wait(seconds=min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(self._failures - 1, 10)))


def _with(view: View, *, answer: str | None = None, footer: str | None = None) -> View:
    return View(
        card_json="",
        structure=view.structure,
        answer=view.answer if answer is None else answer,
        footer=view.footer if footer is None else footer,
        final=view.final,
    )


def repair_sequence(opened_at_ms: int, now_ms: int) -> int:
    """A sequence above any that a card's lost owner may have used.

    Its calls followed one another, a millisecond apart at least, so it made no more of
    them than milliseconds have passed; the base covers a clock that was set back.
    """
    return REPAIR_SEQUENCE_BASE + max(0, now_ms - opened_at_ms)

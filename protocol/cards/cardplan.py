"""From what a card shows to what it should show: one call at a time, the smallest.

Nothing where they are equal. Text that only grew goes to its element, so that the
platform's typewriter runs on; changes of several elements in one batch; the whole card
where elements come or go, and at the end. Each step names the calls that can carry it,
the best first, since each endpoint has a budget of its own.

The machine also holds the card's sequence, which rises over every call that was begun,
and whether streaming is open: it closes ten minutes after it was opened, and is opened
again before that.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, Literal

import msgspec
from msgspec import Struct

from protocol.cards.card import ANSWER, FOOTER, View
from protocol.cards.changes import Change, batch, changes, element, with_properties
from protocol.platform.outcomes import (
    Busy,
    Gone,
    MissingScope,
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
BAND: Final = 2**24
"""Sequences of one term. A repair is a band higher, so that what an earlier owner of the
card still has on the way is refused (``scale.md``)."""
BANDS_MAX: Final = 127
"""The last band whose sequences the platform takes: they are below 2**31."""
CRASHED_FROM: Final = 2**23
"""Where a repair in the term of the card itself begins: above what its actor has used."""
API_LIMIT_CODE: Final = 99991400
"""Counts one endpoint of the app; the other rate limits count the card."""
ANSWER_FIRST_S: Final = 2.5
"""So long a call may take before the text goes by another one, or by a copy with a higher
sequence: the platform refuses the late one. Longer where the card's last answer took long."""
ANSWER_MAX_S: Final = 10.0
ANSWER_TIMES: Final = 3.0
UNANSWERED_RESTS_TIMES: Final = 4.0
"""A call that got no answer is not made again for so many times as long as it was waited for,
while there is another one."""
BACKOFF_FIRST_S: Final = 0.25
BACKOFF_MAX_S: Final = 10.0
REFUSALS_MAX: Final = 5
"""Calls in a row, for reasons no code names; then only the card's end is tried."""
_TICKS: Final = ((60.0, 1.0), (600.0, 5.0))
_TICK_LATER_S: Final = 15.0

STREAMING_ON: Final = '{"config":{"streaming_mode":true}}'


class Kind(Enum):
    """What a call changes; in the order of what it costs to wait."""

    FINAL = auto()
    STRUCTURE = auto()
    TEXT = auto()
    TICK = auto()
    REOPEN = auto()


CallName = Literal["update", "content", "batch", "patch", "settings"]


class Step(Struct, frozen=True, kw_only=True):
    """The next call on the card."""

    kind: Kind
    calls: tuple[CallName, ...]
    """Which calls can make it, the best first."""
    call: CallName
    sequence: int
    element_id: str = ""
    content: str = ""
    """The card's JSON, the element's text or properties, the actions, or the settings."""
    view: View
    """What the card shows when it is done."""


class Wait(Struct, frozen=True, kw_only=True):
    """Try again after so many seconds, with the plan of then."""

    seconds: float


class Lost(Struct, frozen=True, kw_only=True):
    """This card takes no changes any more; what it does not show has to go elsewhere."""

    reason: str
    gone: bool = True
    """No later call can change it either."""
    missing: MissingScope | None = None


class Shrink(Struct, frozen=True, kw_only=True):
    """The platform takes no card of this size: put less on it."""

    reason: str


Verdict = Wait | Shrink | Lost


class CardPlan:
    """The plan of one card entity that was created showing *shown*."""

    def __init__(self, shown: View, opened_at: float) -> None:
        self._shown: View | None = shown
        self._read = shown.answer
        self._doubt = False  # another text than this may be there
        self._begun: Step | None = None
        self._opened_at = opened_at
        self._footer_at = opened_at
        self._text_at = opened_at
        self._sequence = 0
        self._typing = not shown.final
        self._reopen = False
        self._reopened_for = 0
        self._failures = 0
        self._refusals = 0
        self._end_only = False
        self._resting: dict[CallName, float] = {}
        self._hung: dict[CallName, int] = {}  # answers that did not come in time, in a row
        self._begun_at = opened_at
        self._took_s = 0.0  # the last answer

    @property
    def read(self) -> tuple[str, bool]:
        """The answer that people can surely read on the card; and whether that is all of it."""
        if self._begun is None:
            return self._read, not self._doubt
        read, changed = self._with(self._begun)
        return read, not (self._doubt or changed)

    def tick_due_at(self, every_s: float) -> float:
        """Return when a tick alone is due: not while text goes, which takes it along."""
        return max(self._footer_at, self._text_at) + every_s

    def takes_footer(self, now: float, every_s: float) -> bool:
        """Whether the next call may change the footer too."""
        return now >= self._footer_at + every_s

    def next(
        self, wanted: View, now: float, *, tick_s: float = 1.0, via: CallName | None = None
    ) -> Step | None:
        """Return the call that brings the card closest to *wanted*; None: it is there.

        The footer is no reason for a call before *tick_s* have passed since its last one.
        With *via* the step goes by that call if it can.
        """
        if self._begun is not None:
            self._in_doubt(self._begun)  # it was cut off: nobody knows what came of it
        shown = self._shown
        if self._end_only and not wanted.final:
            return None
        if wanted.final:
            if shown is not None and shown == wanted:
                return None
            return self._whole(Kind.FINAL, wanted)
        if shown is None or shown.card["config"] != wanted.card["config"]:
            return self._whole(Kind.STRUCTURE, wanted)
        if self._reopens(now):
            return self._step(Kind.REOPEN, ("settings",), None, shown, content=STREAMING_ON)
        if not self.takes_footer(now, tick_s):
            wanted = _with_footer_of(shown, wanted)
        found = changes(shown.elements, wanted.elements)
        if found is None:
            return self._whole(Kind.STRUCTURE, wanted)
        if now < self.tick_due_at(tick_s) and all(one.element_id == FOOTER for one in found):
            return None
        return self._small(found, shown, wanted, now, via) if found else None

    def _reopens(self, now: float) -> bool:
        is_due = self._reopen or now - self._opened_at >= REOPEN_AFTER_S
        return self._typing and is_due and self._is_awake("settings", now)

    def _is_awake(self, call: CallName, now: float) -> bool:
        return self._resting.get(call, 0.0) <= now

    def _has_another(self, step: Step, now: float) -> bool:
        """Whether the same can go by a call that does not rest."""
        return any(self._is_awake(call, now) for call in step.calls if call != step.call)

    def _whole(self, kind: Kind, wanted: View) -> Step:
        return self._step(kind, ("update",), None, wanted, content=wanted.card_json)

    def _small(
        self, found: list[Change], shown: View, wanted: View, now: float, via: CallName | None
    ) -> Step:
        ids = {change.element_id for change in found}
        kind, calls = self._ways(ids, shown, wanted)
        awake = tuple(call for call in calls if self._is_awake(call, now))
        calls = awake or calls
        call = via if via in calls else calls[0]
        if call == "update":
            return self._step(kind, calls, call, wanted, content=wanted.card_json)
        if call == "batch":
            return self._step(kind, calls, call, wanted, content=batch(found))
        element_id = ANSWER if ANSWER in ids else FOOTER
        properties = next(one.properties for one in found if one.element_id == element_id)
        view = shown.with_elements(with_properties(shown.elements, element_id, properties))
        content = wanted.answer if call == "content" else msgspec.json.encode(properties).decode()
        return self._step(kind, calls, call, view, element_id=element_id, content=content)

    def _ways(self, ids: set[str], shown: View, wanted: View) -> tuple[Kind, tuple[CallName, ...]]:
        """Return what kind of change it is, and the calls that can carry it."""
        if ids == {FOOTER}:
            return Kind.TICK, ("batch", "patch")
        if not ids <= {ANSWER, FOOTER}:
            return Kind.STRUCTURE, ("batch", "update")
        # What is no longer the same text longer, a picture has come, is no typing.
        types = self._typing and bool(wanted.answer) and wanted.answer.startswith(shown.answer)
        typed: tuple[CallName, ...] = ("content",) if types else ()
        if FOOTER in ids:
            return Kind.TEXT, ("batch", *typed, "patch", "update")
        return Kind.TEXT, (*typed, "batch", "patch", "update")

    def _step(
        self,
        kind: Kind,
        calls: tuple[CallName, ...],
        call: CallName | None,
        view: View,
        *,
        element_id: str = "",
        content: str = "",
    ) -> Step:
        return Step(
            kind=kind,
            calls=calls,
            call=call or calls[0],
            sequence=min(self._sequence + 1, BAND - 1),
            element_id=element_id,
            content=content,
            view=view,
        )

    def answer_within_s(self, step: Step, now: float) -> float:
        """Return how long to wait for the answer to *step*: shortly, where another call will do.

        A single one that hangs holds up neither text nor an end; where all do, they get longer.
        """
        tries = 0 if self._has_another(step, now) else min(self._hung.get(step.call, 0), 2)
        return min(ANSWER_MAX_S, max(ANSWER_FIRST_S * (1 << tries), ANSWER_TIMES * self._took_s))

    def begin(self, step: Step, now: float) -> None:
        """The call leaves now: whatever comes of it, its sequence is used."""
        self._begun = step
        self._begun_at = now
        self._sequence = step.sequence
        if self._shown is None or step.view.footer != self._shown.footer:
            self._footer_at = now
        if step.kind is Kind.TEXT:
            self._text_at = now

    def accepted(self, step: Step, now: float) -> None:
        """The platform did it."""
        self._begun = None
        self._failures = self._refusals = 0
        self._hung.pop(step.call, None)
        self._took_s = now - self._begun_at
        if step.kind is Kind.REOPEN:
            self._opened_at, self._reopen = now, False
            return
        if step.call == "content":
            self._reopened_for = 0
        # A tick leaves in doubt what became of the text before it.
        if step.call == "update" or self._shown is None or step.view.answer != self._shown.answer:
            self._read, self._doubt = step.view.answer, False
        self._shown = step.view

    def failed(self, step: Step, outcome: Outcome, now: float) -> Verdict:
        """The platform did not do it, or may have: return what to do about it."""
        self._begun = None
        match outcome:
            case RateLimited():
                return self._limited(step, outcome, now)
            case Busy():
                return self._back_off()
            case StreamingClosed():
                if self._reopened_for:
                    self._typing = False  # it closed again at once: without the typewriter then
                else:
                    self._reopen, self._reopened_for = True, 1
                return Wait(seconds=0)
            case SequenceRefused():
                self._sequence = max(self._sequence, step.sequence) + SEQUENCE_JUMP
                self._in_doubt(step)
                return self._back_off()
            case MissingScope():
                return Lost(reason=outcome.message, gone=False, missing=outcome)
            case Gone():
                return Lost(reason=outcome.message)
            case NoAnswer():
                return self._unanswered(step, now)
            case TokenRefused():
                self._in_doubt(step)
                return self._back_off()
            case TooLarge():
                return Shrink(reason=f"too large: {outcome.message}")
            case Rejected():
                return self._refused(step)
        return self._back_off()

    def _limited(self, step: Step, outcome: RateLimited, now: float) -> Wait:
        """Wait as the platform asks; not, where the text can go by another endpoint."""
        seconds = outcome.retry_after_s
        if outcome.code != API_LIMIT_CODE:
            return Wait(seconds=seconds)
        self._resting[step.call] = now + seconds
        return Wait(seconds=0 if self._has_another(step, now) else seconds)

    def _unanswered(self, step: Step, now: float) -> Wait:
        """Send it again: at once, where another call will do; that one may fail alone."""
        self._in_doubt(step)
        waited_s = now - self._begun_at
        hung = waited_s >= ANSWER_FIRST_S
        has_another = self._has_another(step, now)
        if hung:
            self._hung[step.call] = self._hung.get(step.call, 0) + 1
        if hung or has_another:
            rests_s = UNANSWERED_RESTS_TIMES * max(waited_s, BACKOFF_FIRST_S)
            self._resting[step.call] = now + rests_s
        return Wait(seconds=0) if has_another else self._back_off()

    def _refused(self, step: Step) -> Verdict:
        self._refusals += 1
        if step.kind is Kind.REOPEN:
            self._typing, self._reopen = False, False
            return Wait(seconds=0)
        if self._refusals >= REFUSALS_MAX:
            self._end_only = True
        return self._back_off()

    def _in_doubt(self, step: Step) -> None:
        """It may have been done: a whole card is sent again, texts are in any case."""
        self._begun = None
        self._read, changed = self._with(step)
        self._doubt = self._doubt or changed
        if step.call == "update":
            self._shown = None

    def _with(self, step: Step) -> tuple[str, bool]:
        """Return what can be read whether *step* was done or not; and if that makes a difference.

        A card that ends with less text than it has shown may have lost the rest of it.
        """
        answer = step.view.answer
        return _common(self._read, answer), answer != self._read

    def _back_off(self) -> Wait:
        self._failures += 1
        return Wait(seconds=min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(self._failures - 1, 10)))


def tick_every_s(elapsed_s: float) -> float:
    """Return how often the footer of a turn changes that runs for so long."""
    return next((every for until, every in _TICKS if elapsed_s < until), _TICK_LATER_S)


def _common(one: str, other: str) -> str:
    """Return what both texts begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    at = next((at for at, (left, right) in pairs if left != right), min(len(one), len(other)))
    return one[:at]


def _with_footer_of(shown: View, wanted: View) -> View:
    footer = element(shown.elements, FOOTER)
    if footer is None:
        return wanted
    return wanted.with_elements(with_properties(wanted.elements, FOOTER, footer))


def repair_sequence(opened_in: int | None, term: int) -> int | None:
    """Return the first sequence for a repair in *term*; None: the platform takes none.

    *opened_in* is the term the card was opened in; None for a card from before terms.
    """
    if opened_in is None or opened_in > term:
        return BANDS_MAX * BAND + 1
    bands = term - opened_in
    if bands > BANDS_MAX:
        return None
    return bands * BAND + (1 if bands else CRASHED_FROM)

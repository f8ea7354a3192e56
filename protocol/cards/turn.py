"""What a turn has produced: answer, reasoning, tool steps, plan, usage, and its end.

``thinking`` → ``streaming`` at the first answer text → ``complete``, ``aborted`` or
``error``; the first final state wins. Times are seconds of one clock, given by the
caller.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

from protocol.cards.answer import AnswerText
from protocol.cards.diffs import unified
from protocol.cards.reasoning import ReasoningSplitter
from protocol.strings import Text, on_card
from protocol.wire.messages import Delta, Plan, PlanEntry, ToolEvent, TurnEnd, TurnMessage, Usage
from protocol.wire.steps import SUMMARY_CHARACTERS_MAX, one_line, summarise

STEPS_MAX: Final = 50
"""Tool steps kept, the latest; earlier ones are counted."""
REASONING_CHARACTERS_MAX: Final = 20_000
"""Reasoning kept, the latest; a card shows less."""
ANSWER_CHARACTERS_MAX: Final = 2_000_000
"""Of one answer: some 80 cards. What an agent writes beyond is left out, and the end shows it."""
NAME_CHARACTERS_MAX: Final = 60
REJECTED: Final = "rejected"
"""The error of a step that was not allowed: shown in words of our own."""
DETAIL_CHARACTERS_MAX: Final = 4_000
"""Kept of what a step gave, the latest; a card shows less."""


class TurnState(StrEnum):
    THINKING = "thinking"
    STREAMING = "streaming"
    COMPLETE = "complete"
    ABORTED = "aborted"
    ERROR = "error"

    @property
    def final(self) -> bool:
        return self in (TurnState.COMPLETE, TurnState.ABORTED, TurnState.ERROR)


class ToolStep(Struct, kw_only=True):
    """One tool call."""

    call_id: str
    name: str
    kind: str = "other"
    status: str = "running"
    summary: str = ""
    parent_id: str | None = None
    started_at: float = 0.0
    duration_ms: int | None = None
    error: str = ""
    """Why it failed."""
    output: str = ""
    """What it gave, the end of it."""
    change: str = ""
    """What it changes: path and ``+``/``-`` lines."""
    rejected: bool = False
    """Somebody did not allow it; the agent may add an error of its own."""


class Turn:
    """The turn so far."""

    def __init__(self, started_at: float) -> None:
        self.started_at = started_at
        self.ended_at: float | None = None
        self.state = TurnState.THINKING
        self.answer = AnswerText()
        self.steps: dict[str, ToolStep] = {}
        self.steps_dropped = 0
        self.plan: tuple[PlanEntry, ...] = ()
        self.usage: Usage | None = None
        self.error: Text | None = None
        """The agent's words, or the daemon's own in both languages."""
        self.note: Text | None = None
        self.changed_at = started_at
        self.revision = 0
        """Counts changes of all but the answer: where it is the same, only that has grown."""
        self._questions_open = 0
        self._reasoning: list[str] = []
        self._reasoning_size = 0
        self._splitter = ReasoningSplitter()
        self._answer_left = ANSWER_CHARACTERS_MAX

    @property
    def reasoning(self) -> str:
        return "".join(self._reasoning)

    @property
    def written(self) -> int:
        """How many characters the answer has so far."""
        return ANSWER_CHARACTERS_MAX - self._answer_left

    def elapsed_s(self, now: float) -> float:
        return (self.ended_at if self.ended_at is not None else now) - self.started_at

    def idle_s(self, now: float) -> float:
        """Return how long nothing new came from the proxy; it waits for nobody meanwhile."""
        return 0.0 if self._questions_open else now - self.changed_at

    def waits(self, change: int, now: float) -> None:
        """So many questions more are open to people, or fewer: what it does is up to them."""
        self._questions_open += change
        self.changed_at = now

    # ── from the proxy ─────────────────────────────────────────────────

    def apply(self, message: TurnMessage, now: float) -> bool:
        """Take a message about this turn; False: it is final, and the message is dropped."""
        if self.state.final:
            return False
        self.changed_at = now
        if isinstance(message, Delta):
            if message.channel == "reasoning":
                self._reason(message.text)
            else:
                self._append(self._splitter.feed(message.text))
            return True
        self.revision += 1
        match message:
            case ToolEvent():
                self._step(message, now)
            case Plan(entries=entries):
                self.plan = tuple(entries)
            case Usage():
                self.usage = message
            case TurnEnd():
                self._end(message, now)
        return True

    def _append(self, pieces: list[tuple[Any, str]]) -> None:
        for channel, text in pieces:
            if channel == "reasoning":
                self._reason(text)
                continue
            self.answer.feed(text[: self._answer_left])
            self._answer_left = max(0, self._answer_left - len(text))
            if self.state is TurnState.THINKING and not self.answer.empty:
                self.state = TurnState.STREAMING

    def _reason(self, text: str) -> None:
        if not text:
            return
        self.revision += 1
        self._reasoning.append(text)
        self._reasoning_size += len(text)
        if self._reasoning_size > 2 * REASONING_CHARACTERS_MAX:
            kept = self.reasoning[-REASONING_CHARACTERS_MAX:]
            self._reasoning, self._reasoning_size = [kept], len(kept)

    def restore_reasoning(self, text: str) -> None:
        """Begin with reasoning that was kept."""
        self._reason(text)

    def _step(self, event: ToolEvent, now: float) -> None:
        step = self.steps.get(event.call_id)
        if step is None:
            step = ToolStep(
                call_id=event.call_id,
                name=(event.name or "tool")[:NAME_CHARACTERS_MAX],
                started_at=now,
            )
            self.steps[event.call_id] = step
            if len(self.steps) > STEPS_MAX:
                del self.steps[next(iter(self.steps))]
                self.steps_dropped += 1
        _update(step, event)
        if event.status is not None:
            step.status = event.status
            if event.status != "running" and step.duration_ms is None:
                step.duration_ms = round((now - step.started_at) * 1000)

    def append_tail(self, text: str, now: float) -> None:
        """Take the beginning of the text of a ``turn_end``; the rest follows as deltas."""
        if not self.state.final:
            self.changed_at = now
            self._append(self._splitter.feed_tail(text))

    def _end(self, end: TurnEnd, now: float) -> None:
        if end.text:
            self._append(self._splitter.feed_tail(end.text))
        self._append(self._splitter.finish())
        self.error = Text(end.error, end.error) if end.status == "error" and end.error else None
        self._finish(TurnState(end.status), now)

    # ── from the daemon ──────────────────────────────────────────────

    def stop(self, now: float, note: Text | None = None) -> bool:
        """Abort; False: it was final already."""
        return self._cut(TurnState.ABORTED, now, note=note)

    def lose_session(self, now: float) -> bool:
        """The proxy's connection ended: an error; False: it was final already."""
        return self._cut(TurnState.ERROR, now, error=on_card.SESSION_DISCONNECTED)

    def _cut(
        self, state: TurnState, now: float, *, note: Text | None = None, error: Text | None = None
    ) -> bool:
        if self.state.final:
            return False
        self._append(self._splitter.finish())
        self.note, self.error = note, error
        self._finish(state, now)
        return True

    def _finish(self, state: TurnState, now: float) -> None:
        self.answer.finish()
        if not self._answer_left and self.note is None:
            self.note = on_card.ANSWER_CUT.format(count=f"{ANSWER_CHARACTERS_MAX:,}")
        self.state = state
        self.ended_at = now
        for step in self.steps.values():
            if step.status == "running":
                step.status = "success" if state is TurnState.COMPLETE else "error"


def _update(step: ToolStep, event: ToolEvent) -> None:
    """Take the fields that *event* carries; what is absent replaces nothing."""
    if event.name:
        step.name = event.name[:NAME_CHARACTERS_MAX]
    if event.kind is not None and (event.kind != "other" or step.kind == "other"):
        step.kind = event.kind
    if event.summary:
        step.summary = event.summary[:SUMMARY_CHARACTERS_MAX]
    elif event.input and not step.summary:
        step.summary = summarise(event.input)
    if event.parent_id is not None:
        step.parent_id = event.parent_id
    if event.duration_ms is not None:
        step.duration_ms = event.duration_ms
    if event.output is not None:
        step.output = event.output[-DETAIL_CHARACTERS_MAX:]
    if event.error is not None:
        step.rejected = step.rejected or event.error == REJECTED
        step.error = "" if event.error == REJECTED else event.error[-DETAIL_CHARACTERS_MAX:]
    if event.diff is not None:
        step.change = unified(event.diff)[:DETAIL_CHARACTERS_MAX]
        if not step.summary and event.diff:
            step.summary = one_line(event.diff[0].path)

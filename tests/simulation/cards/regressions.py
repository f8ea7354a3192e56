"""Mends of the cards, undone by name: each is what one promise of them rests on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, Final

from actors.turns import actor, card, entity, entry
from actors.turns.card import CardPresenter
from actors.turns.client import TurnClient
from actors.turns.ends import CardEnds
from actors.turns.static import StaticPresenter
from protocol.cards import answer, cardplan
from protocol.cards.kept import keep
from protocol.cards.reasoning import ReasoningSplitter
from protocol.cards.turn import Turn
from protocol.platform import codes
from protocol.platform.api_budget import ResourceBudget
from tests.simulation.regressions.regression import Regression, replaced

Undo = Callable[[], AbstractContextManager[None]]


def _instead(owner: Any, **values: Any) -> Undo:
    return partial(replaced, owner, **values)


def _notify(self: CardPresenter) -> None:
    self._changed.set()
    if self._rest is not None:
        self._rest.notify()
    if self._waiting_for is not None and self._urgency() < self._waiting_for:
        self._wait_scope.cancel()


def _pause(self: ResourceBudget, _priority: int, until: float) -> None:
    self._paused[0] = max(self._paused.get(0, 0.0), until)


async def _note_sent(self: CardPresenter) -> None:
    held = self._held[0] if self._held is not None else self._entity
    if held is not None:
        await self._note_on(held)


async def _no_notice(_self: TurnClient, _missing: Any) -> None:
    return


def _nothing(*_args: Any, **_kwargs: Any) -> None:
    return


@contextmanager
def _too_large_is_lost() -> Iterator[None]:
    with (
        replaced(CardPresenter, _shrink=lambda *_: False, _cut=lambda *_: False),
        replaced(CardEnds, add=_nothing, closes=lambda *_: False),
    ):
        yield


@contextmanager
def _any_token_is_a_fence() -> Iterator[None]:
    def code(self: ReasoningSplitter, token: str, *, starts_line: bool) -> None:
        is_tag = token.startswith("<")
        if is_tag and starts_line and self._state.name == "TEXT":
            token = "`" * len(token)
        elif is_tag and starts_line and self._state.name == "FENCE":
            token = self._mark
        original(self, token, starts_line=starts_line)

    original = ReasoningSplitter._code
    with replaced(ReasoningSplitter, _code=code):
        yield


@contextmanager
def _code_200740_is_unknown() -> Iterator[None]:
    kinds = tuple((each - {200740}, kind) for each, kind in codes._KINDS)
    with replaced(codes, _KINDS=kinds):
        yield


@contextmanager
def _what_was_read_is_repeated() -> Iterator[None]:
    def begin(self: StaticPresenter, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs | {"read": "", "sure": True})

    original = StaticPresenter.__init__
    with replaced(StaticPresenter, __init__=begin):
        yield


def _keep_text(_turn: Turn, rest: Any, *, tools: bool) -> bytes:
    return keep(Turn(0.0), rest, tools=tools)


def _tail(_self: ReasoningSplitter, text: str) -> list[tuple[str, str]]:
    return [("answer", text)]


REGRESSIONS: Final = {
    one.name: one
    for one in (
        Regression(
            name="end-waits",
            seen="the end waits until text may go again",
            undo=_instead(CardPresenter, notify=_notify),
        ),
        Regression(
            name="card-waits",
            seen="what a card's own limit refused to text holds up its end in the gateway",
            undo=_instead(ResourceBudget, pause=_pause),
        ),
        Regression(
            name="hung-text",
            seen="text waits for a call that hangs as long as the gateway does",
            undo=_instead(cardplan, ANSWER_FIRST_S=10.0),
        ),
        Regression(
            name="two-entries",
            seen="what a card has that was sent stays in the entry before it, too",
            undo=_instead(entry, _ids=lambda _entries: ()),
        ),
        Regression(
            name="noted-late",
            seen="the ledger notes what is shown every 6 s",
            undo=_instead(actor, NOTE_EVERY_S=6.0),
        ),
        Regression(
            name="panels-lost",
            seen="a repaired card has lost its plan, tools and reasoning",
            undo=_instead(card, keep=_keep_text),
        ),
        Regression(
            name="unsent-lost",
            seen="a crash loses the text of a turn whose card is not there yet",
            undo=_instead(CardPresenter, note=_note_sent),
        ),
        Regression(
            name="too-large-live",
            seen="a card that is too large stays live, closed as lost",
            undo=_too_large_is_lost,
        ),
        Regression(
            name="too-large-once",
            seen="a card that is refused for its size once is left to the next start",
            undo=_instead(entity, TOO_LARGE_AGAIN_S=1_000.0, TOO_LARGE_AGAIN_MAX_S=1_000.0),
        ),
        Regression(
            name="no-grant",
            seen="a scope that is lost in the middle is asked for nowhere",
            undo=_instead(TurnClient, send_grant_notice=_no_notice),
        ),
        Regression(
            name="raw-tail",
            seen="reasoning in the text of a turn's end is shown as the answer",
            undo=_instead(ReasoningSplitter, feed_tail=_tail),
        ),
        Regression(
            name="indented-code",
            seen="a tag in indented code opens reasoning",
            undo=_instead(ReasoningSplitter, _in_indented_code=lambda _self: False),
        ),
        Regression(
            name="tag-fence",
            seen="a tag in indented code opens a code fence",
            undo=_any_token_is_a_fence,
        ),
        Regression(
            name="ticks-follow",
            seen="the footer follows the round trip",
            undo=_instead(CardPresenter, _tick_s=lambda _self: 0.15),
        ),
        Regression(
            name="unknown-card",
            seen="200740, no such card, is a refusal like any other",
            undo=_code_200740_is_unknown,
        ),
        Regression(
            name="half-full",
            seen="a card is sealed at 14 kB",
            undo=_instead(answer, SEGMENT_BYTES_MAX=14_000),
        ),
        Regression(
            name="read-twice",
            seen="what was read on a lost card is repeated",
            undo=_what_was_read_is_repeated,
        ),
        Regression(
            name="unmarked-end",
            seen="nobody sees that plain replies are over",
            undo=_instead(StaticPresenter, _mark_the_end=_nothing),
        ),
    )
}


def undone(name: str) -> AbstractContextManager[None]:
    """Run the daemon without the mend of that *name* while the block runs.

    Raises:
        KeyError: there is no such regression.
    """
    return REGRESSIONS[name].undo()

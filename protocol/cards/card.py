"""Card JSON 2.0 of one turn, as the platform's page for the structure has it.

From top to bottom: plan, tool calls, reasoning, answer, error or note, footer with the
Stop button. Both languages go into ``i18n_content``, so each reader sees their own.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from protocol.cards.answer import json_bytes
from protocol.cards.changes import element
from protocol.cards.elements import Element, both, notation
from protocol.cards.panels import LEVEL_MAX, panels
from protocol.cards.turn import Turn, TurnState
from protocol.ids import SessionId, TurnId
from protocol.quoted import in_card
from protocol.strings import Language, Text, amounts, on_card

ANSWER: Final = "answer"
FOOTER: Final = "footer"
CARD_BYTES_MAX: Final = 27 * 1024
"""The platform's 30 KB less a tenth."""
ERROR_BYTES_MAX: Final = 1_500
SUMMARY_CHARACTERS_MAX: Final = 80
TITLE_CHARACTERS_MAX: Final = 120
ANSWER_BYTES_MIN: Final = 1_000
"""Left for the answer beside the largest panels."""
_FOOTERS: Final = {
    TurnState.COMPLETE: on_card.FOOTER_COMPLETE,
    TurnState.ABORTED: on_card.FOOTER_ABORTED,
    TurnState.ERROR: on_card.FOOTER_ERROR,
}
PRINT_EVERY_MS: Final = 25
PRINT_FAST: Final = 7
"""Characters at once where updates follow each other closely: 280 in a second."""
PRINT_SLOW: Final = 5
"""Where they are two seconds apart or more: 200 in a second, about what models write, so
that one update is typed until the next one comes. What is typed too late is there with the
next update; typed too soon, the card stands still (``bench/virtual.py``)."""
PRINT_SLOW_FROM_S: Final = 2.0


class View(Struct, frozen=True, kw_only=True):
    """What one card should show now."""

    card: Element
    final: bool
    """Nothing will follow on this card: the turn's end, or it is sealed."""

    @property
    def card_json(self) -> str:
        return msgspec.json.encode(self.card).decode()

    @property
    def elements(self) -> list[Element]:
        elements: list[Element] = self.card["body"]["elements"]
        return elements

    @property
    def answer(self) -> str:
        return self._content(ANSWER)

    @property
    def footer(self) -> str:
        return self._content(FOOTER)

    def _content(self, element_id: str) -> str:
        found = element(self.elements, element_id)
        return "" if found is None else str(found["content"])

    def with_elements(self, elements: list[Element]) -> View:
        return replace(self, card={**self.card, "body": {"elements": elements}})


class Style(Struct, frozen=True, kw_only=True):
    """How this turn's cards are shown."""

    session_id: SessionId
    turn_id: TurnId
    language: Language = "en"
    tools: bool = True
    """Show the tool panel (reply mode ``verbose``)."""
    live: bool = True
    """Show the answer as it grows; else only when it is whole (reply mode ``final``)."""
    title: str = ""
    """The card's first line; empty: none."""
    level: int = 0
    """How often the panels were made smaller (:func:`protocol.cards.panels.panels`)."""
    update_every_s: float = 0.3
    """How long the next update of the text is likely to take."""
    stall_s: float = 0.0
    """After so long without anything new the footer mentions it; 0: never."""

    def typed_every(self, seconds: float) -> Style:
        """Return the style for cards whose text is updated so often."""
        return replace(self, update_every_s=seconds)

    def smaller(self) -> Style | None:
        """Return the style with smaller panels; None: there are none left."""
        return None if self.level >= LEVEL_MAX else replace(self, level=self.level + 1)


def view_of(turn: Turn, style: Style, number: int, now: float) -> View:
    """What the turn's card of this *number*, from 0, shows at this moment.

    Panels take their part of a card: what no longer fits beside them is sealed first, and
    goes on the next one.
    """
    sealed = turn.answer.sealed
    if number == len(sealed):
        view = view_running(turn, style, now)
        turn.answer.fit(answer_share(view))
        if number == len(sealed):
            return view
    return view_sealed(turn, style, sealed[number])


def view_running(turn: Turn, style: Style, now: float) -> View:
    """What the turn's last card shows at this moment, running or final."""
    final = turn.state.final
    answer = turn.answer.current if style.live or final else ""
    return _view(turn, style, answer, _footer(turn, style, now), with_panels=True, final=final)


def view_sealed(turn: Turn, style: Style, text: str, *, with_panels: bool = False) -> View:
    """What a full card shows, whose text goes on below."""
    return _view(turn, style, text, on_card.FOOTER_SEALED, with_panels=with_panels, final=True)


def view_repaired(
    style: Style, turn: Turn, text: str, seconds: float, *, goes_on: bool = False
) -> View:
    """What a card shows that a crash left.

    *turn* has its panels as they were noted, and *text* is the answer. With *goes_on* more
    of it follows below, and the end with it.
    """
    turn.stop(seconds, None if goes_on else on_card.INTERRUPTED)
    footer = on_card.FOOTER_SEALED if goes_on else _footer(turn, style, seconds)
    return _view(turn, style, text, footer, with_panels=True, final=True)


def answer_share(view: View) -> int:
    """Return how many bytes of answer the card has space for beside all else on it."""
    beside = len(msgspec.json.encode(view.card)) - json_bytes(view.answer)
    return max(ANSWER_BYTES_MIN, CARD_BYTES_MAX - beside)


def _view(
    turn: Turn, style: Style, answer: str, footer: Text, *, with_panels: bool, final: bool
) -> View:
    language = style.language
    elements: list[Element] = []
    if style.title:
        title = f"**{in_card(style.title, TITLE_CHARACTERS_MAX)}**"
        elements.append({"tag": "markdown", "element_id": "title", "content": title})
    if with_panels:
        elements += panels(turn, language, tools=style.tools, level=style.level)
    # An element without text is not drawn; while running it is where text will go.
    if answer or not final:
        elements.append({"tag": "markdown", "element_id": ANSWER, "content": answer})
    if with_panels:
        elements += _notes(turn, language)
    bottom = both(notation("", FOOTER), footer, language)
    elements.append(_bottom_row(bottom, style, running=not final))
    card = {
        "schema": "2.0",
        "config": _config(turn, style, answer, final=final),
        "body": {"elements": elements},
    }
    return View(card=card, final=final)


def _config(turn: Turn, style: Style, answer: str, *, final: bool) -> dict[str, Any]:
    summary = both({}, _summary(turn, answer), style.language)
    config: dict[str, Any] = {"update_multi": True, "summary": summary}
    config["streaming_mode"] = not final
    if not final:
        config["streaming_config"] = _typewriter(style.update_every_s)
    return config


def _typewriter(update_every_s: float) -> dict[str, Any]:
    """Return how fast the platform types: slower where an update has to last longer."""
    share = min(1.0, update_every_s / PRINT_SLOW_FROM_S)
    return {
        "print_frequency_ms": {"default": PRINT_EVERY_MS},
        "print_step": {"default": round(PRINT_FAST - (PRINT_FAST - PRINT_SLOW) * share)},
        "print_strategy": "fast",
    }


def _summary(turn: Turn, answer: str) -> Text:
    match turn.state:
        case TurnState.ABORTED:
            return on_card.SUMMARY_STOPPED
        case TurnState.ERROR:
            return on_card.SUMMARY_ERROR
        case TurnState.COMPLETE:
            line = _first_line(next(iter(turn.answer.sealed), answer))
            return Text(line, line) if line else on_card.SUMMARY_DONE
        case _:
            return on_card.PROCESSING


def _first_line(text: str) -> str:
    """Return the first line that has words, without what marks it in Markdown."""
    for line in text.splitlines():
        if not line.lstrip().startswith(("```", "~~~")) and (words := line.strip("#>*-|` \t")):
            return words[:SUMMARY_CHARACTERS_MAX]
    return ""


def _footer(turn: Turn, style: Style, now: float) -> Text:
    form = _FOOTERS.get(turn.state, on_card.FOOTER_RUNNING)
    time = amounts.duration(turn.elapsed_s(now))
    footer = form.format(time=Text(time, time))
    return footer.plus(_usage(turn)).joined(_stall(turn, style, now))


def _stall(turn: Turn, style: Style, now: float) -> Text:
    if turn.state.final or not style.stall_s or turn.idle_s(now) < style.stall_s:
        return Text("", "")
    return on_card.FOOTER_STALLED.format(minutes=amounts.minutes(style.stall_s))


def _usage(turn: Turn) -> str:
    usage, tail = turn.usage, ""
    if usage is None:
        return tail
    if usage.input_tokens is not None:
        tail += f" · ↑{amounts.amount(usage.input_tokens)}"
    if usage.output_tokens is not None:
        tail += f" · ↓{amounts.amount(usage.output_tokens)}"
    if usage.used is not None and usage.size:
        share = round(100 * usage.used / usage.size)
        tail += f" · ctx {amounts.amount(usage.used)}/{amounts.amount(usage.size)} {share}%"
    return tail


def _bottom_row(footer: dict[str, Any], style: Style, *, running: bool) -> dict[str, Any]:
    if not running:
        return footer
    stop = {
        "tag": "button",
        "element_id": "stop",
        "type": "default",
        "size": "small",
        "text": both({"tag": "plain_text"}, on_card.STOP_BUTTON, style.language),
        "behaviors": [
            {
                "type": "callback",
                "value": {"larkd": "stop", "session": style.session_id, "turn": style.turn_id},
            }
        ],
    }
    return {
        "tag": "column_set",
        "columns": [
            {
                "tag": "column",
                "width": "weighted",
                "weight": 1,
                "vertical_align": "center",
                "elements": [footer],
            },
            {"tag": "column", "width": "auto", "elements": [stop]},
        ],
    }


def _notes(turn: Turn, language: Language) -> list[Element]:
    """Why it ended, below what was streamed and in a block of its own."""
    if turn.error is not None:
        error = Text(_red(turn.error.en), _red(turn.error.zh))
        return [both({"tag": "markdown", "element_id": "error"}, error, language)]
    if turn.note is not None:
        return [both({"tag": "markdown", "element_id": "note"}, turn.note, language)]
    return []


def _red(error: str) -> str:
    characters = ERROR_BYTES_MAX
    shown = in_card(error, characters)
    while json_bytes(shown) > ERROR_BYTES_MAX:
        characters //= 2
        shown = in_card(error, characters)
    return f"<font color='red'>{shown}</font>"

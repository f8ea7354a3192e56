"""Cards with an agent's questions: the form, and what is left of it once it is closed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from protocol.cards.elements import in_both
from protocol.cards.question import (
    ANSWER,
    FREE_TEXT_CHARACTERS_MAX,
    QUESTION_CHARACTERS_MAX,
    Answered,
    BadQuestions,
    Elicitation,
    Question,
    answer_text,
)
from protocol.ids import OpenId
from protocol.quoted import in_card, quoted
from protocol.strings import Text, on_card

CARD_BYTES_MAX: Final = 28 * 1024
"""Of the platform's 30 KB."""
URL_CHARACTERS_MAX: Final = 2_048
"""Of an address that people are asked to open."""
DECLINE: Final = "decline"
OPEN: Final = "open"
"""What ``action`` is in the values of the buttons beside the form's own."""


def open_card(question_id: str, questions: tuple[Question, ...]) -> str:
    """Return the card that asks: one form, submitted as a whole.

    Raises:
        BadQuestions: they are too long for one card.
    """
    return _fitting(_card([_form(question_id, questions)], on_card.QUESTION_SUMMARY))


def elicited_card(question_id: str, elicited: Elicitation) -> str:
    """Return the card of what an agent waits for, which can also be declined.

    Raises:
        BadQuestions: it is too long for one card.
    """
    message = [{"tag": "markdown", "content": _message(elicited.message)}]
    asked = (
        [_form(question_id, elicited.questions)]
        if elicited.url is None
        else _link(question_id, elicited.url)
    )
    decline = {
        "tag": "button",
        "element_id": "decline",
        "type": "default",
        "text": in_both({"tag": "plain_text"}, on_card.QUESTION_DECLINE),
        "behaviors": [_callback(question_id, DECLINE)],
    }
    elements = [*(message if elicited.message else []), *asked, decline]
    return _fitting(_card(elements, on_card.QUESTION_SUMMARY))


def _fitting(card: str) -> str:
    if len(card.encode()) > CARD_BYTES_MAX:
        raise BadQuestions("the questions are too long for one card; shorten them, or ask fewer")
    return card


def _form(question_id: str, questions: tuple[Question, ...]) -> dict[str, Any]:
    elements: list[dict[str, Any]] = []
    for number, question in enumerate(questions):
        elements += _asked(number, question)
    submit = {
        "tag": "button",
        "element_id": "submit",
        "name": "submit",
        "type": "primary_filled",
        "form_action_type": "submit",
        "text": in_both({"tag": "plain_text"}, on_card.QUESTION_SUBMIT),
        "behaviors": [_callback(question_id)],
    }
    return {"tag": "form", "name": "questions", "elements": [*elements, submit]}


def _link(question_id: str, url: str) -> list[dict[str, Any]]:
    """The whole address in plain view, for who opens it must see where it leads."""
    return [
        {"tag": "markdown", "content": in_card(url, URL_CHARACTERS_MAX)},
        {
            "tag": "button",
            "element_id": "open",
            "type": "primary_filled",
            "text": in_both({"tag": "plain_text"}, on_card.QUESTION_OPEN),
            "behaviors": [
                {"type": "open_url", "default_url": url},
                _callback(question_id, OPEN),
            ],
        },
    ]


def _callback(question_id: str, action: str | None = None) -> dict[str, Any]:
    value = {"larkd": ANSWER, "question": question_id}
    return {"type": "callback", "value": value | ({"action": action} if action else {})}


def action_of(value: Mapping[str, Any]) -> str | None:
    """Return what a press beside the form's own button does: ``DECLINE`` or ``OPEN``."""
    action = value.get("action")
    return action if action in (DECLINE, OPEN) else None


def _asked(number: int, question: Question) -> list[dict[str, Any]]:
    described = [
        f"- **{in_card(one.label)}** {in_card(one.description)}"
        for one in question.options
        if one.description
    ]
    title = {"tag": "markdown", "content": "\n".join([_title(question), *described])}
    choice = [_choice(number, question)] if question.options else []
    text = [_input(number, question)] if question.free_text else []
    return [title, *choice, *text]


def _choice(number: int, question: Question) -> dict[str, Any]:
    is_boolean = question.accepts.kind == "boolean"
    names = (on_card.YES, on_card.NO) if is_boolean else ()
    options = [
        {"text": in_both({"tag": "plain_text"}, name), "value": str(at)}
        for at, name in enumerate(names)
    ] or [
        {"text": {"tag": "plain_text", "content": quoted(one.label)}, "value": str(at)}
        for at, one in enumerate(question.options)
    ]
    values = [str(at) for at in question.accepts.chosen]
    if question.multiple:
        tag, hint, initial = "multi_select_static", on_card.QUESTION_CHOOSE_SOME, "selected_values"
    else:
        tag, hint, initial = "select_static", on_card.QUESTION_CHOOSE, "initial_option"
    select: dict[str, Any] = {
        "tag": tag,
        "name": f"choice_{number}",
        "width": "fill",
        "placeholder": in_both({"tag": "plain_text"}, hint),
        "options": options,
    }
    if values:
        select[initial] = values if question.multiple else values[0]
    if question.required and not question.free_text:
        select["required"] = True
    return select


def _input(number: int, question: Question) -> dict[str, Any]:
    accepts = question.accepts
    hint = on_card.QUESTION_FREE_TEXT
    if not question.options:
        hint = on_card.QUESTION_HINTS.get(accepts.kind, on_card.QUESTION_WRITE)
    field: dict[str, Any] = {
        "tag": "input",
        "name": f"text_{number}",
        "width": "fill",
        "max_length": FREE_TEXT_CHARACTERS_MAX,
        "placeholder": in_both({"tag": "plain_text"}, hint),
    }
    if accepts.written:
        field["default_value"] = accepts.written
    if question.required and not question.options:
        field["required"] = True
    return field


def closed_card(
    elicited: Elicitation,
    verdict: Text,
    answers: tuple[Answered, ...] = (),
    by: OpenId | None = None,
) -> str:
    """Return what is left of a card once it is closed: what became of it, and no button.

    What does not fit is shown by its beginning: the session has all of it.
    """
    summary = verdict
    verdict = verdict if by is None else verdict.plus(f" <at id={by}></at>")
    note = in_both({"tag": "markdown", "text_size": "notation"}, verdict)
    given = answers or (Answered(),) * len(elicited.questions)
    characters = QUESTION_CHARACTERS_MAX
    while True:
        shown = [_message(elicited.message, characters)] if elicited.message else []
        if elicited.url is not None:
            shown.append(in_card(elicited.url, characters))
        shown += [
            f"{_title(question, characters)}\n{in_card(answer_text(answer), characters) or '–'}"
            for question, answer in zip(elicited.questions, given, strict=True)
        ]
        lines = [{"tag": "markdown", "content": one} for one in shown]
        card = _card([*lines, note], summary)
        if len(card.encode()) <= CARD_BYTES_MAX:
            return card
        characters //= 2


def _message(text: str, characters_max: int = CARD_BYTES_MAX) -> str:
    """Return an agent's message by its lines; nothing in it is a mark."""
    lines = text[:characters_max].splitlines()
    return "\n".join(in_card(line, characters_max) for line in lines)


def _title(question: Question, characters_max: int = QUESTION_CHARACTERS_MAX) -> str:
    header = f"**{in_card(question.header)}**\n" if question.header else ""
    needed = " &#42;" if question.required else ""
    return f"{header}{in_card(question.question, characters_max)}{needed}"


def _card(elements: list[dict[str, Any]], summary: Text) -> str:
    card = {
        "schema": "2.0",
        "config": {"update_multi": True, "summary": in_both({}, summary)},
        "body": {"elements": elements},
    }
    return msgspec.json.encode(card).decode()

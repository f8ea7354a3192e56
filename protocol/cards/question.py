"""An agent's questions on a card: read from its call, shown as a form, answered once.

Pure. A question is 2 to 8 options, one or several of which can be chosen, and always a free
text beside them (the specification's page on agents, ``ask``; the form's elements are those
of card JSON 2.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from protocol.cards.answer import storable
from protocol.ids import OpenId
from protocol.quoted import in_card, quoted
from protocol.strings import Text, on_card

ANSWER: Final = "answer"
"""What ``larkd`` is in the value of the button that submits, and the row's kind."""
QUESTIONS_MAX: Final = 4
OPTIONS_MIN, OPTIONS_MAX = 2, 8
QUESTION_CHARACTERS_MAX: Final = 1_000
LABEL_CHARACTERS_MAX: Final = 100
DESCRIPTION_CHARACTERS_MAX: Final = 300
CARD_BYTES_MAX: Final = 28 * 1024
"""Of the platform's 30 KB."""
FREE_TEXT_CHARACTERS_MAX: Final = 1_000
"""The platform's own limit of an input."""


class AnswerOption(Struct, frozen=True, kw_only=True):
    label: str
    description: str = ""


class Question(Struct, frozen=True, kw_only=True):
    question: str
    header: str = ""
    options: tuple[AnswerOption, ...]
    multiple: bool = False


class Answered(Struct, frozen=True, kw_only=True):
    """What one question was answered with; both empty where it was left out."""

    labels: tuple[str, ...]
    text: str


class BadQuestions(ValueError):
    """The call's arguments are none that can be asked; the text is for the model."""


# ── the call ────────────────────────────────────────────────────────────────


def read_questions(given: object) -> tuple[Question, ...]:
    """Read the argument ``questions``.

    Raises:
        BadQuestions: something is missing, too many or too long; it names which.
    """
    listed = _list(given, "questions", 1, QUESTIONS_MAX)
    return tuple(_question(one) for one in listed)


def _question(given: object) -> Question:
    if not isinstance(given, Mapping):
        raise BadQuestions("each of questions must be an object")
    multiple = given.get("multiple")
    if multiple is not None and not isinstance(multiple, bool):
        raise BadQuestions("multiple must be true or false")
    options = tuple(map(_option, _list(given.get("options"), "options", OPTIONS_MIN, OPTIONS_MAX)))
    if len({one.label for one in options}) < len(options):
        raise BadQuestions("the labels of one question's options must differ")
    return Question(
        question=_text(given, "question", QUESTION_CHARACTERS_MAX, required=True),
        header=_text(given, "header", LABEL_CHARACTERS_MAX),
        options=options,
        multiple=bool(multiple),
    )


def _option(given: object) -> AnswerOption:
    if not isinstance(given, Mapping):
        raise BadQuestions("each of options must be an object with a label")
    return AnswerOption(
        label=_text(given, "label", LABEL_CHARACTERS_MAX, required=True),
        description=_text(given, "description", DESCRIPTION_CHARACTERS_MAX),
    )


def _list(given: object, key: str, least: int, most: int) -> list[Any]:
    if given is None or given == []:
        raise BadQuestions(f"missing or empty required argument: {key}")
    if not isinstance(given, list) or not least <= len(given) <= most:
        raise BadQuestions(f"{key} must be a list of {least} to {most}")
    return given


def _text(
    given: Mapping[Any, Any], key: str, characters_max: int, *, required: bool = False
) -> str:
    value = given.get(key)
    if required and (not isinstance(value, str) or not value.strip()):
        raise BadQuestions(f"missing or empty required argument: {key}")
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > characters_max:
        raise BadQuestions(f"{key} must be a text of {characters_max} characters at most")
    return " ".join(storable(value).split())


# ── the answer ──────────────────────────────────────────────────────────────


def question_of(value: Mapping[str, Any]) -> str | None:
    """Return the id that a press submits an answer to; None: a button of another card."""
    question = value.get("question")
    return question if value.get("larkd") == ANSWER and isinstance(question, str) else None


def read_answers(
    questions: tuple[Question, ...], form_value: Mapping[str, Any]
) -> tuple[Answered, ...] | None:
    """Return what each question was answered with; None: nothing was at all."""
    answers = tuple(
        Answered(
            labels=_chosen(question, form_value.get(f"choice_{number}")),
            text=_free_text(form_value.get(f"text_{number}")),
        )
        for number, question in enumerate(questions)
    )
    return answers if any(one.labels or one.text for one in answers) else None


def _chosen(question: Question, held: object) -> tuple[str, ...]:
    """Return the labels in the order they were asked in, whatever order they were chosen in."""
    values = held if isinstance(held, list) else [held]
    found = tuple(one.label for at, one in enumerate(question.options) if str(at) in values)
    return found if question.multiple else found[:1]


def _free_text(held: object) -> str:
    text = held if isinstance(held, str) else ""
    return " ".join(storable(text).split())[:FREE_TEXT_CHARACTERS_MAX]


def content(questions: tuple[Question, ...], answers: tuple[Answered, ...]) -> str:
    """Return the message to the session: ``question: label, label; free text`` a line."""
    return "\n".join(
        f"{question.question}: {_answer_text(answer)}".rstrip()
        for question, answer in zip(questions, answers, strict=True)
    )


def _answer_text(answer: Answered) -> str:
    return "; ".join(filter(None, (", ".join(answer.labels), answer.text)))


# ── the card ────────────────────────────────────────────────────────────────


def open_card(question_id: str, questions: tuple[Question, ...]) -> str:
    """Return the card that asks: one form, submitted as a whole.

    Raises:
        BadQuestions: they are too long for one card.
    """
    elements: list[dict[str, Any]] = []
    for number, question in enumerate(questions):
        elements += _asked(number, question)
    submit = {
        "tag": "button",
        "element_id": "submit",
        "name": "submit",
        "type": "primary_filled",
        "form_action_type": "submit",
        "text": _both({"tag": "plain_text"}, on_card.QUESTION_SUBMIT),
        "behaviors": [{"type": "callback", "value": {"larkd": ANSWER, "question": question_id}}],
    }
    form = {"tag": "form", "name": "questions", "elements": [*elements, submit]}
    card = _card([form], on_card.QUESTION_SUMMARY)
    if len(card.encode()) > CARD_BYTES_MAX:
        raise BadQuestions("the questions are too long for one card; shorten them, or ask fewer")
    return card


def _asked(number: int, question: Question) -> list[dict[str, Any]]:
    described = [
        f"- **{in_card(one.label)}** {in_card(one.description)}"
        for one in question.options
        if one.description
    ]
    options = [
        {"text": {"tag": "plain_text", "content": quoted(one.label)}, "value": str(at)}
        for at, one in enumerate(question.options)
    ]
    tag, hint = (
        ("multi_select_static", on_card.QUESTION_CHOOSE_SOME)
        if question.multiple
        else ("select_static", on_card.QUESTION_CHOOSE)
    )
    return [
        {"tag": "markdown", "content": "\n".join([_title(question), *described])},
        {
            "tag": tag,
            "name": f"choice_{number}",
            "width": "fill",
            "placeholder": _both({"tag": "plain_text"}, hint),
            "options": options,
        },
        {
            "tag": "input",
            "name": f"text_{number}",
            "width": "fill",
            "max_length": FREE_TEXT_CHARACTERS_MAX,
            "placeholder": _both({"tag": "plain_text"}, on_card.QUESTION_FREE_TEXT),
        },
    ]


def answered_card(
    questions: tuple[Question, ...], answers: tuple[Answered, ...], by: OpenId
) -> str:
    """Return the card that shows what was chosen, and by whom; nothing in it can be pressed.

    What does not fit is shown by its beginning: the session has all of it.
    """
    verdict = on_card.QUESTION_ANSWERED.plus(f" <at id={by}></at>")
    note = _both({"tag": "markdown", "text_size": "notation"}, verdict)
    characters = QUESTION_CHARACTERS_MAX
    while True:
        lines = [
            {
                "tag": "markdown",
                "content": f"{_title(question, characters)}\n"
                f"{in_card(_answer_text(answer), characters) or '–'}",
            }
            for question, answer in zip(questions, answers, strict=True)
        ]
        card = _card([*lines, note], on_card.QUESTION_ANSWERED)
        if len(card.encode()) <= CARD_BYTES_MAX:
            return card
        characters //= 2


def _title(question: Question, characters_max: int = QUESTION_CHARACTERS_MAX) -> str:
    header = f"**{in_card(question.header)}**\n" if question.header else ""
    return f"{header}{in_card(question.question, characters_max)}"


def _card(elements: list[dict[str, Any]], summary: Text) -> str:
    card = {
        "schema": "2.0",
        "config": {"update_multi": True, "summary": _both({}, summary)},
        "body": {"elements": elements},
    }
    return msgspec.json.encode(card).decode()


def _both(node: dict[str, Any], text: Text) -> dict[str, Any]:
    return {
        **node,
        "content": text.en,
        "i18n_content": {"en_us": text.en, "zh_cn": text.zh},
    }

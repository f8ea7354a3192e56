"""An agent's questions: read from its call, and from the form that a person has sent.

Pure. A question of ``ask`` is 2 to 8 options, one or several of which can be chosen, and always
a free text beside them (the specification's page on agents). What an agent elicits by its own
protocol may also be a text or a number alone, be needed, and be held to limits
(``protocol.agents.elicitation``). Their cards are in ``protocol.cards.question_card``.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from protocol.cards.answer import storable
from protocol.strings import Text, on_card

ANSWER: Final = "answer"
"""What ``larkd`` is in the value of the button that submits, and the row's kind."""
QUESTIONS_MAX: Final = 4
OPTIONS_MIN, OPTIONS_MAX = 2, 8
QUESTION_CHARACTERS_MAX: Final = 1_000
LABEL_CHARACTERS_MAX: Final = 100
DESCRIPTION_CHARACTERS_MAX: Final = 300
FREE_TEXT_CHARACTERS_MAX: Final = 1_000
"""The platform's own limit of an input."""
_EXACT_MAX: Final = 2**53
"""Above it a float is no longer every integer."""


class Accepts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an answer must be to be taken, and what the form holds at first."""

    kind: Literal["text", "number", "integer", "boolean", "email", "uri", "date", "date-time"] = (
        "text"
    )
    least: float | None = None
    """Of a number; else of characters, or of options chosen."""
    most: float | None = None
    chosen: tuple[int, ...] = ()
    """Options, by number."""
    written: str = ""


class AnswerOption(Struct, frozen=True, kw_only=True):
    label: str
    description: str = ""


class Question(Struct, frozen=True, kw_only=True):
    question: str
    header: str = ""
    options: tuple[AnswerOption, ...] = ()
    """None: it is answered by writing alone."""
    multiple: bool = False
    free_text: bool = True
    """Whether something can be written, be it beside the options."""
    required: bool = False
    accepts: Accepts = Accepts()


class Elicitation(Struct, frozen=True, kw_only=True):
    """What an agent asks by its own protocol, and waits for: a form, or to open an address."""

    message: str = ""
    questions: tuple[Question, ...] = ()
    url: str | None = None


class Answered(Struct, frozen=True, kw_only=True):
    """What one question was answered with; both empty where it was left out."""

    labels: tuple[str, ...] = ()
    text: str = ""


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
    """Return what each question was answered with; None: nothing was at all.

    A form that asks nothing is answered by sending it.
    """
    answers = tuple(
        Answered(
            labels=_chosen(question, form_value.get(f"choice_{number}")),
            text=_free_text(form_value.get(f"text_{number}")) if question.free_text else "",
        )
        for number, question in enumerate(questions)
    )
    return answers if not questions or any(one.labels or one.text for one in answers) else None


def _chosen(question: Question, held: object) -> tuple[str, ...]:
    """Return the labels in the order they were asked in, whatever order they were chosen in."""
    values = held if isinstance(held, list) else [held]
    found = tuple(one.label for at, one in enumerate(question.options) if str(at) in values)
    return found if question.multiple else found[:1]


def _free_text(held: object) -> str:
    text = held if isinstance(held, str) else ""
    return " ".join(storable(text).split())[:FREE_TEXT_CHARACTERS_MAX]


def problem(question: Question, answer: Answered) -> Text | None:
    """Return why an answer is not what was asked for, for who gave it; None: it is."""
    accepts, name = question.accepts, question.header or question.question
    if not answer.labels and not answer.text:
        return on_card.QUESTION_NEEDED.format(name=name) if question.required else None
    if question.options:
        count = len(answer.labels)
        if question.required and not count:
            return on_card.QUESTION_NEEDED.format(name=name)
        if answer.labels and not _within(accepts, count):
            return _limits(accepts, on_card.QUESTION_OPTIONS).format(name=name)
        return None
    match accepts.kind:
        case "number" | "integer" as kind:
            number = read_number(answer.text, kind)
            if number is None or not _within(accepts, number):
                wanted = on_card.QUESTION_INTEGER if kind == "integer" else on_card.QUESTION_NUMBER
                return _limits(accepts, wanted).format(name=name)
        case "text":
            if not _within(accepts, len(answer.text)):
                return _limits(accepts, on_card.QUESTION_CHARACTERS).format(name=name)
        case kind:
            if not _FORMATS[kind](answer.text):
                return on_card.QUESTION_FORMATS[kind].format(name=name)
    return None


def read_number(text: str, kind: Literal["number", "integer"]) -> int | float | None:
    """Return what is written as a number; None: it is none, or has a fraction it may not have."""
    try:
        number = float(text.replace(",", "").replace("\uff0c", ""))
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    if number.is_integer() and abs(number) <= _EXACT_MAX:
        return int(number)
    return None if kind == "integer" else number


def _within(accepts: Accepts, size: float) -> bool:
    return (accepts.least is None or size >= accepts.least) and (
        accepts.most is None or size <= accepts.most
    )


def _limits(accepts: Accepts, wanted: Text) -> Text:
    """Append the limits that there are to what is wanted."""
    least = None if accepts.least is None else f"{accepts.least:.15g}"
    most = None if accepts.most is None else f"{accepts.most:.15g}"
    match least, most:
        case None, None:
            return wanted
        case _, None:
            return wanted.joined(on_card.QUESTION_LEAST.format(least=least))
        case None, _:
            return wanted.joined(on_card.QUESTION_MOST.format(most=most))
    return wanted.joined(on_card.QUESTION_BETWEEN.format(least=least, most=most))


def _is_moment(text: str) -> bool:
    try:
        return "T" in text.upper() and bool(dt.datetime.fromisoformat(text))
    except ValueError:
        return False


def _is_date(text: str) -> bool:
    try:
        return len(text) == len("2026-01-31") and bool(dt.date.fromisoformat(text))
    except ValueError:
        return False


_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")
_FORMATS: Final[Mapping[str, Callable[[str], bool]]] = {
    "email": lambda text: _EMAIL.fullmatch(text) is not None,
    "uri": lambda text: _URI.fullmatch(text) is not None,
    "date": _is_date,
    "date-time": _is_moment,
}


def content(elicited: Elicitation, answers: tuple[Answered, ...]) -> str:
    """Return the message to the session: ``question: label, label; free text`` a line.

    Above them what they are about; where nothing was asked, that it was accepted.
    """
    lines = "\n".join(
        f"{question.question}: {answer_text(answer)}".rstrip()
        for question, answer in zip(elicited.questions, answers, strict=True)
    )
    return "\n".join(filter(None, (elicited.message, lines or "OK")))


def answer_text(answer: Answered) -> str:
    return "; ".join(filter(None, (", ".join(answer.labels), answer.text)))

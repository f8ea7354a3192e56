"""The properties of a form's schema, each as a question on a card. Pure.

Texts, numbers, booleans, and choices of one or several. What a card can't hold is refused by
name. A ``pattern`` is not looked at: who asked checks that again, and a foreign expression may
take for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from protocol import foreign
from protocol.cards.answer import storable
from protocol.cards.question import FREE_TEXT_CHARACTERS_MAX, Accepts, AnswerOption, Question

OPTIONS_MAX: Final = 100
TEXT_CHARACTERS_MAX: Final = 1_000
"""Of a title or a description."""
LABEL_CHARACTERS_MAX: Final = 100
YES, NO = "Yes", "No"


class CannotAsk(ValueError):
    """It can't be asked on a card; the text names what, for the agent."""


class FormField(Struct, frozen=True, kw_only=True):
    """A property of the schema, and that of a text beside it, if a card shows both as one."""

    key: str
    question: Question
    values: tuple[str, ...] = ()
    """Of its options, in their order."""
    text_key: str | None = None


def field_of(key: str, schema: Mapping[str, Any], *, required: bool) -> FormField:
    """Return the question that asks for the property *key*.

    Raises:
        CannotAsk: it is none that a card can ask.
    """
    title, description = text_of(schema, "title"), text_of(schema, "description")
    question = Question(
        question=description or title or key,
        header=title if description else "",
        free_text=False,
        required=required,
    )
    if _is_secret(schema):
        raise CannotAsk(f"property {key!r} is a secret, which nobody should write into a chat")
    match schema.get("type"):
        case "string" if "enum" in schema or "oneOf" in schema:
            return _choice(key, question, schema, schema)
        case "string":
            return FormField(key=key, question=_written(key, question, schema))
        case "number" | "integer" as kind:
            accepts = Accepts(
                kind=kind,
                least=_number(key, schema, "minimum"),
                most=_number(key, schema, "maximum"),
                written=_initial_number(schema.get("default")),
            )
            asked = replace(question, free_text=True, accepts=accepts)
            return FormField(key=key, question=asked)
        case "boolean":
            initial = schema.get("default")
            chosen = (0 if initial else 1,) if isinstance(initial, bool) else ()
            options = (AnswerOption(label=YES), AnswerOption(label=NO))
            accepts = Accepts(kind="boolean", chosen=chosen)
            asked = replace(question, options=options, accepts=accepts)
            return FormField(key=key, question=asked, values=(YES, NO))
        case "array" if isinstance(schema.get("items"), Mapping):
            return _choice(key, replace(question, multiple=True), schema["items"], schema)
        case other:
            raise CannotAsk(
                f"property {key!r} has the type {str(other)[:100]!r}; it can't be asked"
            )


def _is_secret(schema: Mapping[str, Any]) -> bool:
    codex = foreign.mapping(foreign.mapping(schema.get("_meta")).get("codex"))
    return codex.get("isSecret") is True or schema.get("format") == "password"


def _written(key: str, question: Question, schema: Mapping[str, Any]) -> Question:
    least, most = _number(key, schema, "minLength"), _number(key, schema, "maxLength")
    if least is not None and least > FREE_TEXT_CHARACTERS_MAX:
        raise CannotAsk(
            f"property {key!r} needs {least:g} characters; a card takes {FREE_TEXT_CHARACTERS_MAX}"
        )
    kind = schema.get("format")
    match kind:
        case "email" | "uri" | "date" | "date-time":
            accepts = Accepts(kind=kind, written=_initial(schema))
        case _:
            accepts = Accepts(least=least, most=most, written=_initial(schema))
    return replace(question, free_text=True, accepts=accepts)


def _choice(
    key: str, question: Question, listing: Mapping[str, Any], schema: Mapping[str, Any]
) -> FormField:
    """Read the options: plain values, or values with titles."""
    plain, titled = listing.get("enum"), listing.get("oneOf") or listing.get("anyOf")
    options: list[tuple[str, AnswerOption]] = []
    if isinstance(titled, list):
        options = [_titled(key, one) for one in titled]
    elif isinstance(plain, list):
        names = listing.get("enumNames")
        given = names if isinstance(names, list) and len(names) == len(plain) else plain
        options = [
            (str(value), AnswerOption(label=_label(name)))
            for value, name in zip(plain, given, strict=True)
        ]
    values = tuple(value for value, _ in options)
    if not 1 <= len(options) <= OPTIONS_MAX or len(set(values)) < len(values):
        raise CannotAsk(f"property {key!r} must offer 1 to {OPTIONS_MAX} different options")
    initial = schema.get("default")
    wanted = initial if isinstance(initial, list) else [initial]
    asked = replace(
        question,
        options=_distinct(options),
        accepts=Accepts(
            least=_number(key, schema, "minItems"),
            most=_number(key, schema, "maxItems"),
            chosen=tuple(at for at, value in enumerate(values) if value in wanted),
        ),
    )
    return FormField(key=key, question=asked, values=values)


def _titled(key: str, given: object) -> tuple[str, AnswerOption]:
    value = given.get("const") if isinstance(given, Mapping) else None
    if not isinstance(given, Mapping) or not isinstance(value, str):
        raise CannotAsk(f"property {key!r} has an option without a const")
    title, description = text_of(given, "title"), text_of(given, "description")
    before, dash, after = title.partition(" — ")
    if dash and before == value and not description:
        title, description = before, after  # how some describe an option
    return value, AnswerOption(label=_label(title or value), description=description)


def _distinct(options: Sequence[tuple[str, AnswerOption]]) -> tuple[AnswerOption, ...]:
    """Return the options, by their values where two labels are the same."""
    labels = [one.label for _, one in options]
    if len(set(labels)) == len(labels):
        return tuple(one for _, one in options)
    return tuple(
        replace(one, label=_label(f"{at}. {one.label}"))
        for at, (_, one) in enumerate(options, start=1)
    )


def text_of(given: Mapping[str, Any], key: str) -> str:
    text = foreign.text(given, key)
    if len(text) > TEXT_CHARACTERS_MAX:
        raise CannotAsk(f"{key} is longer than {TEXT_CHARACTERS_MAX} characters")
    return " ".join(storable(text).split())


def _label(given: object) -> str:
    text = " ".join(storable(str(given)).split()) or "–"
    return text if len(text) <= LABEL_CHARACTERS_MAX else f"{text[: LABEL_CHARACTERS_MAX - 1]}…"


def _number(key: str, schema: Mapping[str, Any], name: str) -> float | None:
    found = schema.get(name)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise CannotAsk(f"{name} of property {key!r} must be a number")
    return float(found)


def _initial(schema: Mapping[str, Any]) -> str:
    found = schema.get("default")
    return found[:FREE_TEXT_CHARACTERS_MAX] if isinstance(found, str) else ""


def _initial_number(found: object) -> str:
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    return f"{found:.15g}" if is_number else ""

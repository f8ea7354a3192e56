"""What an agent elicits by ``elicitation/create``, as questions on a card, and back. Pure.

A form's schema is one object of plain properties: texts, numbers, booleans, and choices of one
or several. What a card can't hold is refused by name, as *invalid params*, which shows the agent
more than an empty answer would. A ``pattern`` is not looked at: who asked checks that again, and
a foreign expression may take for ever. (Elicitation of the Agent Client Protocol, version 1, and
of MCP 2025-11-25, whose servers' requests agents pass on as they are.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from protocol.cards.answer import storable
from protocol.cards.question import (
    FREE_TEXT_CHARACTERS_MAX,
    Accepts,
    Answered,
    AnswerOption,
    Elicitation,
    Question,
    read_number,
)
from protocol.cards.question_card import URL_CHARACTERS_MAX

FIELDS_MAX: Final = 20
OPTIONS_MAX: Final = 100
MESSAGE_CHARACTERS_MAX: Final = 4_000
TEXT_CHARACTERS_MAX: Final = 1_000
"""Of a title or a description."""
LABEL_CHARACTERS_MAX: Final = 100
YES, NO = "Yes", "No"

FieldValue = str | int | float | bool | list[str]
ElicitedAction = Literal["accept", "decline", "cancel"]


class CannotAsk(ValueError):
    """It can't be asked on a card; the text names what, for the agent."""


class _Field(Struct, frozen=True, kw_only=True):
    """A property of the schema, and that of a text beside it, if a card shows both as one."""

    key: str
    question: Question
    values: tuple[str, ...] = ()
    """Of its options, in their order."""
    text_key: str | None = None


class Form(Struct, frozen=True, kw_only=True):
    """A request that can be asked."""

    elicited: Elicitation
    fields: tuple[_Field, ...] = ()
    elicitation_id: str | None = None
    """Of an address that is opened: its end is notified under this id."""


def read_request(params: Mapping[str, Any]) -> Form:
    """Read ``elicitation/create``.

    Raises:
        CannotAsk: its mode or a property of its schema is none that a card can ask.
    """
    message = _message(params.get("message"))
    match params.get("mode", "form"):
        case "form":
            return _form(message, params.get("requestedSchema"))
        case "url":
            elicitation_id = params.get("elicitationId")
            return Form(
                elicited=Elicitation(message=message, url=web_address(params.get("url"))),
                elicitation_id=elicitation_id if isinstance(elicitation_id, str) else None,
            )
        case other:
            raise CannotAsk(f"mode {str(other)[:100]!r} is not supported; form and url are")


def answer(form: Form, action: ElicitedAction, given: Sequence[Answered] = ()) -> dict[str, Any]:
    """Return the result of the request."""
    if action != "accept":
        return {"action": action}
    content: dict[str, FieldValue] = {}
    for field, one in zip(form.fields, given, strict=False):
        content |= _values(field, one)
    return {"action": "accept"} | ({"content": content} if form.elicited.url is None else {})


# ── from the schema ─────────────────────────────────────────────────────────


def _form(message: str, schema: object) -> Form:
    if not isinstance(schema, Mapping) or schema.get("type", "object") != "object":
        raise CannotAsk("requestedSchema must be an object schema")
    properties = schema.get("properties") or {}
    if not isinstance(properties, Mapping) or len(properties) > FIELDS_MAX:
        raise CannotAsk(f"requestedSchema.properties must be an object of {FIELDS_MAX} at most")
    needed = schema.get("required")
    required = frozenset(needed if isinstance(needed, list) else ())
    fields: list[_Field] = []
    for key, one in properties.items():
        if not isinstance(one, Mapping):
            raise CannotAsk(f"property {key!r} must be an object")
        if fields and _is_text_of(fields[-1], key, one, required):
            fields[-1] = _with_text(fields[-1], key)
        else:
            fields.append(_field(str(key), one, required=key in required))
    if len(fields) == 1 and _asks_alone(message, properties[fields[0].key]):
        (field,) = fields
        title = _text(properties[field.key], "title")
        asked = replace(field.question, question=message, header=title)
        fields, message = [replace(field, question=asked)], ""
    questions = tuple(field.question for field in fields)
    return Form(elicited=Elicitation(message=message, questions=questions), fields=tuple(fields))


def _is_text_of(
    field: _Field, key: object, schema: Mapping[str, Any], required: frozenset[object]
) -> bool:
    """Whether a property is the text that can be written beside the options before it.

    Agents ask so for *something else*: ``question_0`` and ``question_0_custom``, or ``_note``.
    """
    return (
        bool(field.values)
        and field.text_key is None
        and str(key).startswith(f"{field.key}_")
        and schema.get("type") == "string"
        and not any(schema.get(one) for one in ("enum", "oneOf", "format", "default"))
        and key not in required
    )


def _with_text(field: _Field, key: object) -> _Field:
    return replace(field, text_key=str(key), question=replace(field.question, free_text=True))


def _asks_alone(message: str, schema: Mapping[str, Any]) -> bool:
    """Whether the message is the question, and the property holds no more than a title."""
    is_line = 0 < len(message) <= TEXT_CHARACTERS_MAX and "\n" not in message
    return is_line and not _text(schema, "description")


def _field(key: str, schema: Mapping[str, Any], *, required: bool) -> _Field:
    title, description = _text(schema, "title"), _text(schema, "description")
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
            return _Field(key=key, question=_written(key, question, schema))
        case "number" | "integer" as kind:
            accepts = Accepts(
                kind=kind,
                least=_number(key, schema, "minimum"),
                most=_number(key, schema, "maximum"),
                written=_initial_number(schema.get("default")),
            )
            asked = replace(question, free_text=True, accepts=accepts)
            return _Field(key=key, question=asked)
        case "boolean":
            initial = schema.get("default")
            chosen = (0 if initial else 1,) if isinstance(initial, bool) else ()
            options = (AnswerOption(label=YES), AnswerOption(label=NO))
            accepts = Accepts(kind="boolean", chosen=chosen)
            asked = replace(question, options=options, accepts=accepts)
            return _Field(key=key, question=asked, values=(YES, NO))
        case "array" if isinstance(schema.get("items"), Mapping):
            return _choice(key, replace(question, multiple=True), schema["items"], schema)
        case other:
            raise CannotAsk(
                f"property {key!r} has the type {str(other)[:100]!r}; it can't be asked"
            )


def _is_secret(schema: Mapping[str, Any]) -> bool:
    meta = schema.get("_meta")
    codex = meta.get("codex") if isinstance(meta, Mapping) else None
    marked = isinstance(codex, Mapping) and codex.get("isSecret") is True
    return marked or schema.get("format") == "password"


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
) -> _Field:
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
    return _Field(key=key, question=asked, values=values)


def _titled(key: str, given: object) -> tuple[str, AnswerOption]:
    value = given.get("const") if isinstance(given, Mapping) else None
    if not isinstance(given, Mapping) or not isinstance(value, str):
        raise CannotAsk(f"property {key!r} has an option without a const")
    title, description = _text(given, "title"), _text(given, "description")
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


def web_address(url: object) -> str:
    """Return an address that a browser opens, as it is.

    Raises:
        CannotAsk: it is none, or can't be read letter by letter.
    """
    text = url if isinstance(url, str) else ""
    try:
        parts = urlsplit(text)
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_web = False
    if not is_web or len(text) > URL_CHARACTERS_MAX or not text.isascii() or not text.isprintable():
        raise CannotAsk(
            f"url must be an http or https address in ASCII of {URL_CHARACTERS_MAX} characters at"
            " most"
        )
    return text


# ── from the card ───────────────────────────────────────────────────────────


def _values(field: _Field, given: Answered) -> dict[str, FieldValue]:
    """Return the properties that an answer gives; what was left out has none."""
    question = field.question
    labels = [one.label for one in question.options]
    chosen = [field.values[labels.index(one)] for one in given.labels if one in labels]
    values: dict[str, FieldValue] = {}
    if question.accepts.kind == "boolean":
        if chosen:
            values[field.key] = chosen[0] == YES
    elif question.multiple:
        if chosen or question.required:
            values[field.key] = chosen
    elif chosen:
        values[field.key] = chosen[0]
    if given.text and field.text_key is not None:
        values[field.text_key] = given.text
    elif given.text and not question.options:
        value = _read(question, given.text)
        if value is not None:
            values[field.key] = value
    return values


def _read(question: Question, text: str) -> FieldValue | None:
    match question.accepts.kind:
        case "number" | "integer" as kind:
            return read_number(text, kind)
    return text


# ── reading ─────────────────────────────────────────────────────────────────


def _text(given: Mapping[str, Any], key: str) -> str:
    found = given.get(key)
    text = found if isinstance(found, str) else ""
    if len(text) > TEXT_CHARACTERS_MAX:
        raise CannotAsk(f"{key} is longer than {TEXT_CHARACTERS_MAX} characters")
    return " ".join(storable(text).split())


def _message(given: object) -> str:
    text = given.strip() if isinstance(given, str) else ""
    if len(text) > MESSAGE_CHARACTERS_MAX:
        raise CannotAsk(f"message is longer than {MESSAGE_CHARACTERS_MAX} characters")
    return storable(text)


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

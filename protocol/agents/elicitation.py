"""What an agent elicits by ``elicitation/create``, as questions on a card, and back. Pure.

What can't be asked is refused by name, as *invalid params*, which shows the agent more than an
empty answer would. (Elicitation of the Agent Client Protocol, version 1, and of MCP 2025-11-25,
whose servers' requests agents pass on as they are.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from protocol.agents.form_fields import (
    TEXT_CHARACTERS_MAX,
    YES,
    CannotAsk,
    FormField,
    field_of,
    text_of,
)
from protocol.cards.answer import storable
from protocol.cards.question import Answered, Elicitation, Question, read_number
from protocol.cards.question_card import URL_CHARACTERS_MAX

FIELDS_MAX: Final = 20
MESSAGE_CHARACTERS_MAX: Final = 4_000

FieldValue = str | int | float | bool | list[str]
ElicitedAction = Literal["accept", "decline", "cancel"]


class Form(Struct, frozen=True, kw_only=True):
    """A request that can be asked."""

    elicited: Elicitation
    fields: tuple[FormField, ...] = ()
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


def _message(given: object) -> str:
    text = given.strip() if isinstance(given, str) else ""
    if len(text) > MESSAGE_CHARACTERS_MAX:
        raise CannotAsk(f"message is longer than {MESSAGE_CHARACTERS_MAX} characters")
    return storable(text)


def _form(message: str, schema: object) -> Form:
    if not isinstance(schema, Mapping) or schema.get("type", "object") != "object":
        raise CannotAsk("requestedSchema must be an object schema")
    properties = schema.get("properties") or {}
    if not isinstance(properties, Mapping) or len(properties) > FIELDS_MAX:
        raise CannotAsk(f"requestedSchema.properties must be an object of {FIELDS_MAX} at most")
    needed = schema.get("required")
    required = frozenset(needed if isinstance(needed, list) else ())
    fields: list[FormField] = []
    for key, one in properties.items():
        if not isinstance(one, Mapping):
            raise CannotAsk(f"property {key!r} must be an object")
        if fields and _is_text_of(fields[-1], key, one, required):
            fields[-1] = _with_text(fields[-1], key)
        else:
            fields.append(field_of(str(key), one, required=key in required))
    if len(fields) == 1 and _asks_alone(message, properties[fields[0].key]):
        (field,) = fields
        title = text_of(properties[field.key], "title")
        asked = replace(field.question, question=message, header=title)
        fields, message = [replace(field, question=asked)], ""
    questions = tuple(field.question for field in fields)
    return Form(elicited=Elicitation(message=message, questions=questions), fields=tuple(fields))


def _is_text_of(
    field: FormField, key: object, schema: Mapping[str, Any], required: frozenset[object]
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


def _with_text(field: FormField, key: object) -> FormField:
    return replace(field, text_key=str(key), question=replace(field.question, free_text=True))


def _asks_alone(message: str, schema: Mapping[str, Any]) -> bool:
    """Whether the message is the question, and the property holds no more than a title."""
    is_line = 0 < len(message) <= TEXT_CHARACTERS_MAX and "\n" not in message
    return is_line and not text_of(schema, "description")


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


def _values(field: FormField, given: Answered) -> dict[str, FieldValue]:
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

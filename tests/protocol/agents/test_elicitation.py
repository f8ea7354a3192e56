"""What agents elicit: read into questions, refused by name, answered in the schema's types."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actors.sandbox.cardschema import check_card
from protocol.agents.elicitation import Form, answer, read_request
from protocol.agents.form_fields import CannotAsk
from protocol.cards.question import Accepts, Answered, problem, read_answers
from protocol.cards.question_card import DECLINE, OPEN, action_of, closed_card, elicited_card
from protocol.ids import OpenId
from protocol.strings import on_card

Map = dict[str, Any]


def form(message: str = "Please answer", required: tuple[str, ...] = (), **properties: Map) -> Form:
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return read_request({"mode": "form", "message": message, "requestedSchema": schema})


def submitted(asked: Form, values: Map) -> Map:
    """Return the result where a person sends the form with these values."""
    answers = read_answers(asked.elicited.questions, values) or ()
    return answer(asked, "accept", answers)


def test_questions_of_claude_are_a_choice_with_a_text_beside_it() -> None:
    """As claude-agent-acp 0.49 writes its tool AskUserQuestion."""
    options = [
        {"const": "Red", "title": "Red — like fire"},
        {"const": "Blue", "title": "Blue"},
    ]
    asked = form(
        "Which colour?",
        question_0={"type": "string", "title": "Colour", "oneOf": options},
        question_0_custom={"type": "string", "title": "Other", "description": "Type your own"},
    )
    (question,) = asked.elicited.questions
    assert (question.header, question.question) == ("Colour", "Which colour?")
    assert asked.elicited.message == ""
    assert [(one.label, one.description) for one in question.options] == [
        ("Red", "like fire"),
        ("Blue", ""),
    ]
    assert question.free_text
    assert submitted(asked, {"choice_0": "1", "text_0": ""})["content"] == {"question_0": "Blue"}
    assert submitted(asked, {"text_0": "green"})["content"] == {"question_0_custom": "green"}
    assert submitted(asked, {})["content"] == {}


def test_every_type_is_answered_in_its_own() -> None:
    asked = form(
        required=("tags", "name"),
        name={"type": "string", "description": "Who?"},
        size={"type": "number", "default": 1.5},
        count={"type": "integer", "minimum": 1},
        sure={"type": "boolean", "default": False},
        plain={"type": "string", "enum": ["a", "b"], "enumNames": ["Ay", "Bee"], "default": "b"},
        tags={"type": "array", "items": {"type": "string", "enum": ["x", "y"]}, "maxItems": 1},
        titled={"type": "array", "items": {"anyOf": [{"const": "1", "title": "One"}]}},
    )
    values = {
        "text_0": "Ann",
        "text_1": "2.5",
        "text_2": "1,000",
        "choice_3": "0",
        "choice_4": "0",
        "choice_5": ["1"],
        "choice_6": ["0"],
    }
    assert submitted(asked, values) == {
        "action": "accept",
        "content": {
            "name": "Ann",
            "size": 2.5,
            "count": 1000,
            "sure": True,
            "plain": "a",
            "tags": ["y"],
            "titled": ["1"],
        },
    }
    assert [one.label for one in asked.elicited.questions[4].options] == ["Ay", "Bee"]
    assert [one.accepts.written for one in asked.elicited.questions[:3]] == ["", "1.5", ""]
    assert [one.accepts.chosen for one in asked.elicited.questions[3:]] == [(1,), (1,), (), ()]
    card = elicited_card("q_1", asked.elicited)
    check_card(json.loads(card))
    assert card.count('"required":true') == 2


@pytest.mark.parametrize(
    ("schema", "text", "why"),
    [
        ({"type": "string", "minLength": 2}, "a", "v: number of characters, 2 or more"),
        ({"type": "string", "maxLength": 2}, "abc", "v: number of characters, 2 or less"),
        ({"type": "integer"}, "1.5", "v: a whole number is needed"),
        ({"type": "integer"}, "15", None),
        ({"type": "number", "minimum": 0}, "1.5", None),
        ({"type": "number", "minimum": 0, "maximum": 1}, "2", "v: a number is needed, from 0 to 1"),
        ({"type": "number", "maximum": 1_000_000}, "nan", "v: a number is needed, 1000000 or less"),
        ({"type": "string", "format": "email"}, "ann", "v: an e-mail address is needed."),
        ({"type": "string", "format": "uri"}, "no", "v: a web address is needed."),
        ({"type": "string", "format": "date"}, "31.1.", "v: a date such as 2026-01-31 is needed."),
        (
            {"type": "string", "format": "date-time"},
            "2026-01-31",
            "v: a time such as 2026-01-31T09:30:00+08:00 is needed.",
        ),
        (
            {"type": "string", "format": "date-time"},
            "Tuesday",
            "v: a time such as 2026-01-31T09:30:00+08:00 is needed.",
        ),
        ({"type": "string"}, "", "v: an answer is needed."),
        ({"type": "string", "format": "email"}, "ann@example.com", None),
        ({"type": "string", "format": "uri"}, "https://example.com/a", None),
        ({"type": "string", "format": "date"}, "2026-01-31", None),
        ({"type": "string", "format": "date-time"}, "2026-01-31T09:30:00Z", None),
        ({"type": "string", "pattern": "(a+)+$"}, "b", None),
    ],
)
def test_what_is_not_as_asked_is_shown_to_who_wrote_it(
    schema: Map, text: str, why: str | None
) -> None:
    (question,) = form("", required=("v",), v=schema).elicited.questions
    found = problem(question, Answered(text=text))
    assert (None if found is None else found.en) == why


def test_a_choice_has_its_limits_too() -> None:
    items = {"type": "string", "enum": ["x", "y", "z"]}
    least = form("", v={"type": "array", "items": items, "minItems": 2}).elicited.questions[0]
    assert problem(least, Answered()) is None, "it may be left out"
    few = problem(least, Answered(labels=("x",)))
    assert few is not None
    assert few.en == "v: number of options, 2 or more"
    asked = form("", required=("v",), v={"type": "array", "items": items, "maxItems": 2})
    (question,) = asked.elicited.questions
    assert question.accepts == Accepts(most=2.0)
    none, many = Answered(), Answered(labels=("x", "y", "z"))
    assert [str(getattr(problem(question, one), "en", None)) for one in (none, many)] == [
        "v: an answer is needed.",
        "v: number of options, 2 or less",
    ]
    assert problem(question, Answered(labels=("x", "y"))) is None


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"mode": "voice"}, "mode 'voice' is not supported; form and url are"),
        ({"requestedSchema": {"type": "array"}}, "requestedSchema must be an object schema"),
        ({"requestedSchema": {"properties": {"a": 1}}}, "property 'a' must be an object"),
        ({"requestedSchema": {"properties": {"a": {"type": "object"}}}}, "has the type 'object'"),
        ({"requestedSchema": {"properties": {"a": {"type": "array"}}}}, "has the type 'array'"),
        (
            {"requestedSchema": {"properties": {"a": {"type": "string", "enum": []}}}},
            "property 'a' must offer 1 to 100 different options",
        ),
        (
            {"requestedSchema": {"properties": {"a": {"type": "string", "oneOf": [{}]}}}},
            "property 'a' has an option without a const",
        ),
        (
            {"requestedSchema": {"properties": {"a": {"type": "string", "minLength": 2000}}}},
            "property 'a' needs 2000 characters; a card takes 1000",
        ),
        (
            {"requestedSchema": {"properties": {"a": {"type": "string", "format": "password"}}}},
            "property 'a' is a secret",
        ),
        (
            {
                "requestedSchema": {
                    "properties": {"a": {"type": "string", "_meta": {"codex": {"isSecret": True}}}}
                }
            },
            "property 'a' is a secret",
        ),
        (
            {"requestedSchema": {"properties": {str(n): {"type": "string"} for n in range(21)}}},
            "must be an object of 20 at most",
        ),
        ({"message": "m" * 5_000, "requestedSchema": {}}, "message is longer than 4000"),
        ({"mode": "url", "url": "javascript:alert(1)"}, "url must be an http or https address"),
        ({"mode": "url", "url": "https://раypal.com"}, "url must be an http or https address"),
        ({"mode": "url", "url": "https://[x"}, "url must be an http or https address"),
        ({"mode": "url"}, "url must be an http or https address"),
    ],
)
def test_what_a_card_can_not_ask_is_refused_by_name(params: Map, why: str) -> None:
    with pytest.raises(CannotAsk) as refused:
        read_request(params)
    assert why in str(refused.value)


def test_a_message_alone_is_confirmed_or_declined() -> None:
    asked = form("Go on?")
    assert answer(asked, "accept", read_answers(asked.elicited.questions, {}) or ()) == {
        "action": "accept",
        "content": {},
    }
    assert answer(asked, "decline") == {"action": "decline"}
    assert answer(asked, "cancel") == {"action": "cancel"}


def test_an_address_is_whole_on_its_card_and_opened_by_a_button() -> None:
    params = {"mode": "url", "message": "Log in", "url": "https://a.example/x?y=_1_"}
    asked = read_request(params | {"elicitationId": "e-1"})
    assert asked.elicitation_id == "e-1"
    card = json.loads(elicited_card("q_1", asked.elicited))
    check_card(card)
    buttons = [one for one in card["body"]["elements"] if one["tag"] == "button"]
    values = [button["behaviors"][-1]["value"] for button in buttons]
    assert [action_of(value) for value in values] == [OPEN, DECLINE]
    assert action_of({"action": "something else"}) is None
    assert buttons[0]["behaviors"][0] == {"type": "open_url", "default_url": params["url"]}
    assert answer(asked, "accept") == {"action": "accept"}


def test_a_closed_card_has_no_button_and_fits_whatever_was_asked() -> None:
    properties = {f"p{n}": {"type": "string", "description": "*" * 1_000} for n in range(20)}
    asked = form("#" * 4_000, (), **properties)
    answers = tuple(Answered(text="_" * 1_000) for _ in properties)
    card = closed_card(asked.elicited, on_card.QUESTION_DECLINED, answers, OpenId("ou_1"))
    assert len(card.encode()) <= 30 * 1024
    check_card(json.loads(card))
    assert '"button"' not in card


def test_labels_that_are_the_same_are_made_distinct() -> None:
    options = [{"const": "1", "title": "Same"}, {"const": "2", "title": "Same"}]
    asked = form("", v={"type": "string", "oneOf": options})
    (question,) = asked.elicited.questions
    assert [one.label for one in question.options] == ["1. Same", "2. Same"]
    assert submitted(asked, {"choice_0": "1"})["content"] == {"v": "2"}


def test_a_title_is_the_head_of_a_question_that_has_a_description() -> None:
    colour = {"type": "string", "title": "Colour", "description": "Which do you like?"}
    asked = form("Two things", colour=colour, size={"type": "string", "title": "Size"})
    shown = [(one.header, one.question) for one in asked.elicited.questions]
    assert shown == [("Colour", "Which do you like?"), ("", "Size")]


@pytest.mark.parametrize(
    "of_its_own", [{"enum": ["a"]}, {"oneOf": [{"const": "a"}]}, {"format": "email"}]
)
def test_a_text_with_rules_of_its_own_is_not_the_one_beside_the_options(of_its_own: Map) -> None:
    options = {"type": "string", "enum": ["x", "y"]}
    asked = form(what=options, what_note={"type": "string", **of_its_own})
    assert len(asked.elicited.questions) == 2


def test_an_address_without_encryption_is_one_too() -> None:
    asked = read_request({"mode": "url", "message": "", "url": "http://localhost:8080/"})
    assert asked.elicited.url == "http://localhost:8080/"


def test_a_yes_or_no_is_chosen_beforehand_only_where_the_agent_chose_it() -> None:
    asked = form(
        a={"type": "boolean"},
        b={"type": "boolean", "default": True},
        c={"type": "boolean", "default": False},
        d={"type": "boolean", "default": "yes"},
    )
    assert [one.accepts.chosen for one in asked.elicited.questions] == [(), (0,), (1,), ()]

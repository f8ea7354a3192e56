"""Questions on a card: what can be asked, what a form's values answer, what is shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actors.sandbox.cardschema import check_card
from protocol.cards.question import (
    Answered,
    BadQuestions,
    Elicitation,
    content,
    question_of,
    read_answers,
    read_questions,
)
from protocol.cards.question_card import closed_card, open_card
from protocol.ids import OpenId
from protocol.strings import on_card

TWO: list[dict[str, Any]] = [{"label": "Yes"}, {"label": "No"}]
COLOUR = {"question": "Which colour?", "options": [{"label": "Red"}, {"label": "Blue"}]}
PARTS = {
    "question": "Which parts?",
    "header": "Scope",
    "options": [{"label": "API", "description": "the server"}, {"label": "UI"}, {"label": "Docs"}],
    "multiple": True,
}


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (None, "missing or empty required argument: questions"),
        ([], "missing or empty required argument: questions"),
        ("why?", "questions must be a list of 1 to 4"),
        ([COLOUR] * 5, "questions must be a list of 1 to 4"),
        (["why?"], "each of questions must be an object"),
        ([{"options": TWO}], "missing or empty required argument: question"),
        ([{"question": " ", "options": TWO}], "missing or empty required argument: question"),
        ([{"question": "why?"}], "missing or empty required argument: options"),
        ([{"question": "why?", "options": TWO[:1]}], "options must be a list of 2 to 8"),
        ([{"question": "why?", "options": TWO * 5}], "options must be a list of 2 to 8"),
        (
            [{"question": "why?", "options": [{"label": "Yes"}, {"label": ""}]}],
            "missing or empty required argument: label",
        ),
        (
            [{"question": "why?", "options": ["Yes", "No"]}],
            "each of options must be an object with a label",
        ),
        (
            [{"question": "why?", "options": TWO[:1] * 2}],
            "the labels of one question's options must differ",
        ),
        (
            [{"question": "why?", "options": TWO, "multiple": "yes"}],
            "multiple must be true or false",
        ),
        (
            [{"question": "x" * 1001, "options": TWO}],
            "question must be a text of 1000 characters at most",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(given: object, error: str) -> None:
    with pytest.raises(BadQuestions) as refused:
        read_questions(given)
    assert str(refused.value) == error


@pytest.mark.parametrize(
    ("form_value", "lines"),
    [
        ({"choice_0": "1", "text_0": ""}, ["Which colour?: Blue", "Which parts?:"]),
        (
            {"choice_0": "0", "text_0": "a dark\none", "choice_1": ["2", "0"], "text_1": ""},
            ["Which colour?: Red; a dark one", "Which parts?: API, Docs"],
        ),
        ({"text_1": "neither"}, ["Which colour?:", "Which parts?: neither"]),
        ({"choice_0": ["1", "0"]}, ["Which colour?: Red", "Which parts?:"]),
        ({"choice_0": "7", "choice_1": ["x", "1"]}, ["Which colour?:", "Which parts?: UI"]),
    ],
)
def test_an_answer_is_one_line_a_question(form_value: dict[str, Any], lines: list[str]) -> None:
    questions = read_questions([COLOUR, PARTS])
    answers = read_answers(questions, form_value)
    assert answers is not None
    assert content(Elicitation(questions=questions), answers).split("\n") == lines


@pytest.mark.parametrize("form_value", [{}, {"choice_0": "", "choice_1": [], "text_0": " "}])
def test_a_form_without_anything_is_no_answer(form_value: dict[str, Any]) -> None:
    assert read_answers(read_questions([COLOUR, PARTS]), form_value) is None


def test_every_card_is_one_the_platform_takes_and_mentions_nobody() -> None:
    asked = {
        "question": "<at id=all></at>" * 15,
        "header": "*" * 100,
        "multiple": True,
        "options": [{"label": f"{n}{'&' * 40}", "description": "_" * 40} for n in range(8)],
    }
    questions = read_questions([asked] * 4)
    labels = tuple(one.label for one in questions[0].options)
    answers = (Answered(labels=labels, text="#" * 1_000),) * 4
    for card in (
        open_card("q_1", questions),
        closed_card(
            Elicitation(questions=questions),
            on_card.QUESTION_ANSWERED,
            answers,
            OpenId("ou_1"),
        ),
    ):
        assert len(card.encode()) <= 30 * 1024
        check_card(json.loads(card))
        assert "<at id=all" not in card


def test_questions_too_long_for_a_card_are_refused() -> None:
    longest = {
        "question": "*" * 1_000,
        "options": [{"label": f"{n}", "description": "_" * 300} for n in range(8)],
    }
    with pytest.raises(BadQuestions, match="too long for one card"):
        open_card("q_1", read_questions([longest] * 4))


@pytest.mark.parametrize(
    ("value", "question"),
    [
        ({"larkd": "answer", "question": "q-1"}, "q-1"),
        ({"larkd": "answer"}, None),
        ({"larkd": "answer", "question": 3}, None),
        ({"larkd": "stop", "question": "q-1"}, None),
        ({}, None),
    ],
)
def test_a_press_names_the_question_it_answers(value: dict[str, Any], question: str | None) -> None:
    assert question_of(value) == question


def test_the_form_offers_each_choice_by_its_number() -> None:
    card = json.loads(open_card("q-1", read_questions([COLOUR, PARTS])))
    (form,) = card["body"]["elements"]
    choices = [one for one in form["elements"] if "options" in one]
    assert [(one["tag"], one["name"], one["width"]) for one in choices] == [
        ("select_static", "choice_0", "fill"),
        ("multi_select_static", "choice_1", "fill"),
    ]
    assert choices[0]["options"] == [
        {"text": {"tag": "plain_text", "content": "Red"}, "value": "0"},
        {"text": {"tag": "plain_text", "content": "Blue"}, "value": "1"},
    ]
    assert choices[0]["placeholder"]["content"] == "Choose one"
    assert choices[1]["placeholder"]["content"] == "Choose any"

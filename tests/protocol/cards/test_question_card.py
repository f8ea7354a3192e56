"""Question cards as a client is given them, whole, in both languages."""

from __future__ import annotations

import json
from typing import Any

from protocol.cards.question import Accepts, Answered, AnswerOption, Elicitation, Question
from protocol.cards.question_card import closed_card, elicited_card
from protocol.ids import OpenId
from protocol.strings import Text

AGREED = Question(
    question="Agreed?",
    header="Last *one*",
    options=(AnswerOption(label="true"), AnswerOption(label="false")),
    free_text=False,
    required=True,
    accepts=Accepts(kind="boolean", chosen=(1,)),
)
PARTS = Question(
    question="Which?",
    options=(AnswerOption(label="API", description="a_b"), AnswerOption(label="UI")),
    multiple=True,
    accepts=Accepts(chosen=(0, 1)),
)
PORT = Question(question="Port", required=True, accepts=Accepts(kind="integer", written="80"))


def both(en: str, zh: str, **node: Any) -> dict[str, Any]:
    return {**node, "content": en, "i18n_content": {"en_us": en, "zh_cn": zh}}


def plain(en: str, zh: str) -> dict[str, Any]:
    return both(en, zh, tag="plain_text")


def callback(**action: str) -> dict[str, Any]:
    return {"type": "callback", "value": {"larkd": "answer", "question": "q_1", **action}}


def card(*elements: dict[str, Any], en: str, zh: str) -> dict[str, Any]:
    return {
        "schema": "2.0",
        "config": {"update_multi": True, "summary": both(en, zh)},
        "body": {"elements": list(elements)},
    }


DECLINE = {
    "tag": "button",
    "element_id": "decline",
    "type": "default",
    "text": plain("Decline", "拒绝回答"),
    "behaviors": [callback(action="decline")],
}


def test_a_form_holds_each_question_with_what_stands_there_at_first() -> None:
    asked = Elicitation(message="two\n<lines>", questions=(AGREED, PARTS, PORT))
    form = {
        "tag": "form",
        "name": "questions",
        "elements": [
            {"tag": "markdown", "content": "**Last &#42;one&#42;**\nAgreed? &#42;"},
            {
                "tag": "select_static",
                "name": "choice_0",
                "width": "fill",
                "placeholder": plain("Choose one", "请选择一项"),
                "options": [
                    {"text": plain("Yes", "是"), "value": "0"},
                    {"text": plain("No", "否"), "value": "1"},
                ],
                "initial_option": "1",
                "required": True,
            },
            {"tag": "markdown", "content": "Which?\n- **API** a&#95;b"},
            {
                "tag": "multi_select_static",
                "name": "choice_1",
                "width": "fill",
                "placeholder": plain("Choose any", "可选择多项"),
                "options": [
                    {"text": {"tag": "plain_text", "content": "API"}, "value": "0"},
                    {"text": {"tag": "plain_text", "content": "UI"}, "value": "1"},
                ],
                "selected_values": ["0", "1"],
            },
            {
                "tag": "input",
                "name": "text_1",
                "width": "fill",
                "max_length": 1_000,
                "placeholder": plain("Or write something", "也可以直接填写"),
            },
            {"tag": "markdown", "content": "Port &#42;"},
            {
                "tag": "input",
                "name": "text_2",
                "width": "fill",
                "max_length": 1_000,
                "placeholder": plain("A whole number", "整数"),
                "default_value": "80",
                "required": True,
            },
            {
                "tag": "button",
                "element_id": "submit",
                "name": "submit",
                "type": "primary_filled",
                "form_action_type": "submit",
                "text": plain("Send", "提交"),
                "behaviors": [callback()],
            },
        ],
    }
    message = {"tag": "markdown", "content": "two\n&#60;lines&#62;"}
    assert json.loads(elicited_card("q_1", asked)) == card(
        message, form, DECLINE, en="A question for you", zh="有问题需要您回答"
    )


def test_an_address_is_shown_whole_beside_the_button_that_opens_it() -> None:
    url = "https://example.com/a_b"
    button = {
        "tag": "button",
        "element_id": "open",
        "type": "primary_filled",
        "text": plain("Open", "打开链接"),
        "behaviors": [{"type": "open_url", "default_url": url}, callback(action="open")],
    }
    address = {"tag": "markdown", "content": "https://example.com/a&#95;b"}
    assert json.loads(elicited_card("q_1", Elicitation(url=url))) == card(
        address, button, DECLINE, en="A question for you", zh="有问题需要您回答"
    )


def test_a_closed_card_has_the_answers_and_who_gave_them() -> None:
    asked = Elicitation(message="please", questions=(AGREED, PARTS), url="https://x.y")
    answers = (Answered(labels=("true",)), Answered())
    shown = json.loads(closed_card(asked, Text("Answered", "已回答"), answers, OpenId("ou_1")))
    by = " <at id=ou_1></at>"
    assert shown == card(
        *(
            {"tag": "markdown", "content": one}
            for one in (
                "please",
                "https://x.y",
                "**Last &#42;one&#42;**\nAgreed? &#42;\ntrue",
                "Which?\n–",
            )
        ),
        both(f"Answered{by}", f"已回答{by}", tag="markdown", text_size="notation"),
        en="Answered",
        zh="已回答",
    )


def test_what_does_not_fit_a_closed_card_is_shown_by_its_beginning() -> None:
    long = "*" * 9_000
    asked = Elicitation(message=long, questions=(Question(question="*" * 1_000),) * 4)
    answers = (Answered(text="#" * 1_000),) * 4
    shown = closed_card(asked, Text("Answered", "已回答"), answers)
    assert 14 * 1024 < len(shown.encode()) <= 28 * 1024
    assert len(json.loads(shown)["body"]["elements"]) == 6, "each question, and the verdict"

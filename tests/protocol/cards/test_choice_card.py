"""The card of choices, and what a press on it means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from protocol.cards.choice_card import BUTTONS_MAX, CARD_BYTES_MAX, Asked, choice_card, read_press
from protocol.ids import ChatId, EventId, MessageId, OpenId, SessionId
from protocol.platform.events import CardAction
from protocol.wire.messages import Choice, Option

ASKED = Asked(session_id=SessionId("s-1"), kind="mode", chat_id=ChatId("oc_1"), chat_type="group")
PLAN = Choice(id="plan", name="Plan*", description="Reads, writes nothing")
CODE = Choice(id="code", name="Code")


def card_of(*choices: Choice, value: str = "code", asked: Asked = ASKED) -> dict[str, Any]:
    option = Option(id="o", name="Mode", kind="mode", value=value, choices=list(choices))
    card: dict[str, Any] = json.loads(choice_card(option, asked))
    return card


def elements_of(card: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    return [one for one in card["body"]["elements"] if one["tag"] == tag]


def press(value: dict[str, Any], chat: str = "oc_1") -> CardAction:
    return CardAction(
        event_id=EventId("e"),
        operator_id=OpenId("ou_1"),
        message_id=MessageId("om_1"),
        chat_id=ChatId(chat),
        value=value,
        form_value={},
    )


def test_the_card_is_a_button_a_choice_with_the_current_one_marked() -> None:
    both = {"content": "Mode: Code", "i18n_content": {"en_us": "Mode: Code", "zh_cn": "模式：Code"}}
    about = "Plan&#42; – Reads, writes nothing"
    assert card_of(PLAN, CODE) == {
        "schema": "2.0",
        "config": {"update_multi": True, "summary": both},
        "body": {
            "elements": [
                {"tag": "markdown", "element_id": "title", **both},
                {
                    "tag": "markdown",
                    "element_id": "about",
                    "content": about,
                    "text_size": "notation",
                },
                button(0, "Plan*", "plan", "default"),
                button(1, "● Code", "code", "primary_filled"),
            ]
        },
    }


def button(number: int, label: str, choice: str, shown_as: str) -> dict[str, Any]:
    value = {
        "larkd": "choose",
        "session": "s-1",
        "kind": "mode",
        "choice": choice,
        "chat": "oc_1",
        "type": "group",
    }
    return {
        "tag": "button",
        "element_id": f"choice_{number}",
        "type": shown_as,
        "width": "fill",
        "text": {"tag": "plain_text", "content": label},
        "behaviors": [{"type": "callback", "value": value}],
    }


def test_choices_without_a_description_have_no_lines_above_them() -> None:
    markdown = elements_of(card_of(CODE, value="gone"), "markdown")
    assert [one["element_id"] for one in markdown] == ["title"]
    assert markdown[0]["content"] == "Mode: gone"


def test_what_has_no_button_is_counted() -> None:
    card = card_of(*(Choice(id=f"m{at}", name=f"M{at}") for at in range(BUTTONS_MAX + 3)))
    assert len(elements_of(card, "button")) == BUTTONS_MAX
    more = elements_of(card, "markdown")[-1]
    assert (more["element_id"], more["text_size"]) == ("more", "notation")
    assert more["content"] == "3 more: send /mode and a name."


def test_long_choices_keep_the_card_below_what_the_platform_takes() -> None:
    long = [
        Choice(id="i" * 900 + str(at), name="名" * 200, description="述" * 500) for at in range(40)
    ]
    option = Option(id="o", name="Mode", kind="mode", value="", choices=long)
    card = choice_card(option, ASKED)
    shown = elements_of(json.loads(card), "button")
    assert 10 < len(shown) < 40
    assert CARD_BYTES_MAX - 2_000 < len(card.encode()) < CARD_BYTES_MAX + 1_000
    assert shown[0]["text"]["content"] == "名" * 79 + "…"
    about = elements_of(json.loads(card), "markdown")[1]["content"].splitlines()[0]
    assert about == f"{'名' * 79}… – {'述' * 119}…"
    assert f"{40 - len(shown)} more" in elements_of(json.loads(card), "markdown")[-1]["content"]


def test_a_press_is_read_as_the_card_wrote_it() -> None:
    (only,) = elements_of(card_of(CODE), "button")
    chosen = read_press(press(only["behaviors"][0]["value"]))
    assert chosen is not None
    assert (chosen.asked, chosen.choice, chosen.by) == (ASKED, "code", "ou_1")


@pytest.mark.parametrize(
    "change", [{"larkd": "stop"}, {"kind": "colour"}, {"chat": "oc_2"}, {"session": 3}]
)
def test_a_press_that_is_not_of_this_card_or_chat_is_none(change: dict[str, Any]) -> None:
    (only,) = elements_of(card_of(CODE), "button")
    assert read_press(press(only["behaviors"][0]["value"] | change)) is None

"""What is read of a card that is quoted: the text, and nothing of its controls."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from protocol.platform.content import read_content
from tests.kit.json_values import json_values

TURN = {
    "schema": "2.0",
    "config": {"streaming_mode": False},
    "header": {"title": {"tag": "plain_text", "content": "Nightly\nrun"}},
    "body": {
        "elements": [
            {
                "tag": "collapsible_panel",
                "header": {"title": {"tag": "plain_text", "content": "3 steps"}},
                "elements": [{"tag": "markdown", "content": "ran tests"}],
            },
            {"tag": "markdown", "element_id": "answer", "content": "All **green**.\n"},
            {
                "tag": "column_set",
                "columns": [
                    {"tag": "column", "elements": [{"tag": "markdown", "content": "left"}]},
                    {
                        "tag": "column",
                        "elements": [
                            {"tag": "button", "text": {"tag": "plain_text", "content": "Stop"}}
                        ],
                    },
                ],
            },
            {"tag": "markdown", "text_size": "notation", "content": "Done · 1s"},
        ]
    },
}


@pytest.mark.parametrize(
    ("card", "markdown"),
    [
        (TURN, "**Nightly run**\n\nAll **green**.\n\nleft"),
        (
            {  # card JSON 1.0
                "header": {"title": {"tag": "plain_text", "content": "Alarm"}},
                "elements": [
                    {"tag": "div", "text": {"tag": "lark_md", "content": "disk full"}},
                    {"tag": "div", "fields": [{"text": {"tag": "lark_md", "content": "node 3"}}]},
                    {"tag": "note", "elements": [{"tag": "plain_text", "content": "by a bot"}]},
                    {"tag": "action", "actions": []},
                ],
            },
            "**Alarm**\n\ndisk full\n\nnode 3",
        ),
        ({"schema": "2.0", "body": {"elements": []}}, "[card]"),
        ({"schema": "2.0", "body": {"elements": [{"tag": "img", "img_key": "k"}]}}, "[card]"),
        # The short form that events have.
        ({"title": "T", "elements": [[{"tag": "text", "text": "short"}]]}, "[card: T]\nshort"),
    ],
)
def test_the_text_of_a_card(card: dict[str, Any], markdown: str) -> None:
    assert read_content("interactive", json.dumps(card)).markdown == markdown


JSON = json_values("body", "header", "title", "elements", "tag", "text", "content")


@given(body=JSON, header=JSON)
def test_no_card_raises(body: Any, header: Any) -> None:
    read_content("interactive", json.dumps({"body": body, "header": header, "schema": "2.0"}))


def test_a_card_nested_deeper_than_any_is_cut() -> None:
    element: dict[str, Any] = {"tag": "markdown", "content": "inmost"}
    for _ in range(100):
        element = {"tag": "column_set", "columns": [element]}
    card = {"schema": "2.0", "body": {"elements": [element]}}
    assert read_content("interactive", json.dumps(card)).markdown == "[card]"

"""Messages outside of turns."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from protocol.cards.reply import message_card, split
from protocol.strings import Text


def test_a_message_is_one_text_with_a_small_line_below_it() -> None:
    text = {"tag": "markdown", "content": "**hi**"}
    card = {"schema": "2.0", "config": {"update_multi": True}, "body": {"elements": [text]}}
    assert json.loads(message_card("**hi**")) == card
    footer = {
        "tag": "markdown",
        "text_size": "notation",
        "content": "已完成",
        "i18n_content": {"en_us": "Done", "zh_cn": "已完成"},
    }
    shown = json.loads(message_card("**hi**", Text("Done", "已完成"), "zh"))
    assert shown["body"]["elements"] == [text, footer]
    english = json.loads(message_card(Text("hi", "你好"), Text("Done", "已完成")))
    assert [one["content"] for one in english["body"]["elements"]] == ["hi", "Done"]
    chinese = json.loads(message_card(Text("hi", "你好"), language="zh"))
    assert [one["content"] for one in chinese["body"]["elements"]] == ["你好"]


def test_nothing_is_no_message() -> None:
    assert split("") == split(" \n ") == ()
    assert split("short") == ("short",)


@given(st.lists(st.text(alphabet="ab ", min_size=1, max_size=30), min_size=1, max_size=3))
def test_a_long_text_is_cut_and_whole(lines: list[str]) -> None:
    text = "\n".join(lines * 2_000)
    parts = split(text)
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert all(part.strip() for part in parts)

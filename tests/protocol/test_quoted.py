"""Whatever others wrote is quoted in every string of ours, in both languages."""

from __future__ import annotations

import html
import json
import re
import string
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from actors.sandbox.cardschema import check_card
from protocol.cards.card import Style, view_of
from protocol.cards.turn import Turn
from protocol.ids import SessionId, TurnId
from protocol.quoted import in_card, quoted, visible
from protocol.strings import Text, about_agents, in_chat, on_card
from protocol.wire.messages import Plan, PlanEntry, ToolEvent, TurnEnd

ALL = {
    name: text
    for module in (in_chat, about_agents, on_card)
    for name, text in vars(module).items()
    if isinstance(text, Text)
}
QUOTING = {
    name: fields
    for name, text in ALL.items()
    if (fields := [field for _, field, _, _ in string.Formatter().parse(text.en) if field])
}
HOSTILE = st.text(
    alphabet=st.sampled_from(
        '<>/aAtT _id="all"\n\r\u2028\u2029\u0085\u202e\u2066\u200b\x1b*`[](){}#'
    ),
    max_size=60,
) | st.sampled_from(
    [
        '<at user_id="all">',
        "<AT id=all></AT>",
        "< at id=all>",
        "<\u200bat id=all>",
        "x" * 4_094 + "<AT id=all>",
        "a\nStarted boss.",
        "a\u2028b",
        "{0} {alias}",
        "\u202egnp.exe",
    ]
)
MARKS = "*`[]<>#\\~!"
ENTITY = re.compile(r"&(#\d+|sim|emsp);")
AT = re.compile(r"<\s*/?\s*at\b", re.IGNORECASE)


def check(shown: str, form: str) -> None:
    assert not AT.search(shown)
    assert len(shown.splitlines()) == len(form.splitlines())
    assert not any(unicodedata.bidirectional(one) in ("RLO", "LRO", "RLI", "LRI") for one in shown)


@given(value=HOSTILE)
def test_every_string_quotes_what_it_is_given(value: str) -> None:
    for name, fields in QUOTING.items():
        text = ALL[name]
        shown = text.format(**dict.fromkeys(fields, value))
        check(shown.en, text.en)
        check(shown.zh, text.zh)


@given(HOSTILE)
def test_in_a_card_nothing_of_it_is_markdown(value: str) -> None:
    shown = in_card(value)
    check(f".{shown}", "one line")
    assert not set(ENTITY.sub("", shown)) & {*MARKS, "_"}
    assert len(in_card(value, 20)) <= 20 * len("&#128;")


@given(HOSTILE)
def test_on_a_card_it_is_text_of_one_line_wherever_it_stands(value: str) -> None:
    """Of a title, a step, a plan and an error: the same lines, and nothing of it is a mark."""

    def shown(quoting: str) -> list[str]:
        turn = Turn(0.0)
        entries = [PlanEntry(content=quoting, status="completed")] * 2
        step = ToolEvent(turn_id="t", call_id="c", name=quoting, summary=quoting, status="error")
        for message in (
            Plan(turn_id="t", entries=entries),
            step,
            TurnEnd(turn_id="t", status="error", error=quoting),
        ):
            turn.apply(message, 1.0)
        style = Style(session_id=SessionId("s"), turn_id=TurnId("t"), title=quoting)
        card = json.loads(view_of(turn, style, 0, 2.0).card_json)
        return [str(one["content"]) for one in check_card(card).values() if "content" in one]

    plain, hostile = shown("x"), shown(f"x{value}x")
    assert [len(one.splitlines()) for one in plain] == [len(one.splitlines()) for one in hostile]
    for was, now in zip(plain, hostile, strict=True):
        assert not AT.search(now)
        left = ENTITY.sub("", now)
        assert {mark: left.count(mark) for mark in MARKS} == {
            mark: was.count(mark) for mark in MARKS
        }


def test_a_command_stays_readable_in_a_card_and_an_entity_of_others_is_none() -> None:
    assert in_card("cd /tmp && grep -c (a|b) x.py | wc") == "cd /tmp && grep -c (a|b) x.py | wc"
    for entity in ("&#60;", "&lt;", "&sim;", "&#x3c;"):
        assert html.unescape(in_card(entity)) == entity


def test_ordinary_text_stays_as_it_is() -> None:
    for text in ("api-2", "/home/ann/我的项目/a_b (1)", "1 < 2 & 3 > 2", "👩\u200d💻 ok ✔\ufe0f"):
        assert quoted(text) == text
    assert visible("def f():\n\treturn 1\n") == "def f():\n\treturn 1\n"
    assert quoted("x" * 1_000) == "x" * 1_000
    assert quoted("x" * 2_000) == "x" * 999 + "…"
    assert quoted("a" + " " * 90_000 + "b") == "a…", "no more is looked at than can be shown"


def test_line_ends_and_tabs_are_seen_and_other_controls_are_named() -> None:
    assert visible("a\n\tb\x1b\u202e") == "a\n\tb⟨U+001B⟩⟨U+202E⟩"

"""Whatever others wrote is quoted in every string of ours, in both languages."""

from __future__ import annotations

import re
import string
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from protocol.quoted import in_card, quoted, visible
from protocol.strings import Text, about_agents, in_chat, on_card

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
    assert not set(re.sub(r"&#\d+;", "", shown)) & set("*`[]()<>#\\_~!|&")


def test_ordinary_text_stays_as_it_is() -> None:
    for text in ("api-2", "/home/ann/我的项目/a_b (1)", "1 < 2 & 3 > 2", "👩\u200d💻 ok ✔\ufe0f"):
        assert quoted(text) == text
    assert visible("def f():\n\treturn 1\n") == "def f():\n\treturn 1\n"
    assert quoted("x" * 2_000) == "x" * 999 + "…"

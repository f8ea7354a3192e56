"""Reasoning is distinguished from the answer, however the text is cut into deltas."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.cards.reasoning import ReasoningSplitter


def split(text: str, cuts: list[int]) -> tuple[str, str]:
    splitter = ReasoningSplitter()
    pieces = []
    at = 0
    for cut in sorted({min(cut, len(text)) for cut in cuts} | {len(text)}):
        pieces += splitter.feed(text[at:cut])
        at = cut
    pieces += splitter.finish()
    answer = "".join(text for channel, text in pieces if channel == "answer")
    reasoning = "".join(text for channel, text in pieces if channel == "reasoning")
    return answer, reasoning


CASES = [
    ("plain", "plain", ""),
    ("<think>why</think>because", "because", "why"),
    ("a<thinking>b</thinking>c<thought>d</thought>e", "ace", "bd"),
    ("<antthinking>x</antthinking>y", "y", "x"),
    ("write `<think>` in code", "write `<think>` in code", ""),
    ("``a ` <think>`` b", "``a ` <think>`` b", ""),
    ("```\n<think>no</think>\n```\nyes", "```\n<think>no</think>\n```\nyes", ""),
    ("~~~\n<think>\n~~~\n<think>r</think>x", "~~~\n<think>\n~~~\nx", "r"),
    ("    indented\n```\ncode\n```\n<think>r</think>", "    indented\n```\ncode\n```\n", "r"),
    ("<think>never closed", "never closed", "never closed"),
    ("answer <think>never closed", "answer ", "never closed"),
    ("<think>a</think>b</think>c", "b</think>c", "a"),
    ("a < b and <thinker> and </think>", "a < b and <thinker> and </think>", ""),
    ("<think>a < b </thin> c</think>d", "d", "a < b </thin> c"),
    ("Reasoning:\n_step one_\n_step two_\n\nThe answer.", "The answer.", "step one\nstep two\n"),
    ("Reasoning: not that", "Reasoning: not that", ""),
    ("`open\n\n<think>r</think>x", "`open\n\nx", "r"),
    ("so:\n\n    <think>\n    no\n", "so:\n\n    <think>\n    no\n", ""),
    ("    a\n    <think>b", "    a\n    <think>b", ""),
    ("so\n    <think>r</think>x", "so\n    x", "r"),
    ("so:\n\n  <think>r</think>x", "so:\n\n  x", "r"),
    ("    <think>\n\n<think>r</think>x", "    <think>\n\nx", "r"),
    ("    <think>\n\n```\n<think>\n```\n", "    <think>\n\n```\n<think>\n```\n", ""),
    (
        "    <think>\n\n```\n<think>\n```\n`<think>`",
        "    <think>\n\n```\n<think>\n```\n`<think>`",
        "",
    ),
    ("", "", ""),
]


@pytest.mark.parametrize(("text", "answer", "reasoning"), CASES)
def test_each_case_whole_and_character_by_character(text: str, answer: str, reasoning: str) -> None:
    assert split(text, []) == (answer, reasoning)
    assert split(text, list(range(len(text)))) == (answer, reasoning)


PARTS = st.lists(
    st.sampled_from(
        [
            "<think>",
            "</think>",
            "<thinking>",
            "</thinking>",
            "`",
            "``",
            "```",
            "~~~",
            "\n",
            "\n\n",
            "word ",
            "中",
            "<",
            "</",
            "think>",
            "Reasoning:\n_",
            "_",
            "<at ",
        ]
    ),
    max_size=25,
).map("".join)


@given(PARTS, st.lists(st.integers(0, 150), max_size=40))
def test_any_chunking_gives_the_same(text: str, cuts: list[int]) -> None:
    assert split(text, cuts) == split(text, [])


@given(st.text(alphabet="abc `\n中", max_size=60), st.lists(st.integers(0, 60)))
def test_text_without_tags_is_the_answer_untouched(text: str, cuts: list[int]) -> None:
    assert split(text, cuts) == (text, "")

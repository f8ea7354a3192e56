"""The answer's text against a Markdown parser nobody here wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from protocol.cards.answer import SEGMENT_BYTES_MAX, AnswerText, json_bytes
from tests.kit.sizes import examples
from tests.protocol.cards.test_answer import feed, whole

PARSER = MarkdownIt("commonmark", {"html": True}).enable("table").disable("html_block")

CODE_LINES = st.lists(
    st.sampled_from(
        [
            "x = 1",
            "<at id=all></at>",
            "![a](http://x/y.png)",
            "",
            "  indented",
            "`tick`",
            "> q",
            "- i",
        ]
    ),
    max_size=4,
)
PROSE = st.sampled_from(["words", "hi <at id=all></at>", "see ![a](http://x/y.png)", "`<at>` code"])


@st.composite
def fenced(draw: st.DrawFn) -> list[str]:
    mark = draw(st.sampled_from(["```", "~~~", "````"]))
    return [mark + draw(st.sampled_from(["", "py"])), *draw(CODE_LINES), mark]


def quoted(lines: list[str]) -> list[str]:
    return [f"> {line}".rstrip() for line in lines]


def listed(lines: list[str], marker: str) -> list[str]:
    head, *rest = lines
    indent = " " * len(marker)
    return [marker + head, *(f"{indent}{line}".rstrip() for line in rest)]


@st.composite
def blocks(draw: st.DrawFn) -> list[str]:
    lines = draw(st.one_of(fenced(), PROSE.map(lambda line: [line])))
    for _ in range(draw(st.integers(0, 3))):
        if draw(st.booleans()):
            lines = quoted(lines)
        else:
            marker = draw(st.sampled_from(["- ", "1. ", "10. ", "* "]))
            if draw(st.booleans()) and marker:
                lines = [draw(PROSE), "", *lines]
            lines = listed(lines, marker)
    return lines


MARKDOWN = st.lists(blocks(), min_size=1, max_size=5).map(
    lambda listed: "\n\n".join("\n".join(one) for one in listed) + "\n"
)


def walk(tokens: list[Token] | None) -> Iterator[Token]:
    for token in tokens or []:
        yield token
        yield from walk(token.children)


def code(text: str) -> list[str]:
    return [token.content for token in walk(PARSER.parse(text)) if token.type == "fence"]


def live(text: str) -> list[str]:
    """Return what mentions somebody, or draws a picture of the web."""
    return [
        token.content
        for token in walk(PARSER.parse(text))
        if (token.type == "html_inline" and "<at" in token.content.lower())
        or (token.type == "image" and str(token.attrs.get("src", "")).startswith("http"))
    ]


@settings(max_examples=examples(100, nightly=6_000))
@given(MARKDOWN, st.lists(st.integers(0, 300), max_size=10))
def test_code_is_kept_wherever_it_stands_and_nothing_else_is_live(
    text: str, cuts: list[int]
) -> None:
    shown = whole(feed(text, cuts))
    assert code(shown) == code(text)
    assert live(shown) == []


def test_code_in_a_list_goes_over_cards_as_it_was() -> None:
    lines = "".join(f"    line {number}: <at id=all> {'x' * 60}\n" for number in range(1_200))
    text = f"10. do this\n\n    ```py\n{lines}    ```\n\n    and that <at id=all>\n"
    answer = feed(text, list(range(0, len(text), 771)))
    assert len(answer.sealed) > 2
    cards = [*answer.sealed, answer.current]
    assert "".join(one for card in cards for one in code(card)) == code(text)[0]
    assert all(live(card) == [] for card in cards)


def test_code_in_a_quote_goes_over_cards_as_it_was() -> None:
    lines = "".join(f"> line {number}: {'x' * 60}\n" for number in range(1_200))
    text = f"> quoted\n>\n> ```\n{lines}> ```\nafter <at id=all>\n"
    answer = feed(text, [])
    cards = [*answer.sealed, answer.current]
    assert len(cards) > 3
    assert "".join(one for card in cards for one in code(card)) == code(text)[0]


def test_a_picture_that_arrives_takes_the_place_of_its_link() -> None:
    answer = AnswerText()
    answer.feed(
        "see ![cat](http://x/c.png) and ![cat](http://x/c.png 'a title')\n`![a](http://x/c.png)`\n"
    )
    answer.feed("```\n![b](http://x/b.png)\n```\n![d](file.png) ![e](img_v3_known)")
    assert answer.pictures == ("http://x/c.png",)
    assert answer.current.startswith(
        "see [cat](http://x/c.png) and [cat](http://x/c.png 'a title')\n"
    )
    assert answer.picture_ready("http://x/c.png", "img_v3_cat")
    answer.feed(", ![cat](http://x/c.png)\n")
    answer.finish()
    assert answer.current == (
        "see ![cat](img_v3_cat) and ![cat](img_v3_cat)\n`![a](http://x/c.png)`\n"
        "```\n![b](http://x/b.png)\n```\n[d](file.png) ![e](img_v3_known), ![cat](img_v3_cat)\n"
    )
    assert not answer.picture_ready("http://x/other.png", "img_v3_other")


def test_pictures_that_arrive_keep_cards_within_their_bytes() -> None:
    answer = AnswerText()
    url = "http://x/" + "p" * 40
    key = "img_v3_" + "k" * 400
    line = f"![cat]({url})\n\n"
    while not answer.sealed and json_bytes(answer.current) < SEGMENT_BYTES_MAX // 8:
        answer.feed(line)
    assert answer.picture_ready(url, key)
    grown = json_bytes(answer.current)
    assert SEGMENT_BYTES_MAX // 2 < grown < SEGMENT_BYTES_MAX
    while not answer.sealed:
        answer.feed("word\n\n")
    assert all(json_bytes(card) <= SEGMENT_BYTES_MAX for card in (*answer.sealed, answer.current))
    assert json_bytes(answer.sealed[0]) > SEGMENT_BYTES_MAX * 3 // 4


SOUP = st.lists(
    st.sampled_from(
        [
            *("`", "``", "```", "```\n", "~~~\n", "<at id=all></at>", "<b", ">", "![a](http://x)"),
            *(
                "|",
                "\\",
                "\n",
                "\n",
                "\n\n",
                "- ",
                "> ",
                "1. ",
                "2) ",
                "    ",
                "  ",
                "x",
                '<a href="',
            ),
            *('"', "* ", "---\n", "|-|-|\n", "| a | b |\n", "# ", "\t", "=\n", "\\\n"),
        ]
    ),
    max_size=30,
).map("".join)


@settings(max_examples=examples(500, nightly=30_000))
@given(SOUP)
def test_whatever_an_agent_writes_it_mentions_nobody(text: str) -> None:
    assert live(whole(feed(text, []))) == []


LONG = st.integers(8, 60)
"""So many characters of a line are kept unfinished here; 4,096 are in use."""


@settings(max_examples=examples(60, nightly=2_400))
@given(st.one_of(SOUP, MARKDOWN), st.one_of(st.just(4_096), LONG))
def test_what_is_shown_of_a_beginning_keeps_its_meaning_and_mentions_nobody(
    text: str, tail: int
) -> None:
    """Character by character: only more is shown, and nothing on the way is live."""
    answer = AnswerText(tail_characters_max=tail)
    shown = ""
    for character in text:
        answer.feed(character)
        assert answer.current.startswith(shown)
        shown = answer.current
        assert live(shown) == []
    answer.finish()
    assert answer.current.startswith(shown)
    assert live(answer.current) == []
    if tail == 4_096:
        assert answer.current == whole(feed(text, []))


@settings(max_examples=examples(60, nightly=3_000))
@given(st.one_of(SOUP, MARKDOWN), LONG)
def test_a_long_line_in_pieces_mentions_nobody(text: str, tail: int) -> None:
    answer = AnswerText(tail_characters_max=tail)
    answer.feed(text)
    answer.finish()
    assert live(whole(answer)) == []


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("- ```\n  x\n<at id=all>", "- ```\n  x\n&#60;at id=all>"),
        ("~~~ <at id=all>", "~~~ "),
        ("of `code <at> th", "of `code "),
        ("a `` b `<at>` c", "a `` b `"),
        ("`a` ![p](http://u/p.png) b", "`a` [p](http://u/p.png) b"),
    ],
)
def test_of_an_unfinished_line_only_that_is_shown_which_is_sure(written: str, shown: str) -> None:
    answer = AnswerText()
    answer.feed(written)
    assert answer.current == shown


@settings(max_examples=examples(70, nightly=4_000))
@given(
    st.lists(
        st.one_of(
            st.integers(1, 60).map(
                lambda lines: "```py\n" + "".join(f"x = {n}\n" for n in range(lines)) + "```\n\n"
            ),
            st.integers(1, 60).map(
                lambda lines: (
                    "- item\n\n  ```\n"
                    + "".join(f"  y = {n}\n" for n in range(lines))
                    + "  ```\n\n"
                )
            ),
            st.integers(1, 200).map(lambda words: "word " * words + "\n\n"),
        ),
        min_size=4,
        max_size=40,
    ),
    st.integers(1, 3),
)
def test_a_card_that_is_to_hold_less_hands_the_rest_on_whole(parts: list[str], times: int) -> None:
    text = "".join(parts)
    answer = AnswerText()
    half = len(text) // 2
    answer.feed(text[:half])
    for _ in range(times):
        answer.shrink()
    answer.feed(text[half:])
    answer.finish()
    cards = [*answer.sealed, answer.current]
    joined = "".join(one for card in cards for one in code(card))
    assert joined == "".join(code(text))
    words = "".join(re.findall(r"word |- item", "".join(cards)))
    assert words == "".join(re.findall(r"word |- item", text))

"""The answer's text: nothing lost, code byte for byte, and it only grows at its end."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.cards.answer import SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, AnswerText, json_bytes
from tests.kit.sizes import examples

WORDS = st.sampled_from(
    ["hello", "世界", "🎉", "**bold**", "_it_", "`<at id=all></at>`", "<think>", "|", "a\\b", '"q"']
)
PROSE = st.lists(WORDS, min_size=1, max_size=12).map(" ".join)
FENCED = st.lists(
    st.text(alphabet='ab <>&`|"\\é中', max_size=20).filter(lambda line: "```" not in line),
    max_size=6,
).map(lambda lines: "\n".join(["```py", *lines, "```"]))
TABLE = st.integers(1, 5).map(
    lambda rows: "\n".join(["| a | b |", "|---|---|", *["| 1 | 2 |"] * rows])
)
BLOCKS = st.lists(st.one_of(PROSE, FENCED, TABLE), min_size=1, max_size=8).map("\n\n".join)


def feed(text: str, cuts: list[int]) -> AnswerText:
    answer = AnswerText()
    at = 0
    for cut in sorted({min(cut, len(text)) for cut in cuts} | {len(text)}):
        answer.feed(text[at:cut])
        at = cut
    answer.finish()
    return answer


def whole(answer: AnswerText) -> str:
    return "".join([*answer.sealed, answer.current])


@given(BLOCKS, st.lists(st.integers(0, 600), max_size=30))
def test_any_chunking_shows_the_same_and_short_text_shows_whole(text: str, cuts: list[int]) -> None:
    assert whole(feed(text, cuts)) == whole(feed(text, [])) == text


@given(BLOCKS, st.lists(st.integers(0, 600), max_size=30))
def test_what_is_shown_only_grows_at_its_end(text: str, cuts: list[int]) -> None:
    answer = AnswerText()
    at, shown, sealed = 0, "", 0
    for cut in [*sorted({min(cut, len(text)) for cut in cuts}), len(text)]:
        answer.feed(text[at:cut])
        at = cut
        assert answer.current.startswith(shown) or len(answer.sealed) > sealed
        shown, sealed = answer.current, len(answer.sealed)
    answer.finish()
    assert answer.current.startswith(shown) or len(answer.sealed) > sealed


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("hi <at id=all></at> you", "hi &#60;at id=all>&#60;/at> you"),
        ("<AT user_id='x'>", "&#60;AT user_id='x'>"),
        ("< AT id=all>", "&#60; AT id=all>"),
        ("x" * 4_094 + "<AT id=all></AT>", "x" * 4_094 + "&#60;AT id=all>&#60;/AT>"),
        ("`<at id=all>` stays", "`<at id=all>` stays"),
        ("``a ` <at>`` stays", "``a ` <at>`` stays"),
        ("a ` b\n`<at>` c\n", "a ` b\n`&#60;at>` c\n"),  # code from the first line on to there
        ("a ` b\n\n`<at>` c\n", "a ` b\n\n`<at>` c\n"),
        ("`a` b\n`<at>` c\n", "`a` b\n`<at>` c\n"),
        ("attitude <attic>", "attitude <attic>"),
        ("see ![cat](https://x.y/c.png) here", "see [cat](https://x.y/c.png) here"),
        ("`![cat](https://x.y/c.png)`", "`![cat](https://x.y/c.png)`"),
        ("![k](img_v3_key)", "![k](img_v3_key)"),
        ("```\n<at id=all> ![a](http://b)\n```\n", "```\n<at id=all> ![a](http://b)\n```\n"),
        ("~~~\n```\n<at>\n~~~\n<at>\n", "~~~\n```\n<at>\n~~~\n&#60;at>\n"),
        ("nul \x00 and \ud800 alone", "nul \ufffd and ? alone"),
    ],
)
def test_only_what_must_change_changes(written: str, shown: str) -> None:
    assert whole(feed(written, [])) == shown
    assert whole(feed(written, list(range(len(written))))) == shown


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("line", ["x" * 60_000, "字" * 20_000, "🎉" * 9_000, '"' * 30_000])
def test_a_line_too_long_for_any_card_is_cut_and_whole(line: str, size: int) -> None:
    answer = AnswerText()
    for at in range(0, len(line), 997 * size):
        answer.feed(line[at : at + 997 * size])
    answer.finish()
    assert whole(answer) == line
    for segment in answer.sealed:
        assert json_bytes(segment) <= SEGMENT_BYTES_MAX


def test_long_prose_is_sealed_at_block_ends() -> None:
    text = "\n\n".join(f"Paragraph {number}. " + "words " * 60 for number in range(300))
    answer = feed(text, list(range(0, len(text), 1013)))
    assert len(answer.sealed) > 2
    assert whole(answer) == text
    for segment in answer.sealed:
        assert json_bytes(segment) <= SEGMENT_BYTES_MAX
        assert segment.endswith("\n\n"), "at the end of a block"


CODE = re.compile(r"^```py\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_a_giant_code_block_goes_over_cards_byte_identical() -> None:
    code = "".join(f'line {number}: <at id=all> `x` "{number}" 中\n' for number in range(3_000))
    text = f"before\n\n```py\n{code}```\nafter\n"
    answer = feed(text, list(range(0, len(text), 777)))
    assert len(answer.sealed) > 3
    shown = [*answer.sealed, answer.current]
    assert "".join(part for one in shown for part in CODE.findall(one)) == code
    assert shown[0].startswith("before\n\n")
    assert shown[-1].endswith("after\n")
    for segment in answer.sealed:
        assert segment.count("```") % 2 == 0, "each card closes what it opens"
        assert json_bytes(segment) <= SEGMENT_BYTES_MAX + len("```\n") * 2


def test_a_giant_table_repeats_its_head() -> None:
    rows = [f"| {number} | {'cell ' * 20} |" for number in range(600)]
    text = "\n".join(["| n | text |", "|---|---|", *rows]) + "\n"
    answer = feed(text, [])
    shown = [*answer.sealed, answer.current]
    assert len(shown) > 2
    assert all(part.startswith("| n | text |\n|---|---|\n") for part in shown)
    body = [line for part in shown for line in part.splitlines()[2:]]
    assert body == rows


def test_more_tables_than_a_card_takes_go_on_below() -> None:
    table = "| a | b |\n|---|---|\n| 1 | 2 |\n\n"
    answer = feed(table * 11, [])
    shown = [*answer.sealed, answer.current]
    assert [part.count("|---|---|") for part in shown] == [4, 4, 3]
    assert whole(answer) == table * 11


@settings(max_examples=examples(30))
@given(st.lists(st.one_of(PROSE, FENCED, TABLE), min_size=60, max_size=120))
def test_long_mixed_text_keeps_every_character_of_prose(blocks: list[str]) -> None:
    text = "\n\n".join(
        block * 3 if "|" not in block and "`" not in block else block for block in blocks
    )
    answer = feed(text, list(range(0, len(text), 101)))
    joined = whole(answer)
    if not answer.sealed:
        assert joined == text
    for number in range(0, len(blocks), 7):
        if "\n" not in blocks[number]:
            assert blocks[number] in joined


def test_a_segment_at_its_minimum_shrinks_no_more() -> None:
    answer = AnswerText()
    answer.feed("a line\n" * 400)
    sizes = []
    while answer.shrink():
        sizes.append(json_bytes(answer.current))
        assert len(sizes) < 20
    assert sizes == sorted(sizes, reverse=True)
    assert json_bytes(answer.current) <= SEGMENT_BYTES_MIN
    assert all(json_bytes(one) <= SEGMENT_BYTES_MAX for one in answer.sealed)
    assert "".join((*answer.sealed, answer.current)) == "a line\n" * 400


def test_a_segment_that_could_not_shrink_is_no_smaller_later() -> None:
    answer = AnswerText()
    answer.feed("short\n")
    assert not answer.shrink()
    answer.feed("a line\n" * 2_000)
    assert answer.sealed == []


def test_no_card_shrinks_below_what_is_one() -> None:
    answer = AnswerText()
    answer.feed("123456789\n" * 120)  # 11 bytes each as JSON: half of them are 660
    assert answer.shrink()
    assert 900 < json_bytes(answer.sealed[0]) <= SEGMENT_BYTES_MIN
    assert not answer.shrink()


def test_one_long_line_shrinks_too() -> None:
    answer = AnswerText()
    answer.feed("word " * 1_000 + "\n")
    assert answer.shrink()
    assert "".join((*answer.sealed, answer.current)) == "word " * 1_000 + "\n"


@pytest.mark.parametrize(("share", "at_block_end"), [(0.5, False), (0.7, False), (0.8, True)])
def test_a_blocks_end_is_preferred_only_if_it_is_near(share: float, at_block_end: bool) -> None:
    line = "x" * 99 + "\n"
    before = int(SEGMENT_BYTES_MAX * share) // 101
    answer = AnswerText()
    answer.feed(line * before + "\n" + line * 300)
    assert answer.sealed[0].endswith("\n\n") is at_block_end


def test_what_else_is_on_the_card_leaves_the_answer_less() -> None:
    answer = AnswerText()
    answer.feed("a line\n" * 2_000)
    assert answer.sealed == []
    answer.fit(10_000)
    assert json_bytes(answer.sealed[0]) <= 10_000
    answer.fit(20_000)
    answer.feed("a line\n" * 1_000)
    assert 10_000 < json_bytes(answer.current) <= 20_000


@pytest.mark.parametrize(
    "text",
    [
        "![" * 50_000 + "\n",
        "![a](" * 50_000 + "\n",
        "![" * 50_000,
        "<" + " " * 100_000 + "\n",
        "<at" * 50_000,
        "> " * 50_000 + "\n",
        "|" * 30_000 + "\n|" + "-|" * 30_000 + "\nx|y\n",
        "```" + "x" * 50_000 + "\n" + "y\n" * 50_000,
        "`" * 50_000 + "\n" + "y\n" * 50_000,
        "~" * 50_000 + "\n" + "y\n" * 50_000,
    ],
    ids=lambda text: repr(text[:6]),
)
def test_time_and_cards_grow_with_the_text_whatever_it_is(text: str) -> None:
    """Backtracking, and heads that leave no space on the next card, would never end."""
    answer = AnswerText()
    began = time.process_time()
    answer.feed(text)
    answer.finish()
    assert time.process_time() - began < 5, "linear: some tenths of a second"
    assert len(answer.sealed) < 40
    assert all(json_bytes(one) < SEGMENT_BYTES_MAX * 1.1 for one in answer.sealed)


def test_a_wide_table_goes_on_without_its_head_on_a_small_card() -> None:
    answer = AnswerText()
    answer.fit(1_000)
    head = "|" + "head|" * 150 + "\n|" + "-|" * 150 + "\n"
    rows = "".join(f"|{number}|\n" for number in range(500))
    answer.feed(head + rows)
    answer.finish()
    assert "".join(answer.sealed) + answer.current == head + rows

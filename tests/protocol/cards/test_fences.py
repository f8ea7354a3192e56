"""Which lines are fenced code, against a Markdown parser nobody here wrote."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from protocol.cards.fences import CONTAINERS_MAX, Fence, LineKind, Lines

PARSER = MarkdownIt("commonmark").disable("html_block")

CONTAINERS = ["", "", "", "> ", "- ", "  ", "   ", "      ", "1. ", "1) ", "* ", "> - ", "> > "]
REST = [
    *("```", "````", "~~~", "```py", "```  ", "~~~~ js", "~~~ `", "``` `x", "`` ` ``"),
    *("text", "", "* * *", "---", "# h", "#", "#h", "####### x", "1.", "+", "+ x"),
]
LINES = st.lists(st.builds(str.__add__, st.sampled_from(CONTAINERS), st.sampled_from(REST)))


def code_lines(lines: list[str]) -> list[bool]:
    fences = [
        token.map for token in PARSER.parse("\n".join([*lines, "."])) if token.type == "fence"
    ]
    code = {line for found in fences if found for line in range(*found)}
    return [number in code for number in range(len(lines))]


@given(LINES)
def test_code_is_what_a_markdown_parser_takes_for_it(lines: list[str]) -> None:
    followed, seen = Lines(), []
    for line in lines:
        ahead = followed.look(line)
        seen.append(followed.take(line))
        assert seen[-1] is (ahead in {LineKind.CODE, LineKind.MARK})
    assert seen == code_lines(lines)


@pytest.mark.parametrize(
    "prose",
    [
        pytest.param(["text", "2. ```"], id="a list below a paragraph begins with one"),
        pytest.param(["text", "- ", "    ```"], id="an empty item is no list below a paragraph"),
        pytest.param(["- ", "", "    ```"], id="an item begins with one blank line at most"),
        pytest.param(["> - * * *", "text", "2. ```"], id="nothing goes on with a rule"),
        pytest.param(["1. # h", "text", "    ```"], id="nothing goes on with a heading"),
    ],
)
def test_what_only_looks_like_a_fence_is_prose(prose: list[str]) -> None:
    followed = Lines()
    assert [followed.take(line) for line in prose] == code_lines(prose) == [False] * len(prose)


def test_each_item_of_a_list_may_begin_with_code() -> None:
    items = ["2. text", "3. ```", "   x = 1", "   ```", "4. text", "5. ~~~"]
    followed = Lines()
    assert [followed.take(line) for line in items] == code_lines(items)
    assert followed.fence is not None


LONG = [
    *("```" + " " * 30, "```" + " " * 30 + "x", "> ```" + "\t" * 30, "~~~" + " " * 30),
    *("```" + "y" * 30, "```" + "y" * 30 + "`", "~~~" + "y" * 30 + "`", "- ~~~" + "y" * 30),
    *("word " * 8, "> " + "word " * 8, "1. " + "word " * 8, "    " + "word " * 8, "> " + " " * 30),
]


@given(
    st.lists(st.one_of(st.sampled_from(LONG), st.sampled_from(["2. ```", "    ```", "", "```"]))),
    st.lists(st.integers(12, 34), max_size=3),
)
@example(["> " + "word " * 8, "```" + "y" * 30 + "`", "2. ```"], [12])  # the second goes on lazily
def test_a_line_in_pieces_opens_and_closes_what_it_does_whole(
    lines: list[str], cuts: list[int]
) -> None:
    whole, cut = Lines(), Lines()
    for line in lines:
        before, is_code = whole.fence, whole.take(line)
        opens = whole.fence is not None and whole.fence is not before
        ends = sorted({end for end in cuts if end < len(line)})
        pieces = [line[a:b] for a, b in zip([0, *ends], [*ends, None], strict=True)]
        for piece in pieces[:-1]:
            assert cut.take(piece, goes_on=True) is (is_code and not opens)
            assert cut.in_long_line
            assert cut.look("") is (LineKind.CODE if is_code and not opens else LineKind.PROSE)
        assert cut.take(pieces[-1]) is (is_code and (not opens or len(pieces) == 1))
        assert not cut.in_long_line
        assert (cut.fence and cut.fence.closing) == (whole.fence and whole.fence.closing)


def test_a_fence_is_opened_and_closed_again_where_it_stands() -> None:
    followed = Lines()
    for line in ("> - text", "> ", ">   ~~~~ py"):
        followed.take(line)
    fence = followed.fence
    assert fence == Fence(mark="~~~~", info=" py", containers=(0, 2))
    assert (fence.opening, fence.closing) == ("~~~~ py\n", ">   ~~~~")
    assert fence.bare(">   x = 1") == "x = 1"
    assert fence.bare("x = 1") == "x = 1"
    assert Fence(mark="```", info="y" * 101).opening == "```\n"


def test_deeper_than_a_hundred_quotes_nothing_is_nested() -> None:
    followed = Lines()
    assert followed.take("> " * CONTAINERS_MAX + "```")
    assert not Lines().take("> " * (CONTAINERS_MAX + 1) + "```")

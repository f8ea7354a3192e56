"""What a change is shown as: the path of each file, and the lines that differ."""

from __future__ import annotations

from protocol.cards.diffs import LINES_MAX, unified
from protocol.wire.messages import FileDiff


def test_a_change_shows_the_lines_that_go_and_come_without_those_around_them() -> None:
    old, new = "a\nb\n@@ c\nd\n", "a\nB\n@@ c\nd\ne\n"
    diffs = [FileDiff(path="x.py", old=old, new=new), FileDiff(path="y.py", old=None, new="1\n2")]
    assert unified(diffs) == "x.py\n-b\n+B\n+e\ny.py\n+1\n+2"


def test_of_a_long_file_the_end_is_compared() -> None:
    old = "\n".join(map(str, range(1_000)))
    diff = FileDiff(path="x", old=f"first\n{old}", new=f"other\n{old}\nlast")
    assert unified([diff]) == f"x\n-{1_000 - LINES_MAX}\n+last"

"""What fits a terminal: widths as it draws them, nothing longer than it is wide."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wcwidth import wcswidth

from actors.cli import qr, status, terminal
from actors.cli.parser import build_parser
from actors.host.help_text import HelpText
from actors.kit.plain import plain

CHINESE: dict[str, Any] = {
    "owner_session_id": "dispatcher:1",
    "sessions": [
        {
            "sessionId": f"session:{'x' * 90}{number}",
            "pid": 7,
            "role": "session",
            "metadata": {"cwd": "/home/小明/工作/" + "很长的目录/" * 20},
            "alias": "后端服务会话" * 5,
            "capabilities": ["turns"],
            "connected_at": 0,
        }
        for number in range(3)
    ],
    "bindings": {"oc_" + "1" * 60: "session:" + "2" * 60},
    "chat_names": {"default": {"oc_" + "1" * 60: "研发与运维协作群" * 9, "oc_2": "张三" * 30}},
    "waiting_chats": [
        {"account": "default", "chat_id": "oc_2", "waiting": 12, "oldest_at": 1_000},
        {"account": "default", "chat_id": "oc_3" + "3" * 60, "waiting": 1, "oldest_at": 0},
    ],
    "connection": {"main": {"state": "refused", "last_error": "应用密钥错误" * 40}},
}


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_no_line_of_the_status_is_wider_than_the_terminal(columns: int) -> None:
    lines = status.as_text(CHINESE, now_ms=5_000, columns=columns).splitlines()
    assert max(map(wcswidth, lines)) <= columns
    assert sum("后端" in line for line in lines) == 3, "every session has its line"
    assert [line for line in lines if "张三" in line or "研发" in line]
    assert columns < 80 or any("12 waiting, the oldest for 4s" in line for line in lines)


def test_a_wide_terminal_shows_more() -> None:
    narrow, wide = (status.as_text(CHINESE, now_ms=0, columns=n) for n in (80, 200))
    assert len(narrow) < len(wide)
    assert len(narrow.splitlines()) == len(wide.splitlines())


def test_columns_line_up_under_chinese_text() -> None:
    rows = [("ALIAS", "ROLE"), ("后端", "session"), ("api", "dispatcher")]
    shown = terminal.table(rows, 80)
    assert shown == ["  ALIAS  ROLE", "  后端   session", "  api    dispatcher"]


@given(st.text(max_size=30), st.integers(1, 40))
@example("0\ufe0f0", 2)  # a selector makes the digit before it two columns wide
def test_a_cut_text_fits_and_begins_as_it_did(text: str, limit: int) -> None:
    text = plain(text)
    shown = terminal.cut(text, limit)
    assert terminal.width(shown) <= limit
    assert shown == text or (shown.endswith("…") and text.startswith(shown[:-1]))


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=60)), min_size=1), st.integers(20))
def test_a_table_never_exceeds_its_limit(rows: list[tuple[str, str]], limit: int) -> None:
    assert all(terminal.width(line) <= limit for line in terminal.table(rows, limit))


def parsers_below(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from parsers_below(one)


def test_the_help_of_every_command_fits_a_terminal_of_80_columns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = {one.prog: one.format_help() for one in parsers_below(build_parser())}
    assert len(shown) > 25
    too_long = [line for text in shown.values() for line in text.splitlines() if len(line) > 80]
    assert too_long == []


def test_prose_of_help_is_filled_and_examples_stand_as_they_are() -> None:
    parser = argparse.ArgumentParser(
        prog="x", formatter_class=HelpText, epilog="one\ntwo\n\nexamples:\n  a   b\n  c\n\nthree\n"
    )
    assert parser.format_help().endswith("\none two\n\nexamples:\n  a   b\n  c\n\nthree\n")


LINK = "https://open.feishu.cn/page/launcher?user_code=ABCD-EFGH&addons=" + "x" * 250


@pytest.mark.parametrize(
    ("columns", "height", "drawn", "hint"),
    [
        (80, 60, True, None),
        (80, 24, True, "To scan the code, enlarge the window to "),
        (60, 60, False, " columns would show a code):"),
    ],
)
def test_a_code_that_the_window_can_not_hold_comes_with_what_to_change(
    columns: int, height: int, drawn: bool, hint: str | None
) -> None:
    lines = qr.shown([LINK], columns, height)
    assert lines[-1] == LINK
    code = [line for line in lines if "█" in line]
    assert bool(code) is drawn
    assert all(terminal.width(plain_of(line)) <= columns for line in code)
    assert any(hint in line for line in lines) if hint else len(lines) == len(code) + 2


def test_a_terminal_without_colours_gets_no_code() -> None:
    assert qr.can_be_drawn({"TERM": "xterm"})
    assert not qr.can_be_drawn({"TERM": "dumb"})


def plain_of(line: str) -> str:
    """A line without its colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", line)

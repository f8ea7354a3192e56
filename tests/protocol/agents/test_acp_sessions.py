"""What an agent lists of its own sessions, and what of it people are offered."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.agents.acp_sessions import LISTED_MAX, Listed, newest_first, read_page
from tests.kit.json_values import json_values


def ids(*sessions: object, cwd: str = "/w") -> list[str]:
    page, _ = read_page({"sessions": list(sessions)}, cwd)
    return [one.id for one in page]


def test_a_page_and_the_cursor_of_the_next() -> None:
    page, cursor = read_page(
        {
            "sessions": [
                {
                    "sessionId": "s1",
                    "cwd": "/w",
                    "title": "Mend it",
                    "updatedAt": "2026-01-01T00:00:01.5Z",
                },
                {"sessionId": "s2"},
            ],
            "nextCursor": "c2",
        },
        "/w",
    )
    assert page == [
        Listed(id="s1", title="Mend it", used_at_ms=1_767_225_601_500),
        Listed(id="s2", title=None, used_at_ms=None),
    ]
    assert cursor == "c2"


def test_the_last_page_has_no_cursor() -> None:
    assert read_page({"sessions": []}, "/w") == ([], "")
    assert read_page({"nextCursor": 3}, "/w") == ([], "")


def test_only_this_directory_counts_or_one_that_is_not_named() -> None:
    assert ids(
        {"sessionId": "here", "cwd": "/w"},
        {"sessionId": "elsewhere", "cwd": "/w/sub"},
        {"sessionId": "unnamed", "cwd": ""},
        {"sessionId": "odd", "cwd": 3},
    ) == ["here", "unnamed", "odd"]


@pytest.mark.parametrize("odd", ["odd", None, {}, {"sessionId": ""}, {"sessionId": 3}])
def test_what_cannot_be_taken_up_is_left_out(odd: object) -> None:
    assert ids(odd, {"sessionId": "good"}) == ["good"]


@pytest.mark.parametrize("moment", ["", "yesterday", "0001-01-01T00:00:00+14:00", 7, None])
def test_a_moment_nobody_can_read_is_none(moment: object) -> None:
    (listed,), _ = read_page({"sessions": [{"sessionId": "s", "updatedAt": moment}]}, "/w")
    assert listed.used_at_ms is None or isinstance(moment, str)


def test_the_newest_come_first_and_the_present_one_not_at_all() -> None:
    listed = [
        Listed(id="unknown 1"),
        Listed(id="old", used_at_ms=1),
        Listed(id="present", used_at_ms=9),
        Listed(id="unknown 2"),
        Listed(id="new", used_at_ms=2),
    ]
    offered = [one.id for one in newest_first(listed, without="present")]
    assert offered == ["new", "old", "unknown 1", "unknown 2"]


def test_people_are_offered_a_few() -> None:
    many = [Listed(id=str(number), used_at_ms=number) for number in range(LISTED_MAX + 2)]
    offered = newest_first(many, without="")
    assert len(offered) == LISTED_MAX
    assert offered[0].id == str(LISTED_MAX + 1)


ODD = json_values("sessionId", "cwd", "updatedAt")


@given(st.dictionaries(st.sampled_from(["sessions", "nextCursor"]), ODD))
def test_odd_lists_never_raise(result: dict[str, Any]) -> None:
    page, cursor = read_page(result, "/w")
    assert all(one.id for one in page)
    assert isinstance(cursor, str)

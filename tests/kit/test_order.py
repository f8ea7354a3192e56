"""The longest tests begin first, each in another process."""

from __future__ import annotations

import msgspec
import pytest

from tests.kit.order import longest_first


class Named(msgspec.Struct, frozen=True):
    nodeid: str


def order(names: str, longest: str, workers: int) -> str:
    items = [Named(name) for name in names]
    return "".join(item.nodeid for item in longest_first(items, list(longest), workers))


def test_each_process_begins_with_one_of_the_longest() -> None:
    assert order("abcdefghij", "jeh", 2) == "jhabcedfgi"
    assert order("abcdefghij", "jeh", 1) == "jehabcdfgi"


def test_a_name_that_begins_so_counts_and_those_of_one_beginning_keep_together() -> None:
    items = [Named(name) for name in ("a", "long::1", "b", "long::2", "c", "d")]
    found = [item.nodeid for item in longest_first(items, ["long"], 2)]
    assert found == ["long::1", "long::2", "a", "b", "c", "d"]


@pytest.mark.parametrize("workers", range(1, 8))
@pytest.mark.parametrize("longest", ["", "a", "ghe", "abcdefghij", "x"])
def test_none_is_lost_and_none_comes_twice(longest: str, workers: int) -> None:
    for count in range(11):
        names = "abcdefghij"[:count]
        assert sorted(order(names, longest, workers)) == sorted(names)

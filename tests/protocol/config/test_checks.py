"""The readers that a configuration's keys are made of, one by one."""

from __future__ import annotations

import re
from typing import Any

import pytest

from protocol.config import checks
from protocol.config.checks import CheckFailed, Problems, Reader


def word() -> Reader[str]:
    """Built where it is used: what runs at import is the same whatever is changed in it."""
    return checks.text("a word", re.compile(r"[a-z]+"))


def read(reader: Reader[Any], value: object, path: str = "a.b") -> tuple[object, tuple[str, ...]]:
    """Return what is read, and what is noted as wrong beside it or instead of it."""
    problems = Problems()
    try:
        found = reader(value, path, problems)
    except CheckFailed as problem:
        problems.add(problem)
        return None, problems.lines
    return found, problems.lines


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("blue", None),
        ("Blu", "a.b: is a string; allowed: red, blue; did you mean blue?"),
        ("xyz", "a.b: is a string; allowed: red, blue"),
        ("", "a.b: is an empty string; allowed: red, blue"),
        (3, "a.b: is an integer; allowed: red, blue"),
        (None, "a.b: is null; allowed: red, blue"),
    ],
)
def test_one_of_a_few_words(value: object, error: str | None) -> None:
    expected = (value, ()) if error is None else (None, (error,))
    assert read(checks.one_of("red", "blue"), value) == expected


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (2, None),
        (5, None),
        (1, "a.b: is an integer out of range; allowed: 2 to 5"),
        (6, "a.b: is an integer out of range; allowed: 2 to 5"),
        (True, "a.b: is a boolean; allowed: an integer from 2 to 5"),
        (2.5, "a.b: is a number with a fraction; allowed: an integer from 2 to 5"),
    ],
)
def test_an_integer_in_its_range(value: object, error: str | None) -> None:
    expected = (value, ()) if error is None else (None, (error,))
    assert read(checks.integer(2, 5), value) == expected


def test_a_boolean_and_a_text_are_taken_as_they_are() -> None:
    assert read(checks.boolean, False) == (False, ())
    assert read(checks.boolean, 0) == (None, ("a.b: is an integer; allowed: true, false",))
    assert read(word(), "ab") == ("ab", ())
    assert read(word(), "ab1") == (None, ("a.b: is a string; allowed: a word",))
    assert read(word(), b"ab") == (None, ("a.b: is a bytes; allowed: a word",))


def test_null_where_it_is_allowed() -> None:
    assert read(checks.or_null(word()), None) == (None, ())
    assert read(checks.or_null(word()), "ab") == ("ab", ())
    error = "a.b: is a map; allowed: a word, or null"
    assert read(checks.or_null(word()), {}) == (None, (error,))


def test_a_list_keeps_its_order_and_names_what_is_wrong_in_it() -> None:
    some = checks.list_of(word())
    assert read(some, ["b", "a", "b"]) == (("b", "a", "b"), ())
    assert read(some, ()) == ((), ())
    wrong = ("a.b[1]: is an integer; allowed: a word", "a.b[2]: is a list; allowed: a word")
    assert read(some, ["b", 1, [], "a"]) == (("b", "a"), wrong)
    assert read(some, "ab") == (None, ("a.b: is a string; allowed: a list",))
    two = checks.list_of(word(), at_least=2)
    assert read(two, ["a", "b"]) == (("a", "b"), ())
    assert read(two, ["a"]) == (None, ("a.b: is a list; allowed: a list of at least 2",))


def test_a_set_has_each_once() -> None:
    some = checks.set_of(word())
    assert read(some, ("b", "a", "b")) == (frozenset({"a", "b"}), ())
    wrong = ("a.b[1]: is an integer; allowed: a word", "a.b[2]: is null; allowed: a word")
    assert read(some, ["b", 1, None, "a"]) == (frozenset({"a", "b"}), wrong)
    assert read(some, {"a"}) == (None, ("a.b: is a set; allowed: a list",))


def test_a_map_whose_keys_people_choose() -> None:
    reader = checks.map_of(re.compile("[a-z]+"), "small letters", checks.integer(0, 9))
    assert read(reader, {"b": 1, "a": 2}) == ({"b": 1, "a": 2}, ())
    assert read(reader, {"b": 1, "B": 2, 3: 4, "a": 10, "c": 5}) == (
        {"b": 1, "c": 5},
        (
            "a.b.B: not a possible key; allowed: small letters",
            'a.b["3"]: not a possible key; allowed: small letters',
            "a.b.a: is an integer out of range; allowed: 0 to 9",
        ),
    )
    assert read(reader, []) == (None, ("a.b: is a list; allowed: a map; its keys: small letters",))


def test_a_map_of_known_keys_names_the_one_that_was_meant() -> None:
    problems = Problems()
    readers: dict[str, Reader[Any]] = {"color": word(), "size": checks.integer(0, 9)}
    value = {"colour": "red", "size": 3, "q": 1, 7: 1, "x" * 80: 1}
    assert checks.read_map(value, "", readers, problems) == {"size": 3}
    assert problems.lines == (
        "colour: unknown key; did you mean color?",
        "q: unknown key; known: color, size",
        '["7"]: unknown key; known: color, size',
        f"{'x' * 63}…: unknown key; known: color, size".replace(
            f"{'x' * 63}…", f'["{"x" * 63}\\u2026"]'
        ),
    )
    assert checks.read_map(3, "p", readers, problems) == {}
    assert problems.lines[-1] == "p: is an integer; allowed: a map with the keys color, size"


def test_problems_are_counted_once_and_have_an_end() -> None:
    problems = Problems()
    assert not problems
    for number in range(checks.PROBLEMS_MAX + 2):
        problems.add(CheckFailed(f"a[{number}]", "wrong"))
        problems.add(CheckFailed(f"a[{number}]", "wrong"))
    problems.add(CheckFailed("", "no path"))
    assert problems
    assert len(problems.lines) == checks.PROBLEMS_MAX + 1
    assert problems.lines[-1] == "and 5 more"
    assert (problems.has("a"), problems.has("a[3]"), problems.has("a[")) == (True, True, False)
    assert not problems.has("b")

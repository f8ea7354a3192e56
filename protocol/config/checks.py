"""Reading untrusted maps key by key, with every mistake collected and none thrown.

A message names the path of its key, the kind of the value and what is allowed. It
never shows the value: what stands at the wrong key may be a secret.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeVar

PROBLEMS_MAX: Final = 100
"""More than anybody reads; keeps a hostile file from filling the terminal."""
_SHOWN_KEY_MAX: Final = 64
_PLAIN_KEY: Final = re.compile(r"-{0,2}[A-Za-z_][A-Za-z0-9_-]*")

WORD: Final = re.compile(r"[^\s\x00-\x1f\x7f]+")
NAMED: Final = re.compile(r"[^\x00-\x1f]{1,4096}")
"""A name that a system may give, such as a path."""

ValueT = TypeVar("ValueT")


class CheckFailed(Exception):
    """The value at *path* can't stand there. Caught by whoever reads on beside it."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(f"{path}: {what}" if path else what)
        self.path = path


class Problems:
    """What is wrong so far, each line once, in the order found."""

    def __init__(self) -> None:
        self._lines: dict[str, None] = {}
        self._paths: set[str] = set()
        self._more = 0

    def __bool__(self) -> bool:
        return bool(self._lines)

    def add(self, problem: CheckFailed) -> None:
        line = str(problem)
        self._paths.add(problem.path)
        if line in self._lines:
            return
        if len(self._lines) < PROBLEMS_MAX:
            self._lines[line] = None
        else:
            self._more += 1

    def has(self, path: str) -> bool:
        """Whether something is wrong at *path* or below it."""
        return any(
            wrong == path or wrong.startswith((f"{path}.", f"{path}[")) for wrong in self._paths
        )

    @property
    def lines(self) -> tuple[str, ...]:
        more = (f"and {self._more} more",) if self._more else ()
        return (*self._lines, *more)


Reader = Callable[[Any, str, Problems], ValueT]
"""Read the value at a path, or raise :class:`CheckFailed`; inner problems are noted."""


def wrong_kind(path: str, value: object, allowed: str) -> CheckFailed:
    return CheckFailed(path, f"is {kind_of(value)}; allowed: {allowed}")


def kind_of(value: object) -> str:
    """Name the kind of *value* the way configuration files do."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a number with a fraction"
        case "":
            return "an empty string"
        case str():
            return "a string"
        case Mapping():
            return "a map"
        case list() | tuple():
            return "a list"
    return f"a {type(value).__name__}"


def join(path: str, key: object) -> str:
    """The path of *key* below *path*, quoted where it would be ambiguous."""
    name = str(key)
    if len(name) > _SHOWN_KEY_MAX:
        name = name[: _SHOWN_KEY_MAX - 1] + "…"
    if not _PLAIN_KEY.fullmatch(name):
        return f"{path}[{json.dumps(name)}]"
    return f"{path}.{name}" if path else name


def nearest(word: object, known: Collection[str]) -> str:
    """Return ``; did you mean X?`` where one of *known* is near, else nothing."""
    spelled = str(word)[:_SHOWN_KEY_MAX].lower()
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(spelled, by_lower, n=1, cutoff=0.5)
    return f"; did you mean {by_lower[near[0]]}?" if near else ""


def read_map(
    value: object, path: str, readers: Mapping[str, Reader[Any]], problems: Problems
) -> dict[str, Any]:
    """Read the known keys of a map. Keys that are absent or wrong are left out."""
    if not isinstance(value, Mapping):
        problems.add(wrong_kind(path, value, f"a map with the keys {', '.join(readers)}"))
        return {}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        here = join(path, key)
        reader = readers.get(key) if isinstance(key, str) else None
        try:
            if reader is None:
                hint = nearest(key, readers) or f"; known: {', '.join(readers)}"
                raise CheckFailed(here, f"unknown key{hint}")
            found[key] = reader(inner, here, problems)
        except CheckFailed as problem:
            problems.add(problem)
    return found


# ── readers ─────────────────────────────────────────────────────────────────


def one_of(*allowed: str) -> Reader[str]:
    def read(value: Any, path: str, _problems: Problems) -> str:
        if isinstance(value, str) and value in allowed:
            return value
        hint = nearest(value, allowed) if isinstance(value, str) and value else ""
        raise wrong_kind(path, value, ", ".join(allowed) + hint)

    return read


def boolean(value: Any, path: str, _problems: Problems) -> bool:
    if isinstance(value, bool):
        return value
    raise wrong_kind(path, value, "true, false")


def integer(low: int, high: int) -> Reader[int]:
    def read(value: Any, path: str, _problems: Problems) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise wrong_kind(path, value, f"an integer from {low} to {high}")
        if not low <= value <= high:
            raise CheckFailed(path, f"is an integer out of range; allowed: {low} to {high}")
        return value

    return read


def or_null(reader: Reader[ValueT]) -> Reader[ValueT | None]:
    def read(value: Any, path: str, problems: Problems) -> ValueT | None:
        if value is None:
            return None
        try:
            return reader(value, path, problems)
        except CheckFailed as problem:
            problem.args = (f"{problem}, or null",)
            raise

    return read


def text(allowed: str, pattern: re.Pattern[str]) -> Reader[str]:
    """A string that matches *pattern* whole; *allowed* is the wording for people."""

    def read(value: Any, path: str, _problems: Problems) -> str:
        if isinstance(value, str) and pattern.fullmatch(value):
            return value
        raise wrong_kind(path, value, allowed)

    return read


def list_of(item: Reader[str], *, at_least: int = 0) -> Reader[tuple[str, ...]]:
    """A list whose order counts."""

    def read(value: Any, path: str, problems: Problems) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or len(value) < at_least:
            raise wrong_kind(
                path, value, f"a list of at least {at_least}" if at_least else "a list"
            )
        found = []
        for at, inner in enumerate(value):
            try:
                found.append(item(inner, f"{path}[{at}]", problems))
            except CheckFailed as problem:
                problems.add(problem)
        return tuple(found)

    return read


def set_of(item: Reader[str]) -> Reader[frozenset[str]]:
    read = list_of(item)
    return lambda value, path, problems: frozenset(read(value, path, problems))


def map_of(key: re.Pattern[str], keys_allowed: str, item: Reader[ValueT]) -> Reader[Any]:
    """A map whose keys people choose."""

    def read(value: Any, path: str, problems: Problems) -> dict[str, ValueT]:
        if not isinstance(value, Mapping):
            raise wrong_kind(path, value, f"a map; its keys: {keys_allowed}")
        found: dict[str, ValueT] = {}
        for name, inner in value.items():
            here = join(path, name)
            try:
                if not (isinstance(name, str) and key.fullmatch(name)):
                    raise CheckFailed(here, f"not a possible key; allowed: {keys_allowed}")
                found[name] = item(inner, here, problems)
            except CheckFailed as problem:
                problems.add(problem)
        return found

    return read

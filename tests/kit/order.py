"""In which order the tests run, in so many processes: what takes longest begins first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar


class Named(Protocol):
    @property
    def nodeid(self) -> str: ...


Item = TypeVar("Item", bound=Named)


def longest_first(items: Sequence[Item], longest: Sequence[str], workers: int) -> list[Item]:
    """Return *items* so that those whose names begin as one of *longest* are begun first.

    pytest-xdist's ``worksteal`` gives each process one run of consecutive tests to begin with; the
    longest are dealt out to the beginnings of these, in their order.
    """
    first: list[list[Item]] = [[] for _ in range(workers)]
    ranked = sorted(items, key=lambda item: _rank(item, longest))
    count = sum(_rank(item, longest) < len(longest) for item in items)
    for number in range(len(longest)):
        first[number % workers] += [
            item for item in ranked[:count] if _rank(item, longest) == number
        ]
    rest = ranked[count:]
    order: list[Item] = []
    for number, own in enumerate(first):
        size = (len(items) - len(order)) // (workers - number)
        taken = max(size - len(own), 0)
        order += [*own, *rest[:taken]]
        del rest[:taken]
    return order


def _rank(item: Named, longest: Sequence[str]) -> int:
    for number, name in enumerate(longest):
        if item.nodeid.startswith(name):
            return number
    return len(longest)

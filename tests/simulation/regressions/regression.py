"""What a mend that is undone consists of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from msgspec import Struct


class Regression(Struct, frozen=True, kw_only=True):
    """One mend of the daemon, and how to undo it."""

    name: str
    seen: str
    """What went wrong before it, in one line."""
    undo: Callable[[], AbstractContextManager[None]]
    """While the block runs, the daemon is as if it had never been mended."""


@contextmanager
def replaced(owner: Any, **values: Any) -> Iterator[None]:
    """Give *owner* other attributes while the block runs.

    Raises:
        AttributeError: it has no such one any more, so that nothing would be undone.
    """
    before = {name: getattr(owner, name) for name in values}
    try:
        for name, value in values.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)

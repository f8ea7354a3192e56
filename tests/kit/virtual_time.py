"""Runs a test with a clock that jumps ahead whenever all tasks wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from inspect import iscoroutinefunction

import pytest
import trio
from trio.testing import MockClock


def mark(items: Sequence[pytest.Item]) -> None:
    """Let those run so whose module is marked with ``virtual_time``."""
    for item in items:
        if item.get_closest_marker("virtual_time") and iscoroutinefunction(getattr(item, "obj", 0)):
            item.add_marker(pytest.mark.trio(run=_run), append=False)


def _run(
    main: Callable[[], Awaitable[None]],
    *,
    clock: trio.abc.Clock | None,
    instruments: Sequence[trio.abc.Instrument],
) -> None:
    clock = clock or MockClock(autojump_threshold=0)
    trio.run(main, clock=clock, instruments=instruments)

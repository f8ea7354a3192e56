"""What is left in memory until the collector of garbage looks at it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def nothing_kept_of(kind: type[Any]) -> Iterator[None]:
    """Assert that each *kind* that the block makes is freed as soon as nothing uses it."""

    def kept() -> set[int]:
        return {id(one) for one in gc.get_objects() if type(one) is kind}

    gc.collect()
    before = kept()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        assert not kept() - before, f"{kind.__name__} holds itself"
    finally:
        if enabled:
            gc.enable()

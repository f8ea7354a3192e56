"""Nurseries whose tasks serve the block they are opened for, and end after it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import tricycle
import trio


@asynccontextmanager
async def open_service_nursery() -> AsyncIterator[trio.Nursery]:
    """Open a service nursery of tricycle's, and free it as soon as it is over.

    tricycle gives it a ``start`` and a ``start_soon`` of its own, which hold the nursery that
    holds them: without this each one stays in memory until garbage is collected.
    """
    nursery: trio.Nursery | None = None
    try:
        async with tricycle.open_service_nursery() as nursery:
            yield nursery
    finally:
        if nursery is not None:
            vars(nursery).pop("start", None)
            vars(nursery).pop("start_soon", None)

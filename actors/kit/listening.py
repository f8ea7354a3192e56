"""Serving a listener that somebody else owns, so that a restart does not lose the port."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio


async def serve_borrowed(
    listener: trio.abc.Listener[trio.abc.Stream],
    handler: Callable[[trio.abc.Stream], Awaitable[None]],
    handler_nursery: trio.Nursery,
) -> None:
    """Accept until cancelled, a *handler* task a connection; *listener* stays open."""
    await trio.serve_listeners(handler, [Borrowed(listener)], handler_nursery=handler_nursery)


class Borrowed(trio.abc.Listener[trio.abc.Stream]):
    """A listener that stays open when this one is closed."""

    def __init__(self, inner: trio.abc.Listener[trio.abc.Stream]) -> None:
        self.inner = inner

    async def accept(self) -> trio.abc.Stream:
        return await self.inner.accept()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

"""How long the loop waits for the store's thread: to its end, or until the store is given up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, Protocol, TypeVar, TypeVarTuple

import structlog
import trio

ANSWERED_WITHIN_S: Final = 90.0
"""Longer than any call of a store that works takes: it looks for 60 s what became of a COMMIT,
and a try to connect, and what it waits for in it, takes some seconds. By then nobody has
confirmed the claim for a minute, and it is lost."""

log = structlog.get_logger()

ArgumentTs = TypeVarTuple("ArgumentTs")
ResultT = TypeVar("ResultT")


class RunSync(Protocol):
    """A way to run the store's methods, one at a time."""

    def __call__(
        self, function: Callable[[*ArgumentTs], ResultT], *args: *ArgumentTs
    ) -> Awaitable[ResultT]: ...


class GivenUp(Exception):
    """The store is given up: nothing is committed any more."""

    def __init__(self) -> None:
        super().__init__("the cluster is lost; nothing is committed any more")


@asynccontextmanager
async def waited_for(
    in_thread: RunSync, wait_given_up: Callable[[], Awaitable[None]] | None
) -> AsyncIterator[RunSync]:
    """Give what runs a function by *in_thread*, and raises :exc:`GivenUp` once that is so.

    A thread that connects to a server that is away waits 2 s for each of its addresses, and for
    their names as long as the resolver does; nothing frees it. A call under way is left to end
    by itself, and the block ends after it. None: it is never given up. One that does not end in
    :data:`ANSWERED_WITHIN_S` gives the store up as well.
    """
    if wait_given_up is None:
        yield in_thread
        return
    async with trio.open_nursery() as nursery:
        calls = _Calls(in_thread, nursery)
        nursery.start_soon(calls.give_up_after, wait_given_up)
        yield calls
        nursery.cancel_scope.cancel(reason="the store is not used any more")


class _Calls:
    def __init__(self, in_thread: RunSync, nursery: trio.Nursery) -> None:
        self._in_thread = in_thread
        self._nursery = nursery
        self._go_on = trio.Event()
        self._given_up = False

    async def give_up_after(self, wait_given_up: Callable[[], Awaitable[None]]) -> None:
        await wait_given_up()
        self._given_up = True
        self._go_on.set()

    async def __call__(
        self, function: Callable[[*ArgumentTs], ResultT], *args: *ArgumentTs
    ) -> ResultT:
        if self._given_up:
            await trio.lowlevel.checkpoint()
            raise GivenUp
        go_on = self._go_on = trio.Event()
        results: list[ResultT] = []

        async def call() -> None:
            try:
                results.append(await self._in_thread(function, *args))
            finally:
                go_on.set()

        self._nursery.start_soon(call)
        # As *in_thread*: what was committed is answered.
        with trio.move_on_after(ANSWERED_WITHIN_S, shield=True) as answered:
            await go_on.wait()
        if results:
            return results[0]
        if answered.cancelled_caught:
            log.error("journal.hangs", after_s=ANSWERED_WITHIN_S)
            self._given_up = True
        if not self._given_up:
            await trio.sleep_forever()  # the call was cut, or crashed: so are we
        raise GivenUp

"""A thread of its own for work that must not run in the loop, one call at a time.

For calls as short as a commit: ``trio.to_thread`` finds a thread, a limiter's token and a
context for each call, and costs twice as much.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, NoReturn, TypeVar, TypeVarTuple

import trio

ArgumentTs = TypeVarTuple("ArgumentTs")
ResultT = TypeVar("ResultT")


class _Call(Generic[ResultT]):
    """One call, and what came of it."""

    def __init__(self, work: Callable[[], ResultT]) -> None:
        self._work = work
        self._task = trio.lowlevel.current_task()
        self._token = trio.lowlevel.current_trio_token()
        self._done: Callable[[], ResultT] = partial(_raise, RuntimeError("the thread ended"))

    def make(self) -> None:
        """Do it, in the thread, and wake who waits for it."""
        try:
            result = self._work()
            self._done = lambda: result
        except Exception as raised:  # noqa: BLE001  # raised again where it was called from
            self._done = partial(_raise, raised)
        finally:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(trio.lowlevel.reschedule, self._task)

    async def result(self) -> ResultT:
        await trio.lowlevel.wait_task_rescheduled(_cannot_be_cut)
        return self._done()


class OwnThread:
    """Calls run in order. One is never abandoned: cancelled, its caller waits for its end."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[_Call[Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def __call__(
        self, function: Callable[[*ArgumentTs], ResultT], *args: *ArgumentTs
    ) -> ResultT:
        """Run it in the thread; return or raise what it does."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._thread is None:
            # A daemon thread: a disk that hangs must not keep the process alive.
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        call = _Call(partial(function, *args))
        self._calls.put(call)
        return await call.result()

    def close(self) -> None:
        """Let the thread end after the last call."""
        if self._thread is not None:
            self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call.make()
            del call  # nothing is kept until the next one


def _raise(raised: BaseException) -> NoReturn:
    raise raised


def _cannot_be_cut(_raise_cancel: object) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.FAILED

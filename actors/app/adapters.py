"""What the daemon touches outside of its own memory, as arguments of the composition.

The real ones are the defaults; the simulation passes others, all of them in memory
and in virtual time. Nothing below the composition opens a socket, a process or a
thread, reads a clock or draws a random number that did not come from here.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar, TypeVarTuple

import msgspec
import trio

from actors import monitoring
from actors.agents import RunAgent, run_process
from actors.app.listening import Listeners, open_listeners
from actors.feishu.dial import Dial, dial_tcp
from actors.feishu.exchange import Transport
from actors.journal import RunSync, own_thread
from actors.kit import watchdog
from actors.kit.leaving import receive_leaving_signals
from actors.kit.supervisor import Child

ArgumentTs = TypeVarTuple("ArgumentTs")
ResultT = TypeVar("ResultT")


async def listen_on_tcp(host: str, port: int) -> tuple[Listeners, int]:
    """Listen; return the listeners and their port, which is a free one for 0.

    Raises:
        CannotListen: the address is taken, unknown or forbidden.
    """
    listeners = await open_listeners(host, port, option="--listen HOST:PORT")
    return listeners, listeners[0].socket.getsockname()[1]


def run_in_thread(
    function: Callable[[*ArgumentTs], ResultT], *args: *ArgumentTs
) -> Awaitable[ResultT]:
    """Run *function* in a thread; cancelled, wait for its end all the same."""
    return trio.to_thread.run_sync(function, *args)


def now_ms() -> int:
    """Wall time, for what people and other processes read."""
    return time.time_ns() // 1_000_000


class Adapters(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    listen: Callable[[str, int], Awaitable[tuple[Listeners, int]]] = listen_on_tcp
    """``listen(host, port)`` gives what proxies connect to, and its port."""
    http: Callable[[], Transport] | None = None
    """A transport for each account's calls to the platform; None: connections of its own."""
    dial: Dial = dial_tcp
    """``dial(host, port, tls)`` opens the stream of a long connection."""
    journal_worker: Callable[[], RunSync] = own_thread
    """Runs the store of the journal, one call at a time."""
    in_thread: RunSync = run_in_thread
    """Runs what waits for the disk beside the journal."""
    run_agent: RunAgent = run_process
    """Runs an agent started from a chat to its end."""
    signals: Callable[[], AbstractContextManager[AsyncIterable[int]]] = receive_leaving_signals
    arm_watchdog: Callable[..., Callable[[], None] | None] = watchdog.arm
    """Ends the process unless it has ended in time, or what it returns is called."""
    monitored: Callable[[monitoring.Peers], AbstractContextManager[Any]] = nullcontext
    """Entered while a daemon runs, with whom metrics and console may ask about it."""
    now_ms: Callable[[], int] = now_ms
    """Wall time in milliseconds since 1970; durations are Trio's clock."""
    random_bytes: Callable[[int], bytes] = os.urandom
    guard: Callable[[str], AbstractContextManager[Any]] = nullcontext
    """Entered around every run of an actor, which it may end as a crash would."""

    def guarded(self, child: Child) -> Child:
        """Return *child* with each of its runs inside :attr:`guard`."""

        async def run(*, task_status: trio.TaskStatus[None]) -> None:
            with self.guard(child.name):
                await child.run(task_status=task_status)

        return msgspec.structs.replace(child, run=run)

    def below(self, limit: int) -> int:
        """Return a random number from 0 to below *limit*, as :func:`secrets.randbelow`."""
        bits = limit.bit_length()
        while True:
            drawn = int.from_bytes(self.random_bytes((bits + 7) // 8)) >> (-bits % 8)
            if drawn < limit:
                return drawn

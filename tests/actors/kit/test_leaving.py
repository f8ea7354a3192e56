"""Which signals ask a process to leave, and how often each counts."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator

import pytest
import trio

from actors.app.shutdown import relay_signals
from actors.kit.leaving import receive_leaving_signals
from actors.messages import shutdown


@pytest.fixture
def hang_up_is_ignored() -> Iterator[None]:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_each_asks(number: signal.Signals) -> None:
    with receive_leaving_signals() as signals:
        os.kill(os.getpid(), number)
        async for received in signals:
            assert received == number
            break


async def test_what_nohup_started_stays(hang_up_is_ignored: None) -> None:
    with receive_leaving_signals() as signals:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        async for received in signals:
            assert received == signal.SIGTERM
            break
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


async def test_a_terminal_that_closes_asks_once() -> None:
    """Both the kernel and the shell send SIGHUP; the second is no wish for haste."""

    async def received() -> AsyncIterator[int]:
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM, signal.SIGTERM):
            yield number

    send, requests = trio.open_memory_channel[shutdown.ShutdownMessage](4)
    with send, requests:
        await relay_signals(received(), send)
        send.close()
        assert [one.reason async for one in requests] == ["SIGHUP", "SIGTERM", "SIGTERM"]

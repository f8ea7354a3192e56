"""Which signals ask a process to leave."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from actors.kit.leaving import receive_leaving_signals


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

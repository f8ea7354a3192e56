"""A stream of events is over when its client is, also in the middle of an event."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from starlette.responses import StreamingResponse
from starlette.types import Message
from trio.testing import MockClock

from actors.monitoring import console
from actors.sandbox import control


@pytest.mark.parametrize("answer", [control.ClosingStream, console.ClosingStream])
async def test_what_makes_the_events_ends_with_its_client(
    autojump_clock: MockClock, answer: type[StreamingResponse]
) -> None:
    over: list[bool] = []

    async def events() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"data: 1\n\n"
        finally:
            over.append(True)

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await trio.sleep_forever()  # the client reads no more

    made = events()
    with trio.move_on_after(1):
        await answer(made).stream_response(send)
    assert over == [True]

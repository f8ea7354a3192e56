"""Those who only want to work: a proxy that streams its answers, who writes to it, a command."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import trio

from tests.kit import preloaded
from tests.kit.daemon import Platform, environment
from tests.kit.raw_proxy import Map, RawProxy

ANSWER_WITHIN_S = 60.0
"""Of a machine that runs other tests beside; how long it takes is measured in bench."""
DELTAS = 12


def answer_to(text: str) -> str:
    return "".join(f"{text} word {number} 界 **b**\n" for number in range(DELTAS))


class HonestProxy:
    """Streams an answer to each message of one chat, word by word."""

    def __init__(self, proxy: RawProxy, chat_id: str, turns: Path) -> None:
        self._proxy = proxy
        self._chat_id = chat_id
        self._turns = turns
        self._sending = trio.StrictFIFOLock()
        self.answered: dict[str, trio.Event] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        async with trio.open_nursery() as nursery:
            while True:
                message = await self._proxy.receive()
                if message["t"] == "deliver":
                    nursery.start_soon(self._answer, message)
                else:
                    assert message["t"] in ("cancel", "error"), message

    async def _answer(self, deliver: Map) -> None:
        turn_id, text = deliver["turn_id"], deliver["content"]
        await self._send(t="ack", event_id=deliver["event_id"], attempt=deliver["attempt"])
        if deliver["chat_id"] == self._chat_id:
            with self._turns.open("a") as file:
                file.write(f"{turn_id}\n")
            for delta in answer_to(text).splitlines(keepends=True):
                await self._send(t="delta", turn_id=turn_id, text=delta)
                await trio.sleep(0.01)
        await self._send(t="turn_end", turn_id=turn_id, status="complete")
        if deliver["chat_id"] == self._chat_id:
            self.answered[text].set()

    async def _send(self, **message: Any) -> None:
        async with self._sending:
            await self._proxy.send(**message)


async def write_and_wait(
    platform: Platform, chat: Map, proxy: HonestProxy, over: trio.Event, written: list[str]
) -> None:
    """Write one message after the other until stopped; each is answered before the next."""
    while not over.is_set():
        text = f"honest {len(written)}"
        proxy.answered[text] = trio.Event()
        await platform.send(chat, text)
        with trio.fail_after(ANSWER_WITHIN_S):
            await proxy.answered[text].wait()
        written.append(text)


async def ask_status(state_dir: Path, over: trio.Event) -> AsyncIterator[int]:
    """Ask with a command, as an operator does, again and again; give how often."""
    asked = 0
    while not over.is_set():
        with trio.fail_after(ANSWER_WITHIN_S):
            status = json.loads(await _status(state_dir))
        assert any(one["session_id"] == "boss" for one in status["sessions"])
        asked += 1
        yield asked


async def _status(state_dir: Path) -> bytes:
    arguments = ["status", "--json", "--state-dir", str(state_dir)]
    process = await preloaded.start("actors.cli", arguments, environment())
    assert process.stdout is not None
    try:
        shown = b""
        async for chunk in process.stdout:
            shown += chunk
        return shown
    finally:
        process.kill()
        with trio.move_on_after(60, shield=True):
            await process.wait()
            process.close()

"""The two that larkd is compared with, as processes of their own: lark-oapi and its channel.

``bench/cards.py`` starts some and gives each, line by line on stdin, a :class:`Task`, then the
text of its turns as it comes: ``<number of the chat> <text>``, without text where the turn
is over. Lines of output that begin with ``@`` are JSON: :class:`Begun`, then :class:`Over`.
The libraries print, too.
"""

from __future__ import annotations

import asyncio  # noqa: TID251  # what the libraries run on
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import lark_oapi as lark
import msgspec
from lark_oapi.api.cardkit.v1 import (
    Card,
    CreateCardRequest,
    CreateCardRequestBody,
    UpdateCardRequest,
    UpdateCardRequestBody,
)
from lark_oapi.api.im.v1 import CreateMessageRequest, CreateMessageRequestBody

from bench.policies import FIXED_PAUSE_S

OPENED_WITHIN_S = 60.0
SILENT = 60
"""Above every level of their logger."""


class Task(msgspec.Struct, kw_only=True):
    """What to stream, where, and how."""

    base_url: str
    app_id: str
    secret: str
    is_channel: bool
    """lark-oapi's channel; else a fixed pause and whole cards."""
    chats: list[str]
    create_every_s: float


class Begun(msgspec.Struct, kw_only=True):
    """Every card is open that will be: text may come."""

    opened: int


class Over(msgspec.Struct):
    """Every turn has ended, or failed."""


Append = Callable[[str], Awaitable[None]]
Turn = Callable[[str], Coroutine[Any, Any, None]]
"""``turn(chat)``: show one turn there."""


class Text(asyncio.Protocol):
    """Takes the text of all turns from stdin; an empty one is the end of its turn."""

    def __init__(self, chats: list[str]) -> None:
        self.of: dict[str, asyncio.Queue[str]] = {chat: asyncio.Queue() for chat in chats}
        self._chats = chats
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            number, _, text = line.decode().partition(" ")
            self.of[self._chats[int(number)]].put_nowait(text)


class Bot:
    """All turns of one run."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.text = Text(task.chats)
        self.opened = 0

    async def run(self) -> None:
        one = self._channel() if self.task.is_channel else self._fixed()
        turns: list[asyncio.Task[None]] = []
        for chat in self.task.chats:
            turns.append(asyncio.create_task(one(chat)))
            await asyncio.sleep(self.task.create_every_s)
        until = time.time() + OPENED_WITHIN_S
        while self.opened < sum(not turn.done() for turn in turns) and time.time() < until:
            await asyncio.sleep(0.1)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: self.text, sys.stdin)
        _mark(Begun(opened=self.opened))
        await asyncio.gather(*turns, return_exceptions=True)
        _mark(Over())

    async def _take(self, chat: str, append: Append) -> None:
        """Hand on what the turn's model writes, until it is over."""
        self.opened += 1
        while text := await self.text.of[chat].get():
            await append(text)

    def _channel(self) -> Turn:
        from lark_oapi.channel import FeishuChannel  # noqa: PLC0415  # slow, and one of two needs it

        task = self.task
        channel = FeishuChannel(app_id=task.app_id, app_secret=task.secret, domain=task.base_url)

        async def one(chat: str) -> None:
            async def producer(stream: Any) -> None:
                await stream.append("... ")  # its card is created with the first text
                await self._take(chat, stream.append)

            await channel.stream(chat, {"markdown": producer})

        return one

    def _fixed(self) -> Turn:
        task = self.task
        builder = lark.Client.builder().app_id(task.app_id).app_secret(task.secret)
        client = builder.domain(task.base_url).build()
        return lambda chat: self._one_fixed(client, chat)

    async def _one_fixed(self, client: Any, chat: str) -> None:
        card_id = await _open_card(client, chat)
        text, sequence, is_over = "", 0, False

        async def update() -> None:
            nonlocal sequence
            sequence += 1
            data = _card(text + (" [end]" if is_over else ""))
            shown = Card.builder().type("card_json").data(data).build()
            body = UpdateCardRequestBody.builder().card(shown).sequence(sequence)
            body = body.uuid(f"{card_id}-{sequence}").build()
            request = UpdateCardRequest.builder().card_id(card_id).request_body(body).build()
            await client.cardkit.v1.card.aupdate(request)

        async def throttle() -> None:
            while not is_over:
                await asyncio.sleep(FIXED_PAUSE_S)
                await update()

        async def append(piece: str) -> None:
            nonlocal text
            text += piece

        updates = asyncio.create_task(throttle())
        await self._take(chat, append)
        is_over = True
        await updates
        await update()


async def _open_card(client: Any, chat: str) -> str:
    body = CreateCardRequestBody.builder().type("card_json").data(_card("...")).build()
    request = CreateCardRequest.builder().request_body(body).build()
    made = await client.cardkit.v1.card.acreate(request)
    card_id: str = made.data.card_id
    content = json.dumps({"type": "card", "data": {"card_id": card_id}})
    message = CreateMessageRequestBody.builder().receive_id(chat).msg_type("interactive")
    message = message.content(content).build()
    sending = CreateMessageRequest.builder().receive_id_type("chat_id").request_body(message)
    await client.im.v1.message.acreate(sending.build())
    return card_id


def _card(text: str) -> str:
    config = {"streaming_mode": False, "update_multi": True}
    elements = [{"tag": "markdown", "element_id": "md", "content": text}]
    return json.dumps({"schema": "2.0", "config": config, "body": {"elements": elements}})


def _mark(what: Begun | Over) -> None:
    print("@" + msgspec.json.encode(what).decode(), flush=True)


def main() -> None:
    lark.logger.setLevel(SILENT)
    # Not through a buffer, in which text of the turns would stay.
    head = b""
    while not head.endswith(b"\n"):
        head += os.read(sys.stdin.fileno(), 1)
    task = msgspec.json.decode(head, type=Task)
    asyncio.run(Bot(task).run())

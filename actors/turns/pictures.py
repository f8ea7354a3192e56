"""The pictures of one turn: looked for as they are named, shown when the platform has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from actors.kit.mailbox import ask_or
from actors.messages import pictures
from actors.turns.client import TurnClient
from protocol.cards.turn import Turn

RESOLVE_WITHIN_S: Final = 45.0
"""Fetching takes 10 s at most, and the upload waits for its share of the rate budget."""


class TurnPictures:
    """Asks for each picture once; *changed* is called when one has taken its place."""

    def __init__(self, turn: Turn, client: TurnClient, changed: Callable[[], None]) -> None:
        self._turn = turn
        self._client = client
        self._changed = changed
        self._asked: set[str] = set()
        self._pending: set[str] = set()
        self._settled = trio.Event()

    def look(self, nursery: trio.Nursery) -> None:
        """Ask for what the answer names and nobody asked for yet."""
        for url in self._turn.answer.pictures:
            if url not in self._asked:
                self._asked.add(url)
                self._pending.add(url)
                nursery.start_soon(self._resolve, url)

    async def _resolve(self, url: str) -> None:
        image_key: str | None = await ask_or(
            self._client.peers.pictures_tx,
            lambda reply: pictures.Resolve(
                account=self._client.opening.account, url=url, reply=reply
            ),
            within_s=RESOLVE_WITHIN_S,
            otherwise=_stays_a_link,
        )
        if url not in self._pending:
            return  # given up: what was sent is not to change any more
        self._pending.discard(url)
        if image_key is not None and self._turn.answer.picture_ready(url, image_key):
            self._changed()
        if not self._pending:
            self._settled.set()

    async def settle(self, within_s: float) -> None:
        """Wait until none is asked for any more, so long at most."""
        with trio.move_on_after(within_s):
            while self._pending:
                self._settled = trio.Event()
                await self._settled.wait()

    async def settle_for_good(self) -> None:
        """Wait a moment; what has not come then stays a link: its text is sent for good."""
        await self.settle(self._client.peers.picture_wait_s)
        self._pending.clear()
        self._settled.set()

    def let_go(self) -> None:
        """Call nothing back any more."""
        self._changed = lambda: None


def _stays_a_link(_reason: str) -> str | None:
    return None

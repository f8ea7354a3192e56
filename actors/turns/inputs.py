"""What comes of one turn, applied to it in its order.

Text that no card can show yet wakes nobody: it lies in the mailbox until the presenter looks,
before it plans an update; several pieces are then taken as one. Everything else, and text in
plenty, is taken as it comes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from actors.messages import turn
from protocol.wire import messages as wire
from protocol.wire.link import join_deltas
from protocol.wire.pieces import is_large


class TurnInputs:
    """The turn's mailbox. Its presenter may :meth:`sleep` while it has no use for text."""

    def __init__(
        self,
        inbox: turn.InputReceiver,
        receive: Callable[[turn.TurnInput], None],
        receive_large: Callable[[turn.TurnInput], Awaitable[None]],
        received: Callable[[], None],
    ) -> None:
        """*received* is called after each or several of them."""
        self._inbox = inbox
        self._receive = receive
        self._receive_large = receive_large
        self._received = received
        self._busy = False
        """Whether a task takes what came, and all of it is left to that, in its order; or
        nothing is taken any more."""

    def sleep(self) -> None:
        """Be woken by no text, until :meth:`wake`: who shows the turn looks by itself."""
        self._inbox.sleep()

    def wake(self) -> None:
        self._inbox.wake()

    def look(self) -> None:
        """Take the text that has come and woken nobody."""
        if not (self._busy or self._inbox.rung):
            self._take()

    def finish(self) -> None:
        """Take all that lies there, whatever has rung for it, and nothing more."""
        if not self._busy:
            with suppress(trio.EndOfChannel):
                while (large := self._take()) is not None:
                    self._receive(large)
        self._busy = True

    async def listen(self, changed: Callable[[], Awaitable[None]]) -> None:
        """Take what comes, and call *changed* after it; return when nothing more can come."""
        while True:
            await self._inbox.wait()
            self._busy = True
            try:
                while (large := self._take()) is not None:
                    await self._receive_large(large)
                    self._received()
            except trio.EndOfChannel:
                return
            self._busy = False
            await changed()

    def _take(self) -> turn.TurnInput | None:
        """Take all that is there; return what is large, before it is taken.

        Raises:
            trio.EndOfChannel: nothing is there, nor will be.
        """
        texts: list[wire.TurnMessage] = []
        try:
            while (message := self._inbox.taken()) is not None:
                if is_large(message):
                    return message
                if isinstance(message, wire.Delta):
                    texts.append(message)
                    continue
                self._apply(texts)
                texts = []
                self._receive(message)
            return None
        finally:
            self._apply(texts)
            self._received()

    def _apply(self, texts: list[wire.TurnMessage]) -> None:
        for text in join_deltas(texts):
            self._receive(text)

    def let_go(self) -> None:
        """Call nothing back any more."""
        self._receive = lambda _message: None
        self._receive_large = _nothing
        self._received = lambda: None


async def _nothing(_message: turn.TurnInput) -> None:
    await trio.lowlevel.checkpoint()

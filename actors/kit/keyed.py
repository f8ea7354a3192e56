"""One child per key, opened on demand, each with a mailbox of its own.

Used by one task only. A child's crash is its own end: it is reported, its key is
free again, and the others go on. Who asked it something is notified of its end.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import trio

from actors.kit.mailbox import drain

KeyT = TypeVar("KeyT", bound=Hashable)
MessageT = TypeVar("MessageT")

RunChild = Callable[
    [KeyT, trio.MemoryReceiveChannel[MessageT], trio.MemorySendChannel[MessageT]], Awaitable[None]
]
"""``run(key, inbox, own)``: *own* lets the child write to itself from its children."""
Crashed = Callable[[KeyT, ExceptionGroup[Exception]], None]


class KeyedChildren(Generic[KeyT, MessageT]):
    """The children of *nursery* that are found by key."""

    def __init__(
        self,
        nursery: trio.Nursery,
        run: RunChild[KeyT, MessageT],
        *,
        mailbox_messages_max: int,
        crashed: Crashed[KeyT],
    ) -> None:
        self._nursery = nursery
        self._run = run
        self._mailbox_messages_max = mailbox_messages_max
        self._crashed = crashed
        self._by_key: dict[KeyT, trio.MemorySendChannel[MessageT]] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def get(self, key: KeyT) -> trio.MemorySendChannel[MessageT] | None:
        """Return the mailbox of a living child."""
        return self._by_key.get(key)

    def mailboxes(self) -> tuple[trio.MemorySendChannel[MessageT], ...]:
        return tuple(self._by_key.values())

    def open(self, key: KeyT) -> trio.MemorySendChannel[MessageT]:
        """Return the mailbox of the child for *key*, which is started if it is not alive."""
        # No checkpoint from the miss to the entry, so no second child for this key.
        mailbox = self._by_key.get(key)
        if mailbox is None:
            mailbox, inbox = trio.open_memory_channel[MessageT](self._mailbox_messages_max)
            self._by_key[key] = mailbox
            self._nursery.start_soon(self._run_one, key, mailbox, inbox, name=f"{key}")
        return mailbox

    def forget(self, key: KeyT, mailbox: trio.MemorySendChannel[MessageT]) -> None:
        """Take a child that is about to end off the books, so that nobody writes to it.

        The child calls this in the same step in which it finds nothing left to do.
        """
        if self._by_key.get(key) is mailbox:
            del self._by_key[key]

    async def _run_one(
        self,
        key: KeyT,
        mailbox: trio.MemorySendChannel[MessageT],
        inbox: trio.MemoryReceiveChannel[MessageT],
    ) -> None:
        try:
            with mailbox, inbox:
                try:
                    await self._run(key, inbox, mailbox)
                finally:
                    drain(inbox)
        except* Exception as group:  # noqa: BLE001  # whatever it was, it is this child's end
            self._crashed(key, group)
        finally:
            self.forget(key, mailbox)

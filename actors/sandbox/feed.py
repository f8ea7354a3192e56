"""What changed, for the chat page: the latest of each thing, never a queue of all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio


class Subscriber:
    """One reader of the feed. A slow one finds fewer, fresher changes."""

    def __init__(self) -> None:
        self._latest: dict[tuple[str, str], Callable[[], Any]] = {}
        self._changed = trio.Event()

    def put(self, kind: str, key: str, make: Callable[[], Any]) -> None:
        self._latest[kind, key] = make
        self._changed.set()

    async def wait_changes(self) -> list[tuple[str, Any]]:
        """Wait until something changed; return each kind with its present form."""
        await self._changed.wait()
        self._changed = trio.Event()
        latest, self._latest = self._latest, {}
        return [(kind, make()) for (kind, _), make in latest.items()]


class Feed:
    """Notifies every subscriber of every change."""

    def __init__(self) -> None:
        self.seq = 0
        self._subscribers: set[Subscriber] = set()

    def changed(self, kind: str, key: str, make: Callable[[], Any]) -> None:
        """*make* gives the thing as it is when a reader gets to it."""
        self.seq += 1
        for subscriber in self._subscribers:
            subscriber.put(kind, key, make)

    def subscribe(self) -> Subscriber:
        subscriber = Subscriber()
        self._subscribers.add(subscriber)
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        self._subscribers.discard(subscriber)

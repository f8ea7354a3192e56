"""The platform's rate limits: sliding windows, enforced exactly.

Per app and API 50 in a second and 1,000 in a minute (HTTP 429, 99991400, with the
reset in a header); per chat 5 sends and per message 5 patches in a second (230020);
per card entity 10 operations in a second.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

import trio

from actors.sandbox.errors import PlatformError

PER_SECOND: Final = 50
PER_MINUTE: Final = 1_000
PER_CHAT_SECOND: Final = 5
PER_MESSAGE_SECOND: Final = 5
PER_CARD_SECOND: Final = 10
MINUTE_S: Final = 60.0


class Limits:
    """Counts the calls of all apps. Refused calls do not count."""

    def __init__(self, *, enforce: bool) -> None:
        self._enforce = enforce
        self._calls: dict[tuple[str, ...], deque[float]] = {}

    def check_api(self, app_id: str, template: str) -> None:
        """Count one call of an API, or refuse it.

        Raises:
            PlatformError: 99991400 with ``x-ogw-ratelimit-limit`` and ``-reset``.
        """
        if not self._enforce:
            return
        calls, now = self._window("api", app_id, template), trio.current_time()
        for limit, span_s in ((PER_SECOND, 1.0), (PER_MINUTE, MINUTE_S)):
            if len(calls) >= limit and calls[-limit] > now - span_s:
                raise _frequency_limit(limit, calls[-limit] + span_s - now)
        calls.append(now)

    def check_card(self, card_id: str) -> None:
        if self._over("card", card_id, PER_CARD_SECOND):
            raise _frequency_limit(PER_CARD_SECOND, 1.0)

    def check_send(self, chat_id: str) -> None:
        if self._over("chat", chat_id, PER_CHAT_SECOND):
            raise _triggers_limit()

    def check_patch(self, message_id: str) -> None:
        if self._over("message", message_id, PER_MESSAGE_SECOND):
            raise _triggers_limit()

    def forget_idle(self) -> None:
        """Drop windows in which nothing counts any more."""
        before = trio.current_time() - MINUTE_S
        for key in [key for key, calls in self._calls.items() if calls[-1] < before]:
            del self._calls[key]

    def _over(self, kind: str, name: str, limit: int) -> bool:
        if not self._enforce:
            return False
        calls, now = self._window(kind, name), trio.current_time()
        if len(calls) >= limit and calls[-limit] > now - 1:
            return True
        calls.append(now)
        return False

    def _window(self, *key: str) -> deque[float]:
        calls = self._calls.get(key)
        if calls is None:
            calls = self._calls[key] = deque(maxlen=PER_MINUTE)
        return calls


def _frequency_limit(limit: int, reset_s: float) -> PlatformError:
    return PlatformError(
        99991400,
        "request trigger frequency limit",
        status=429,
        headers={
            "x-ogw-ratelimit-limit": str(limit),
            "x-ogw-ratelimit-reset": str(max(1, math.ceil(reset_s))),
        },
    )


def _triggers_limit() -> PlatformError:
    return PlatformError(230020, "This operation triggers the frequency limit.")

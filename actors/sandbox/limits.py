"""The platform's rate limits: sliding windows, enforced exactly.

Per app and API 50 in a second and 1,000 in a minute (HTTP 429, 99991400, with the
reset in a header); per chat 5 sends and per message 5 patches in a second (230020);
per card entity 10 operations in a second.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from typing import Annotated, Any, Final

import msgspec
import trio

from actors.sandbox.errors import PlatformError

MINUTE_S: Final = 60.0
CALLS_MAX: Final = 10_000
"""The largest limit that can be set, which bounds what a window remembers."""


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """What one API takes from one app."""

    per_second: Annotated[int, msgspec.Meta(ge=1, le=CALLS_MAX)] = 50
    per_minute: Annotated[int, msgspec.Meta(ge=1, le=CALLS_MAX)] = 1_000


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The platform's documented limits, unless a test asks for others."""

    enforce: bool = True
    streaming_exempt: bool = False
    """Whether updates of a card in streaming mode count towards no API's quota. The
    platform's pages have it so in one place and give numbers in another."""
    quota: Quota = Quota()
    apis: dict[str, Quota] = {}
    """``"METHOD /template"`` → its own quota."""
    per_chat_second: int = 5
    per_message_second: int = 5
    per_card_second: int = 10


class CallLimits:
    """Counts the calls of all apps, each API by itself. Refused calls do not count."""

    def __init__(self, settings: LimitSettings) -> None:
        self.settings = settings
        self._calls: dict[tuple[str, ...], deque[float]] = {}
        self._refused: Counter[tuple[str, str]] = Counter()

    def check_api(self, app_id: str, api: str) -> None:
        """Count one call of an API, ``"METHOD /template"``, or refuse it.

        Raises:
            PlatformError: 99991400 with ``x-ogw-ratelimit-limit`` and ``-reset``.
        """
        if not self.settings.enforce:
            return
        quota = self.settings.apis.get(api, self.settings.quota)
        calls, now = self._window("api", app_id, api), trio.current_time()
        for limit, span_s in ((quota.per_second, 1.0), (quota.per_minute, MINUTE_S)):
            if len(calls) >= limit and calls[-limit] > now - span_s:
                self._refused[app_id, api] += 1
                raise _frequency_limit(limit, calls[-limit] + span_s - now)
        calls.append(now)

    def usage(self) -> list[dict[str, Any]]:
        """How much of each API's windows is used at this moment, and what was refused."""
        now = trio.current_time()
        return [
            {
                "app_id": key[1],
                "api": key[2],
                "last_second": sum(at > now - 1 for at in calls),
                "last_minute": sum(at > now - MINUTE_S for at in calls),
                "refused": self._refused[key[1], key[2]],
            }
            for key, calls in self._calls.items()
            if key[0] == "api"
        ]

    def check_card(self, card_id: str) -> None:
        if self._over("card", card_id, self.settings.per_card_second):
            raise _frequency_limit(self.settings.per_card_second, 1.0)

    def check_send(self, chat_id: str) -> None:
        if self._over("chat", chat_id, self.settings.per_chat_second):
            raise _triggers_limit()

    def check_patch(self, message_id: str) -> None:
        if self._over("message", message_id, self.settings.per_message_second):
            raise _triggers_limit()

    def forget_idle(self) -> None:
        """Drop windows in which nothing counts any more."""
        before = trio.current_time() - MINUTE_S
        for key in [key for key, calls in self._calls.items() if calls[-1] < before]:
            del self._calls[key]

    def _over(self, kind: str, name: str, limit: int) -> bool:
        if not self.settings.enforce:
            return False
        calls, now = self._window(kind, name), trio.current_time()
        if len(calls) >= limit and calls[-limit] > now - 1:
            return True
        calls.append(now)
        return False

    def _window(self, *key: str) -> deque[float]:
        calls = self._calls.get(key)
        if calls is None:
            calls = self._calls[key] = deque(maxlen=CALLS_MAX)
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

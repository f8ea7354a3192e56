"""The tenant token of one account: kept, renewed ahead, fetched once for all who need it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import trio

from protocol.platform.outcomes import NoAnswer, Rejected

RENEW_AHEAD_S: Final = 600.0
"""The platform gives a new token only in the last 30 minutes of the old; 10 are ours."""
LAST_SECONDS_S: Final = 5.0
"""A token this near its end may be over when the call arrives."""
RENEW_AGAIN_S: Final = 30.0
"""Pause after a renewal that failed while the old token still serves."""


class TenantToken(msgspec.Struct, frozen=True, kw_only=True):
    value: str
    renew_at: float
    ends_at: float

    def __repr__(self) -> str:
        return f"TenantToken(ends_at={self.ends_at:g})"


def tenant_token(value: str, valid_s: float, now: float) -> TenantToken:
    """Return the token that is valid for *valid_s* from *now*, however short that is."""
    return TenantToken(
        value=value,
        renew_at=now + valid_s - min(RENEW_AHEAD_S, valid_s / 2),
        ends_at=now + valid_s - min(LAST_SECONDS_S, valid_s / 2),
    )


FetchedToken = TenantToken | Rejected | NoAnswer


class _Renewal:
    """One fetch that several calls wait for."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.outcome: FetchedToken | None = None
        """None once done: who fetched was cut off, so another has to."""


class Tokens:
    """Gives a token to each call that asks; *fetch* asks the platform for one."""

    def __init__(self, fetch: Callable[[], Awaitable[FetchedToken]]) -> None:
        self._fetch = fetch
        self._token: TenantToken | None = None
        self._renewal: _Renewal | None = None
        self._not_before = 0.0

    async def get(self) -> FetchedToken:
        """Return a token that is good now, or what came of the one attempt to fetch it."""
        while True:
            now, token = trio.current_time(), self._token
            # One call renews ahead; the others need not wait for it.
            if token is not None and now < token.ends_at and not self._is_renewal_due(token, now):
                return token
            if self._renewal is None:
                return await self._renew()
            renewal = self._renewal
            await renewal.done.wait()
            if renewal.outcome is not None:
                return renewal.outcome

    def _is_renewal_due(self, token: TenantToken, now: float) -> bool:
        return now >= max(token.renew_at, self._not_before) and self._renewal is None

    def refused(self, token: TenantToken) -> None:
        """Forget *token*: the platform does not take it. A newer one stays."""
        if self._token is token:
            self._token = None

    async def _renew(self) -> FetchedToken:
        renewal = self._renewal = _Renewal()
        try:
            outcome = await self._fetch()
            renewal.outcome = self._keep(outcome)
        finally:
            # Also when cut off: somebody may wait, and will do it instead.
            self._renewal = None
            renewal.done.set()
        return renewal.outcome

    def _keep(self, outcome: FetchedToken) -> FetchedToken:
        """Keep what was fetched; a failed renewal leaves the old token in use."""
        if isinstance(outcome, TenantToken):
            self._token = outcome
            return outcome
        now = trio.current_time()
        self._not_before = now + RENEW_AGAIN_S
        token = self._token
        return token if token is not None and now < token.ends_at else outcome

"""Tenant tokens: the same one while half an hour remains, a new one after."""

from __future__ import annotations

import random
from typing import Final

from actors.sandbox.clock import Clock
from actors.sandbox.errors import PlatformError
from actors.sandbox.world import RegisteredApp, World

VALID_S: Final = 7_200.0
RENEWABLE_S: Final = 1_800.0
TOKENS_MAX: Final = 1_000


class IssuedTokens:
    def __init__(self, world: World, clock: Clock, rng: random.Random) -> None:
        self._world = world
        self._clock = clock
        self._rng = rng
        self._tokens: dict[str, tuple[str, float]] = {}

    def app(self, app_id: object, secret: object) -> RegisteredApp:
        """Return the app these credentials are for.

        Raises:
            PlatformError: 10003 malformed, 10014 unknown app or wrong secret.
        """
        if not isinstance(app_id, str) or not isinstance(secret, str):
            raise PlatformError(10003, "invalid param")
        app = self._world.apps.get(app_id)
        if app is None or app.secret != secret:
            raise PlatformError(10014, "app secret invalid")
        return app

    def issue(self, app: RegisteredApp) -> tuple[str, int]:
        """Return a token and the seconds it is still valid."""
        now = self._clock.now()
        self._tokens = {token: held for token, held in self._tokens.items() if held[1] > now}
        for token, (app_id, until) in self._tokens.items():
            if app_id == app.app_id and until - now >= RENEWABLE_S:
                return token, int(until - now)
        token = f"t-g104{self._rng.getrandbits(144):036x}"
        if len(self._tokens) < TOKENS_MAX:
            self._tokens[token] = (app.app_id, now + VALID_S)
        return token, int(VALID_S)

    def expire_all(self) -> None:
        self._tokens.clear()

    def check(self, header: str | None) -> str:
        """Return the app id an Authorization header belongs to.

        Raises:
            PlatformError: 99991661, 99991671 or 99991663.
        """
        if not header or not header.startswith("Bearer "):
            raise PlatformError(99991661, "Missing access token for authorization.")
        token = header.removeprefix("Bearer ").strip()
        if not token.startswith(("t-", "u-")):
            raise PlatformError(99991671, "Invalid token: must start with t-/u-")
        app_id, until = self._tokens.get(token, ("", 0.0))
        if not app_id or self._clock.now() >= until:
            raise PlatformError(99991663, "Invalid access token for authorization.")
        return app_id

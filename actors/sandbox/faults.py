"""Faults on demand: what a call is to meet instead of, or beside, its answer."""

from __future__ import annotations

import itertools
from typing import Any, Final, Literal

import msgspec
import trio

from actors.sandbox.errors import PlatformError

HANG_S: Final = 600.0
"""Longer than any client waits; bounded all the same."""
FAULTS_MAX: Final = 1_000

FaultKind = Literal[
    "code", "delay", "hang", "drop", "apply_then_drop", "apply_then_hang", "garbage"
]


class Match(msgspec.Struct, frozen=True, kw_only=True):
    method: str | None = None
    template: str | None = None


class FaultRule(msgspec.Struct, kw_only=True):
    """Meets matching calls, after the first *after* of them, *times* times (null: always)."""

    kind: FaultKind
    match: Match = Match()
    code: int = 0
    status: int = 400
    headers: dict[str, str] = {}
    body: Any = None
    message: str = "injected fault"
    seconds: float = 0.0
    times: int | None = 1
    after: int = 0
    fault_id: int = 0


class Faults:
    def __init__(self) -> None:
        self._rules: list[FaultRule] = []
        self._numbers = itertools.count(1)
        self._lifted = trio.Event()

    def add(self, rule: FaultRule) -> int:
        if len(self._rules) >= FAULTS_MAX:
            raise PlatformError(9499, "too many faults; DELETE /sandbox/faults first")
        rule.fault_id = next(self._numbers)
        self._rules.append(rule)
        return rule.fault_id

    def clear(self) -> None:
        """Lift them all. What is being delayed goes on."""
        self._rules.clear()
        self._lifted.set()
        self._lifted = trio.Event()

    async def delay(self, seconds: float) -> None:
        """Wait for so long, or until the faults are lifted."""
        with trio.move_on_after(seconds):
            await self._lifted.wait()

    def rules(self) -> list[FaultRule]:
        return list(self._rules)

    def take(self, method: str, template: str) -> FaultRule | None:
        """Return the fault this call meets, and count it."""
        for rule in self._rules:
            if rule.match.method not in (None, method):
                continue
            if rule.match.template not in (None, template):
                continue
            if rule.after > 0:
                rule.after -= 1
                continue
            if rule.times is not None:
                rule.times -= 1
                if rule.times <= 0:
                    self._rules.remove(rule)
            return rule
        return None

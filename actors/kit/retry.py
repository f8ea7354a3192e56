"""Trying again while it helps: with a growing pause, and an end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import msgspec
import trio

OutcomeT = TypeVar("OutcomeT")


class Pauses(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait between two tries, in seconds: the first time, and at most."""

    first_s: float
    max_s: float


class Tries(msgspec.Struct, Generic[OutcomeT], frozen=True, kw_only=True):
    """When another try is worth it, and until when."""

    again_after_s: Callable[[OutcomeT, float], float | None]
    """``again_after_s(outcome, pause_s)``: when to try again; None: it would come to the same."""
    pauses: Pauses
    within_s: float | None
    """No try begins later than this after the first one; None: until cancelled."""


def until_done(pauses: Pauses, within_s: float) -> Tries[bool]:
    """Try what returns whether it is done until it is, for *within_s* seconds."""
    return Tries[bool](
        again_after_s=lambda done, pause_s: None if done else pause_s,
        pauses=pauses,
        within_s=within_s,
    )


async def while_it_helps(
    attempt: Callable[[], Awaitable[OutcomeT]], tries: Tries[OutcomeT]
) -> OutcomeT:
    """Return the outcome of the last try. What is tried can be repeated without harm.

    Each attempt has a deadline of its own; cancelled, it gives up at once.
    """
    pause_s = tries.pauses.first_s
    until = None if tries.within_s is None else trio.current_time() + tries.within_s
    while True:
        outcome = await attempt()
        again_s = tries.again_after_s(outcome, pause_s)
        if again_s is None or (until is not None and trio.current_time() + again_s > until):
            return outcome
        await trio.sleep(again_s)
        pause_s = min(pause_s * 2, tries.pauses.max_s)

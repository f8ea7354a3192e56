"""Trying again: how long it waits, and when it stops."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from actors.kit.retry import Pauses, Tries, while_it_helps


@pytest.mark.parametrize(
    ("outcomes", "result", "at"),
    [
        (["yes"], "yes", [0]),
        (["no", "no", "no", "yes"], "yes", [0, 1, 3, 7]),
        (["no", "no", "no", "no", "no", "yes"], "yes", [0, 1, 3, 7, 11, 15]),
        (["later", "yes"], "yes", [0, 9]),
        (["never", "yes"], "never", [0]),
        (["no"] * 100, "no", [0, 1, 3, 7, 11, 15, 19]),
    ],
    ids=["at once", "doubles", "capped", "as the other side asks", "of no use", "too late"],
)
async def test_a_call_is_made_again_while_it_helps(
    autojump_clock: MockClock, outcomes: list[str], result: str, at: list[int]
) -> None:
    made: list[float] = []

    async def attempt() -> str:
        made.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        return outcomes[len(made) - 1]

    def again_after_s(outcome: str, pause_s: float) -> float | None:
        return {"no": pause_s, "later": 9.0}.get(outcome)

    tries = Tries(again_after_s=again_after_s, pauses=Pauses(first_s=1.0, max_s=4.0), within_s=20.0)
    assert await while_it_helps(attempt, tries) == result
    assert made == at

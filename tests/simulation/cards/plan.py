"""The plan of a seed: one turn with all that a card shows, faults of its calls, and its end."""

from __future__ import annotations

import random
from typing import Final, Literal

from tests.simulation import plan as plans

ENDPOINTS: Final = {
    "create": "/cardkit/v1/cards$",
    "send": "/reply$",
    "whole card": "/cardkit/v1/cards/[^/]+$",
    "content": "/content$",
    "batch": "/batch_update$",
    "element": "/elements/[^/]+$",
    "settings": "/settings$",
}
TEXT: Final = ("content", "batch", "element")
"""Endpoints that carry text and never an end."""
RATE: Final = (99991400, 230020, 11232)
CLOSED: Final = (200850, 300309)
SEQUENCE: Final = (300317, 200770)
BUSY: Final = (200810,)
TOO_LARGE: Final = (200860, 230025, 300305, 230099)
GONE: Final = (200750, 200740, 230011, 231003, 230031)
TOKEN: Final = (99991663, 99991664, 99991668)
MISSING_SCOPE: Final = 99991672
CODES: Final = (
    *RATE, *CLOSED, *SEQUENCE, *BUSY, *TOO_LARGE, *GONE, *TOKEN, MISSING_SCOPE, 500,
)  # fmt: skip
RECALLED: Final = (230011, 231003)
SENDING: Final = (*RATE, *RECALLED, *TOKEN, 2200)
"""What is answered to a reply: about the message it answers, or about no card at all."""
WAYS: Final[tuple[plans.HttpFaultKind, ...]] = (
    "slow", "lost before", "lost after", "hangs", "hangs after", "twice", "late",
)  # fmt: skip
GONE_CALLS_MAX: Final = 4
"""Of the endpoint that ends a card: what is answered again and again is believed."""
CALM_AT_S: Final = 45.0
"""Not before: the turn has ended, or its process was down, with the faults still there."""
End = Literal["complete", "dies", "stopped"]


class CardPlan(plans.Plan, frozen=True, kw_only=True):
    end: End
    faults: tuple[plans.BadHttp, ...]

    def endpoints(self) -> set[str]:
        """Name those that meet a fault."""
        return {name for name, part in ENDPOINTS.items() if part in {f.part for f in self.faults}}

    def codes(self) -> set[int]:
        return {fault.code for fault in self.faults if fault.kind == "code"}


class Nothing(plans.Action, frozen=True, kw_only=True):
    """All stays as it is until then."""


def make_card_plan(seed: int) -> CardPlan:
    """Return the plan of a seed: the same each time, and on every machine."""
    chance = random.Random(f"cards {seed}")
    faults = tuple(_fault(chance) for _ in range(chance.choice((0, 1, 1, 1, 2))))
    end: End = chance.choice(("complete", "complete", "complete", "dies", "dies", "stopped"))
    actions: list[plans.Action] = [
        plans.Attach(at=0.0, session="boss"),
        plans.Write(at=1.0, chat="Alice", text="full"),
        *faults,
        Nothing(at=CALM_AT_S),
    ]
    ends_at = round(chance.uniform(1.2, 12.0), 2)
    if end == "dies":
        actions.append(plans.Die(at=ends_at, steps=chance.randrange(60), down_s=0.5))
    elif end == "stopped":
        actions.append(plans.Write(at=ends_at, chat="Alice", text="stop"))
    ordered = tuple(sorted(actions, key=lambda one: one.at))
    return CardPlan(seed=seed, actions=ordered, end=end, faults=faults)


def _fault(chance: random.Random) -> plans.BadHttp:
    endpoint = chance.choice(tuple(ENDPOINTS))
    at, calls = chance.choice((0.9, 1.5, 3.0, 5.0)), chance.choice((1, 2, 40))
    if chance.random() < 0.35:
        kind, seconds = chance.choice(WAYS), chance.choice((0.15, 1.0, 5.0))
        if kind == "slow" and seconds < 1:
            calls = 1_000
        return plans.BadHttp(
            at=at, kind=kind, seconds=seconds, calls=min(calls, 3) if seconds > 1 else calls,
            part=ENDPOINTS[endpoint],
        )  # fmt: skip
    code = chance.choice(SENDING if endpoint == "send" else CODES)
    if code in GONE and endpoint == "whole card":
        calls = min(calls, GONE_CALLS_MAX)
    if code in RECALLED and endpoint == "send":
        calls = 1_000  # it stays so
    seconds = chance.choice((0.0, 6.0, 30.0)) if code in RATE else 0.0
    return plans.BadHttp(
        at=at, kind="code", code=code, seconds=seconds, calls=calls, part=ENDPOINTS[endpoint]
    )

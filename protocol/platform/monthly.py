"""The monthly budget of calls: what is left out, in which order, as it runs low.

The platform's plans count an app's calls by the month. Ticks go first, then text, then
everything but ends: a card that starts late or grows in fewer steps is still right, one
that never ends is not.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

FINAL_PRIORITY: Final = 0
CREATE_PRIORITY: Final = 1
STRUCTURE_PRIORITY: Final = 2
TEXT_PRIORITY: Final = 3
TICK_PRIORITY: Final = 4

_STAGES: Final = (
    (1.0, FINAL_PRIORITY),
    (0.97, CREATE_PRIORITY),
    (0.95, STRUCTURE_PRIORITY),
    (0.80, TEXT_PRIORITY),
)
"""From which share of the budget on, up to which priority calls are still made."""


def month_of(wall_ms: int) -> str:
    """Return the calendar month, in UTC, such as ``2026-11``."""
    return f"{datetime.fromtimestamp(wall_ms / 1000, UTC):%Y-%m}"


def allowed_priority(used: int, budget: int) -> int:
    """Return up to which priority calls may be made."""
    share = used / budget if budget else 1.0
    reached = (priority for from_share, priority in _STAGES if share >= from_share)
    return next(reached, TICK_PRIORITY)

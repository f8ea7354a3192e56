"""How much a run of the tests tries: a nightly one, more of everything."""

from __future__ import annotations

import os
from typing import Final

NIGHTLY: Final = os.environ.get("LARKD_NIGHTLY") == "1"
NIGHTLY_TIMES: Final = 20
# Set by mutmut, also while it looks which test runs what.
MUTATING: Final = "MUTANT_UNDER_TEST" in os.environ
MUTATING_EXAMPLES_MAX: Final = 15


def examples(count: int, *, nightly: int | None = None) -> int:
    """Return how many examples to try of a property that is worth *count* each time.

    A *nightly* run tries so many, or 20 times as many.
    """
    if MUTATING:
        return min(count, MUTATING_EXAMPLES_MAX)
    if not NIGHTLY:
        return count
    return count * NIGHTLY_TIMES if nightly is None else nightly

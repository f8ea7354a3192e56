"""How often, and how long, the parts of the daemon may start, restart and stop."""

from __future__ import annotations

from typing import Final

from actors.kit.supervisor import RestartBudget

CORE_BUDGET: Final = RestartBudget(restarts_max=3, window_s=60.0)
EDGES_BUDGET: Final = RestartBudget(restarts_max=10, window_s=60.0, backoff_max_s=30.0)
EDGES_START_WITHIN_S: Final = 30.0
"""Each of them has a limit of its own, and a connection starts after two of them."""
OWNERSHIP_START_WITHIN_S: Final = 60.0
"""For a journal that is slow, or fails for a while."""
REFUSED_AGAIN_S: Final = 30.0
LANES_MARGIN_S: Final = 3.0
"""Beyond the cards' own deadline, before a lane that does not end is named."""

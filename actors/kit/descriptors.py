"""How many files and sockets this process may have open."""

from __future__ import annotations

import resource
from typing import Final

WANTED: Final = 16_384
"""Several times what 2,048 sessions need; more would only slow down starting children."""


def raise_limit() -> int:
    """Raise the soft limit of descriptors as far as is of use and allowed; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # macOS allows less than its hard limit
            return soft
        return wanted
    return WANTED if soft == resource.RLIM_INFINITY else soft

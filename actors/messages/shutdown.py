"""What the shutdown coordinator accepts."""

from __future__ import annotations

from actors.messages.base import Message


class Leave(Message, frozen=True, kw_only=True):
    """Leave in order, with this exit status. The first request's status stands."""

    exit_status: int
    reason: str
    by_signal: bool = False
    """Whether the process itself is to end, whatever else this run ends for."""
    lost: bool = False
    """Another may hold the cluster: nothing can be shown any more, and proxies go there first."""


ShutdownMessage = Leave

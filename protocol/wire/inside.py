"""Who speaks for a session without being one: the MCP server inside an attached agent.

It registers as an observer under that session's id, with a proof made by the token of the
session's role; an observer's own token gives it nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from protocol.wire.vocabulary import CAPABILITY_INSIDE, Role


def speaks_for_session(role: Role, capabilities: Iterable[str], proven_by: Role) -> bool:
    """Whether who registers so may call the tools of the session it names."""
    return role == "observer" and CAPABILITY_INSIDE in capabilities and proven_by != "observer"

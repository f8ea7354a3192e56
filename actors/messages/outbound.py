"""A tool of the session's own, and who calls it, as its link knows it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from actors.messages.ownership import ToolAnswer
from protocol.ids import SessionId


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    session_id: SessionId
    cwd: str | None = None
    """The session's working directory, as its proxy registered it: files are read from there alone.
    None where the proxy is on another machine, whose paths mean nothing on this one."""


SessionTool = Callable[[Caller, Mapping[str, Any]], Awaitable[ToolAnswer]]
"""``tool(caller, args)``; it answers within a deadline of its own."""

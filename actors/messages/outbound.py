"""Who calls a tool of the session's own, as its link knows it."""

from __future__ import annotations

import msgspec

from protocol.ids import SessionId


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    session_id: SessionId
    cwd: str | None = None
    """The session's working directory, as its proxy registered it: files are read from there alone.
    None where the proxy is on another machine, whose paths mean nothing on this one."""

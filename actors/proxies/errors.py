"""What the client raises, by what its user can do about it."""

from __future__ import annotations


class ProxyError(Exception):
    """Base of what this client raises. Catch one of its children."""


class DaemonNotRunning(ProxyError):
    """There is no daemon to attach to; the text says where it was looked for."""


class Refused(ProxyError):
    """The daemon refuses this session for a reason that trying again does not change."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Replaced(ProxyError):
    """A newer connection speaks for this session."""


class Disconnected(ProxyError):
    """The link dropped before the answer came; the call may have taken effect."""


class ToolFailed(ProxyError):
    """The daemon answered a tool call with an error."""

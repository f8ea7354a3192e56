"""Whose fault it is. A refusal is not here: it is an answer, not an exception."""

from __future__ import annotations


class ProtocolError(Exception):
    """Never raised itself; catch one of its two children."""


class LocalProtocolError(ProtocolError):
    """We broke the rules: a bug here. Let it crash the actor."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the rules. Close that link with a reason.

    ``code`` is the code the peer is sent, where its protocol has one.
    """

    def __init__(self, message: str, *, code: str = "bad_frame") -> None:
        super().__init__(message)
        self.code = code


class ConfigurationError(Exception):
    """larkd can't start as it is set up; each line names the change to make. Exit status 2."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems

"""What the client raises, by what its user can do about it; and what an agent fails with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from actors.kit.plain import plain_part

REMEDIES: Final[Mapping[str, str]] = {
    "unsupported_protocol": "install matching versions of daemon and proxy",
    "bad_proof": "use the token of this role, tokens/<role>.token in the daemon's state directory",
    "invalid_session_id": "a session id is 1 to 128 of A-Z a-z 0-9 . _ : -",
    "register_timeout": "this machine was too slow to answer in time; try again",
    "draining": "the daemon is leaving; try again in a moment",
    "too_many_sessions": "close sessions that are not needed",
    "role_mismatch": "use another session id, or the dispatcher's token",
    "invalid_message": "at most 32 pairs of metadata, keys up to 64 and values up to 1,024 long",
}


def explained(
    code: str, message: str, role: str, token_file: Path | None
) -> tuple[str, str | None]:
    """Return why the daemon refused, for a person, and the remedy where there is one."""
    if code == "bad_proof" and token_file is not None:
        why = f"the token in {token_file} is not that of role {role}"
        copy = f"copy tokens/{role}.token from the daemon's state directory"
        return why, f"{copy}, and name the copy in LARKD_TOKEN_FILE"
    return plain_part(message), REMEDIES.get(code)


class ProxyError(Exception):
    """Base of what this client raises. Catch one of its children."""


class DaemonNotRunning(ProxyError):
    """There is no daemon to attach to; the text names where it was looked for."""


class SessionRefused(ProxyError):
    """The daemon does not let this session in; the text is what to change.

    It never ends a proxy that has been attached, or that waits for its daemon: who refuses
    has not proved to be the daemon, and what was wrong may be put right.
    """

    def __init__(
        self, code: str, message: str, *, role: str = "", token_file: Path | None = None
    ) -> None:
        """*token_file* is what the proof of *role* was made with, where one was named."""
        why, remedy = explained(code, message, role, token_file)
        super().__init__(f"{plain_part(code)}: {why}" + (f" ({remedy})" if remedy else ""))
        self.code = code


class StandingBy(SessionRefused):
    """A node of the cluster answers that another one serves it. It is never final."""

    def __init__(self, message: str, at: tuple[str, ...], retry_after_ms: int | None) -> None:
        super().__init__("standby", message)
        self.at = at
        """Where it sees the holder, as ``tls://host:port``."""
        self.retry_after_ms = retry_after_ms


class NotTheDaemon(ProxyError):
    """Who holds the port has no proof of being the daemon. Nothing of it is believed."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(
            f"something else answers at {host}:{port}; it does not know this state"
            " directory's token"
        )


class StartFailed(ProxyError):
    """The agent could not be started; the text is why, the end of it in the agent's words.

    *remedy* is for a person at a terminal; empty: the text has one.
    """

    def __init__(self, why: str, remedy: str = "") -> None:
        super().__init__(why)
        self.remedy = remedy


class AgentFailed(Exception):
    """The agent could not do what was asked; the text is for who asked."""

    remedy = ""
    """What a person at a terminal can do about it; empty: the text has all."""


class AgentEnded(AgentFailed):
    """It ended, or closed its output."""

    remedy = (
        "It must speak the Agent Client Protocol on its standard input and output; run it by"
        " itself to see more of what it writes."
    )


class LoginWanted(AgentFailed):
    """It works for nobody who has not logged in on its machine."""

    remedy = (
        "Log in with the agent's own command, as this user; or give it its key, by --env NAME"
        " before the --."
    )


class AgentUnheard(AgentFailed):
    """It ended before it reported anything of its prompt: another run may be given it."""


class Replaced(ProxyError):
    """A newer connection speaks for this session."""


class Disconnected(ProxyError):
    """No link to the daemon, or it dropped before the answer came.

    A call that was out may have taken effect; it is never sent again by itself.
    """


class ToolCallFailed(ProxyError):
    """The daemon answered a tool call with an error."""

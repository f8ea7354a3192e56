"""What the long connection's actor accepts, and the one way it gives up."""

from __future__ import annotations

from actors.messages.base import Message


class Disconnect(Message, frozen=True, kw_only=True):
    """Close the socket and stay away; frames not yet journaled are not acked."""


ConnectionMessage = Disconnect


class CredentialsRefusedError(Exception):
    """The platform does not know this app id and secret, and never did in this run.

    A human has to act, so the daemon ends with the exit status for it.
    """

    def __init__(self, account: str, code: int, message: str) -> None:
        super().__init__(
            f"account {account}: the platform refused the app's credentials ({code}: {message}); "
            "check appId, appSecret and domain, and that the app is enabled"
        )
        self.account = account
        self.code = code

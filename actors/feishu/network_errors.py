"""Why the network did not carry a call, in the words that people search for."""

from __future__ import annotations

import os
import socket
import ssl
from typing import Final

_CAUSES_MAX: Final = 10
_PLATFORM: Final = "the platform"


def words_of(failed: BaseException, whom: str = "") -> str | None:
    """Return why *whom* was not reached: the system's own words of what lies below *failed*.

    Libraries put words of their own around the system's. None: it is no error of the network
    or of TLS. *whom* is the proxy where one leads there; empty: the platform itself.
    """
    cause: BaseException | None = failed
    for _ in range(_CAUSES_MAX):
        if isinstance(cause, socket.gaierror):
            name = f"the name of {whom}" if whom else f"{_PLATFORM}'s name"
            return f"{name} can't be resolved"
        if isinstance(cause, ssl.SSLError):
            return _of_tls(cause)
        if isinstance(cause, OSError) and cause.strerror:
            number = cause.errno or 0
            words = os.strerror(number) if number > 0 else cause.strerror
            return f"{whom} can't be reached: {words}".strip()[:300]
        following = None if cause is None else cause.__cause__ or cause.__context__
        if isinstance(cause, BaseExceptionGroup):
            following = cause.exceptions[0]
        if following is None:
            return None
        cause = following
    return None


def _of_tls(failed: ssl.SSLError) -> str:
    if isinstance(failed, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted: {failed.verify_message}; where the network shows one"
            " of its own, name the file of its authority in SSL_CERT_FILE"
        )[:300]
    return f"no TLS is agreed on: {(failed.reason or str(failed)).lower().replace('_', ' ')}"[:300]

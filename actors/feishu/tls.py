"""The system's certificates, read once for every connection to the outside."""

from __future__ import annotations

import functools
import ssl


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Return the context of clients; reading the certificates takes tens of milliseconds."""
    return ssl.create_default_context()

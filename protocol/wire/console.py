"""What opens the console: a token made of a role's own, so that it ends when that is rotated.

It stands in an address, which browsers keep; the role's token itself never does.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from hashlib import sha256

from protocol.wire.vocabulary import Role


def console_token(key: bytes) -> str:
    """Return the token of the holder of *key*, lower-case hex."""
    return hmac.new(key, b"larkd console", sha256).hexdigest()


def role_of(token: str, keys: Mapping[Role, bytes]) -> Role | None:
    """Return whose console token this is; None: nobody's. Compared in constant time."""
    found: Role | None = None
    for role, key in keys.items():
        if hmac.compare_digest(console_token(key).encode(), token.encode(errors="replace")):
            found = role
    return found

"""The proof of a proxy: that it holds the token of the role it claims.

The token never crosses the connection; a keyed digest over the daemon's nonce does,
so what is overheard on one connection opens no other.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from protocol.wire.messages import Register
from protocol.wire.vocabulary import Role

WRONG_PROOF_FIRST_S: Final = 0.25
WRONG_PROOF_MAX_S: Final = 2.0
WRONG_PROOF_FORGOTTEN_S: Final = 60.0
ALL_LOGGED: Final = 10
LOGGED_EVERY: Final = 1_000
"""After the first ones; each line counts how many there were."""

PROVEN_BY: Final[Mapping[str, tuple[Role, ...]]] = {
    "dispatcher": ("dispatcher",),
    "session": ("session", "dispatcher"),
    "observer": ("observer", "session", "dispatcher"),
}
"""Role → the roles whose token proves it: a stronger token also proves weaker roles."""


def proof(key: bytes, nonce: bytes, session_id: str, role: str) -> str:
    """Return the lower-case hex proof that the holder of *key* sends in ``register``."""
    signed = b"\x00".join((nonce, session_id.encode(), role.encode()))
    return hmac.new(key, signed, hashlib.sha256).hexdigest()


def daemon_proof(key: bytes, proxy_nonce: bytes, daemon_nonce: bytes, session_id: str) -> str:
    """Return the daemon's own proof, which it sends in ``registered``.

    *key* is the token that verified the proxy's proof. Whoever holds the port is not yet
    the daemon: only who knows the same token can answer the proxy's nonce.
    """
    signed = b"\x00".join((b"larkd daemon", proxy_nonce, daemon_nonce, session_id.encode()))
    return hmac.new(key, signed, hashlib.sha256).hexdigest()


def is_daemon(key: bytes, claimed: str | None, register: Register, daemon_nonce: bytes) -> bool:
    """Return, for the proxy that sent *register*, whether *claimed* proves the daemon."""
    if register.nonce is None or claimed is None:
        return False
    expected = daemon_proof(key, register.nonce, daemon_nonce, register.session_id)
    return hmac.compare_digest(expected.encode(), claimed.encode(errors="replace"))


class Verified(Struct, frozen=True):
    """A proof that holds: whose token made it, and the daemon's proof in return."""

    by: Role
    proof: str | None
    """None where the proxy sent no nonce."""


class Keyring:
    """The role tokens of one state directory. Its text form shows none of them."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Mapping[Role, bytes]) -> None:
        if not all(keys.values()):
            raise ValueError("an empty key proves nothing; every role needs its token")
        self._keys = dict(keys)

    def __repr__(self) -> str:
        return f"Keyring({', '.join(sorted(self._keys))})"

    def verify(self, nonce: bytes, register: Register) -> Verified | None:
        """Check the proof of *register* on the daemon's *nonce*; None: it does not hold.

        Every token that may prove the role is tried, in constant time, so that the
        answer takes as long whichever of them was right.
        """
        given = register.proof.encode(errors="replace")
        verified: Verified | None = None
        for prover in PROVEN_BY[register.role]:
            key = self._keys.get(prover)
            if key is None:
                continue
            expected = proof(key, nonce, register.session_id, register.role).encode()
            if hmac.compare_digest(expected, given):
                ours = None
                if register.nonce is not None:
                    ours = daemon_proof(key, register.nonce, nonce, register.session_id)
                verified = Verified(prover, ours)
        return verified


class WrongProofs:
    """How long the refusal of a wrong proof waits: twice as long each time, then a limit.

    Right proofs are never slowed down, so nobody can lock anybody else out by guessing.
    A minute without a wrong one forgets them.
    """

    def __init__(self) -> None:
        self.count = 0
        """Wrong proofs that are not forgotten."""
        self._last_s = 0.0
        self.is_worth_a_line = False
        """Of the last one: a flood of guesses is not to push all else out of the log."""

    def delay_s(self, now_s: float) -> float:
        """Count one more at *now_s* of a monotonic clock; return the seconds to wait."""
        if now_s - self._last_s >= WRONG_PROOF_FORGOTTEN_S:
            self.count = 0
        self._last_s = now_s
        self.count += 1
        self.is_worth_a_line = self.count <= ALL_LOGGED or self.count % LOGGED_EVERY == 0
        doublings = min(self.count - 1, 16)
        return min(WRONG_PROOF_FIRST_S * 2.0**doublings, WRONG_PROOF_MAX_S)

"""Who may register as what: proofs computed from role tokens."""

from __future__ import annotations

import hashlib
import hmac
from itertools import product

import pytest

from protocol.wire.auth import Keyring, Verified, WrongProofs, is_daemon, proof
from protocol.wire.messages import Register
from protocol.wire.vocabulary import ROLES, Role

NONCE = bytes(range(32))
KEYS: dict[Role, bytes] = {role: f"{role}-token".encode() for role in ROLES}
RING = Keyring(KEYS)
STRENGTH = {"observer": 0, "session": 1, "dispatcher": 2}


def register(
    given: str, session_id: str = "s1", role: Role = "session", nonce: bytes | None = None
) -> Register:
    return Register(
        protocol=1,
        session_id=session_id,
        role=role,
        proof=given,
        pid=1,
        proxy_version="1",
        nonce=nonce,
    )


def test_the_proof_is_hmac_sha256_of_nonce_session_and_role_in_lower_case_hex() -> None:
    expected = hmac.new(
        b"key", NONCE + b"\x00" + "会话.1".encode() + b"\x00session", hashlib.sha256
    ).hexdigest()
    assert proof(b"key", NONCE, "会话.1", "session") == expected == expected.lower()


@pytest.mark.parametrize(("held", "claimed"), list(product(ROLES, ROLES)))
def test_a_token_proves_its_own_role_and_weaker_ones(held: Role, claimed: Role) -> None:
    given = proof(KEYS[held], NONCE, "s1", claimed)
    verified = RING.verify(NONCE, register(given, role=claimed))
    assert verified == (Verified(held, None) if STRENGTH[held] >= STRENGTH[claimed] else None)


@pytest.mark.parametrize(
    ("nonce", "session_id", "role"),
    [(bytes(32), "s1", "session"), (NONCE, "s2", "session"), (NONCE, "s1", "observer")],
)
def test_a_proof_opens_no_other_connection_session_or_role(
    nonce: bytes, session_id: str, role: Role
) -> None:
    given = proof(KEYS["session"], NONCE, "s1", "session")
    assert RING.verify(nonce, register(given, session_id, role)) is None


@pytest.mark.parametrize("wrong", ["", "0" * 64, "é" * 64, "\ud800", "x"])
def test_rubbish_is_refused_without_an_exception(wrong: str) -> None:
    assert RING.verify(NONCE, register(wrong)) is None


def test_upper_case_hex_is_not_the_proof() -> None:
    given = proof(KEYS["session"], NONCE, "s1", "session").upper()
    assert RING.verify(NONCE, register(given)) is None


def test_the_daemon_proves_itself_with_the_token_that_proved_the_proxy() -> None:
    ours, other = bytes(range(32, 64)), bytes(32)
    asked = register(proof(KEYS["dispatcher"], NONCE, "s1", "session"), nonce=ours)
    verified = RING.verify(NONCE, asked)
    assert verified is not None
    expected = hmac.new(
        KEYS["dispatcher"],
        b"larkd daemon\x00" + ours + b"\x00" + NONCE + b"\x00s1",
        hashlib.sha256,
    ).hexdigest()
    assert verified == Verified("dispatcher", expected)
    assert is_daemon(KEYS["dispatcher"], expected, asked, NONCE)
    for key, claimed, of, nonce in (
        (KEYS["session"], expected, asked, NONCE),
        (KEYS["dispatcher"], expected, asked, other),
        (KEYS["dispatcher"], expected.upper(), asked, NONCE),
        (KEYS["dispatcher"], None, asked, NONCE),
        (KEYS["dispatcher"], "\ud800", asked, NONCE),
        (KEYS["dispatcher"], expected, register("x", nonce=other), NONCE),
        (KEYS["dispatcher"], expected, register("x"), NONCE),
    ):
        assert not is_daemon(key, claimed, of, nonce)


def test_a_role_without_a_token_is_not_proven_by_an_empty_one() -> None:
    ring = Keyring({"dispatcher": b"d"})
    assert ring.verify(NONCE, register(proof(b"", NONCE, "s1", "session"))) is None
    with pytest.raises(ValueError, match="every role needs its token"):
        Keyring({"session": b""})


def test_the_text_form_shows_no_token() -> None:
    assert "token" not in repr(RING)
    assert repr(RING) == "Keyring(dispatcher, observer, session)"


def test_each_wrong_proof_waits_twice_as_long_up_to_a_limit() -> None:
    wrong = WrongProofs()
    assert [wrong.delay_s(1_000.0 + n) for n in range(6)] == [0.25, 0.5, 1.0, 2.0, 2.0, 2.0]


def test_a_token_that_is_missing_hides_no_other() -> None:
    given = proof(KEYS["dispatcher"], NONCE, "s1", "observer")
    only = Keyring({"dispatcher": KEYS["dispatcher"]})
    assert only.verify(NONCE, register(given, role="observer")) == Verified("dispatcher", None)
    given = proof(KEYS["observer"], NONCE, "s1", "observer")
    only = Keyring({"observer": KEYS["observer"]})
    assert only.verify(NONCE, register(given, role="observer")) == Verified("observer", None)


def test_a_quiet_minute_forgets_wrong_proofs() -> None:
    wrong = WrongProofs()
    wrong.delay_s(1_000.0)
    wrong.delay_s(1_059.9)
    assert wrong.count == 2
    assert wrong.delay_s(1_119.9) == 0.25
    assert wrong.count == 1


def test_a_million_wrong_proofs_are_no_overflow() -> None:
    wrong = WrongProofs()
    wrong.count = 1_000_000
    assert wrong.delay_s(1.0) == 2.0


def test_a_flood_of_wrong_proofs_is_a_few_lines_of_the_log() -> None:
    wrong = WrongProofs()
    lines = 0
    for _ in range(5_000):
        wrong.delay_s(1.0)
        lines += wrong.is_worth_a_line
    assert lines == 10 + 5

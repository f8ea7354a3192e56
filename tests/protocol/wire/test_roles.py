"""What a proof, a capability or a console's token makes of who brings it."""

from __future__ import annotations

import pytest

from protocol.wire.console import console_token, role_of
from protocol.wire.inside import speaks_for_session
from protocol.wire.vocabulary import (
    CAPABILITY_INSIDE,
    CAPABILITY_OPERATOR,
    ROLES,
    Role,
    is_operator,
    is_sessionless,
)

KEYS: dict[Role, bytes] = {role: role.encode() * 4 for role in ROLES}


def test_a_console_token_is_of_one_role_and_is_not_the_roles_own() -> None:
    # Kept over releases: bookmarks hold it.
    assert console_token(b"k") == (
        "ddac88fe8f8f90e7a3cf099d5599b82e71e4977443b0af484d6317338a8e2685"
    )
    tokens = {console_token(key): role for role, key in KEYS.items()}
    assert {token: role_of(token, KEYS) for token in tokens} == tokens


@pytest.mark.parametrize("token", ["", "x", "ü", "\ud800", console_token(b"other")])
def test_nobodys_token_opens_nothing(token: str) -> None:
    assert role_of(token, KEYS) is None


@pytest.mark.parametrize(
    ("role", "capabilities", "proven_by", "speaks"),
    [
        ("observer", (CAPABILITY_INSIDE,), "session", True),
        ("observer", (CAPABILITY_INSIDE,), "dispatcher", True),
        ("observer", (CAPABILITY_INSIDE,), "observer", False),
        ("observer", (), "session", False),
        ("session", (CAPABILITY_INSIDE,), "session", False),
    ],
)
def test_who_is_inside_an_agent_speaks_for_its_session(
    role: Role, capabilities: tuple[str, ...], proven_by: Role, speaks: bool
) -> None:
    assert speaks_for_session(role, capabilities, proven_by) is speaks


@pytest.mark.parametrize(
    ("role", "capabilities", "operator"),
    [
        ("dispatcher", (CAPABILITY_OPERATOR,), True),
        ("dispatcher", (), False),
        ("session", (CAPABILITY_OPERATOR,), False),
    ],
)
def test_an_operator_is_a_dispatcher_that_is_no_session(
    role: Role, capabilities: tuple[str, ...], operator: bool
) -> None:
    assert is_operator(role, capabilities) is operator


@pytest.mark.parametrize(
    ("role", "capabilities", "sessionless"),
    [
        ("observer", (), True),
        ("observer", (CAPABILITY_OPERATOR,), True),
        ("dispatcher", (CAPABILITY_OPERATOR,), True),
        ("dispatcher", (), False),
        ("session", (CAPABILITY_OPERATOR,), False),
    ],
)
def test_who_looks_or_operates_is_no_session(
    role: Role, capabilities: tuple[str, ...], sessionless: bool
) -> None:
    assert is_sessionless(role, capabilities) is sessionless

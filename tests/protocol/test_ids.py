"""Names of places, and the ids that are our own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.ids import (
    AccountId,
    ChatId,
    chat_of,
    idempotency_key,
    is_platform_id,
    place_key,
    split_place,
    turn_id,
)
from protocol.platform.events import synthetic_event_id


@pytest.mark.parametrize(
    ("account", "topic", "key"),
    [
        ("default", None, "oc_1"),
        ("default", "omt_1", "oc_1#omt_1"),
        ("work", None, "work/oc_1"),
        ("work", "omt_1", "work/oc_1#omt_1"),
    ],
)
def test_a_place_is_named_and_taken_apart(account: str, topic: str | None, key: str) -> None:
    place = place_key(AccountId(account), ChatId("oc_1"), topic)
    assert place == key
    assert split_place(place) == (account, "oc_1", topic)
    assert chat_of(place) == key.removesuffix("#omt_1")


def test_a_turn_is_named_by_random_bytes() -> None:
    assert turn_id(bytes(range(8))) == "turn_0001020304050607"


def test_the_same_parts_give_the_same_key_and_others_another() -> None:
    # Kept over releases: a send that an older daemon began is the same send.
    assert idempotency_key("om_1", 2) == "larkd-d945f9e2144a60d5bff25480a0b35ded"
    assert idempotency_key("om_1", "2") == idempotency_key("om_1", 2)
    assert idempotency_key("om", "12") != idempotency_key("om1", "2")


@given(st.lists(st.text(), max_size=4))
def test_a_key_is_what_the_platform_takes(parts: list[str]) -> None:
    assert len(idempotency_key(*(part.replace("\ud800", "") for part in parts))) <= 50


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("oc_a-1=:.x", True),
        ("x" * 256, True),
        ("x" * 257, False),
        ("", False),
        (".x", False),
        ("a/b", False),
        ("a\n", False),
        ("a b", False),
    ],
)
def test_ids_of_the_platform_lead_nowhere_else(text: str, is_one: bool) -> None:
    assert is_platform_id(text) is is_one


def test_an_event_without_an_id_is_known_by_its_bytes() -> None:
    # Kept over releases: what an older daemon stored is the same event.
    assert synthetic_event_id(b"x") == "unreadable-442a44457137672b3218c1007dc8f76a"

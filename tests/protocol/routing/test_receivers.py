"""To whom a session may write unprompted, by policy."""

from __future__ import annotations

import pytest

from protocol.ids import ChatId, OpenId
from protocol.routing.access import GroupRule, Policy
from protocol.routing.receivers import UNKNOWN_CHAT, ChatKnown, kind_of, why_no_chat, why_no_person

ALICE, BOB = OpenId("ou_alice"), OpenId("ou_bob")
TEAM, OTHER = ChatId("oc_team"), ChatId("oc_other")


@pytest.mark.parametrize(
    ("to", "kind"), [("ou_1", "person"), ("a@b.example", "address"), ("oc_1", "chat")]
)
def test_what_is_named(to: str, kind: str) -> None:
    assert kind_of(to) == kind


@pytest.mark.parametrize(
    ("policy", "alice", "bob"),
    [
        (Policy(allow_from=frozenset({ALICE})), None, "sender is not paired"),
        (
            Policy(dm_policy="allowlist", allow_from=frozenset({ALICE})),
            None,
            "sender not on allowlist",
        ),
        (Policy(dm_policy="open"), None, None),
        (
            Policy(dm_policy="disabled", allow_from=frozenset({ALICE})),
            "direct messages disabled",
            "direct messages disabled",
        ),
    ],
)
def test_a_person_is_written_to_who_would_be_let_in(
    policy: Policy, alice: str | None, bob: str | None
) -> None:
    assert (why_no_person(policy, ALICE), why_no_person(policy, BOB)) == (alice, bob)
    direct = ChatKnown(chat_type="p2p", sender_id=BOB)
    assert why_no_chat(policy, OTHER, direct) == bob, "by their chat as by their id"


@pytest.mark.parametrize(
    ("policy", "team", "other"),
    [
        (Policy(groups={TEAM: GroupRule()}), None, UNKNOWN_CHAT),
        (
            Policy(group_policy="follow-user", groups={TEAM: GroupRule()}),
            None,
            UNKNOWN_CHAT,
        ),
        (Policy(group_policy="open"), None, None),
        (
            Policy(group_policy="block", groups={TEAM: GroupRule()}),
            "group messages are blocked",
            "group messages are blocked",
        ),
    ],
)
def test_a_group_is_written_to_that_is_configured(
    policy: Policy, team: str | None, other: str | None
) -> None:
    assert (why_no_chat(policy, TEAM, None), why_no_chat(policy, OTHER, None)) == (team, other)
    group = ChatKnown(chat_type="group", sender_id=BOB)
    known = "group not on allowlist" if other == UNKNOWN_CHAT else other
    assert why_no_chat(policy, OTHER, group) == known, "a chat that sessions were given messages of"

"""The gate, case by case as the contract's decision order has them."""

from __future__ import annotations

from itertools import product
from typing import Any, get_args

import pytest

from protocol.ids import ChatId, OpenId
from protocol.routing.access import (
    DM_POLICIES,
    GROUP_POLICIES,
    Allowed,
    Approach,
    Decision,
    Dropped,
    GroupRule,
    NeedsPairing,
    Policy,
    Undecided,
    admitted_in,
    decide,
    is_stranger,
)

BOT = OpenId("ou_bot")
ANN = OpenId("ou_ann")
BOB = OpenId("ou_bob")
GROUP = ChatId("oc_group")
OTHER = ChatId("oc_other")

PASS = Allowed()
HOLD = Undecided(reason="bot open_id is unknown")
NOT_LISTED = Dropped(reason="sender not on allowlist")
NOT_MENTIONED = Dropped(reason="bot not mentioned")
PAIR_GROUP = NeedsPairing(kind="group")


def policy(**fields: Any) -> Policy:
    return Policy(**{"allow_from": frozenset({ANN}), **fields})


def direct(sender: OpenId | None, **fields: Any) -> Approach:
    return Approach(sender_id=sender, chat_id=ChatId("oc_p2p"), chat_type="p2p", **fields)


def group(sender: OpenId, *mentions: OpenId, chat: ChatId = GROUP, **fields: Any) -> Approach:
    return Approach(
        sender_id=sender,
        chat_id=chat,
        chat_type="group",
        mentions=frozenset(mentions),
        **fields,
    )


# ── who is it ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize("sender", [None, OpenId("")])
@pytest.mark.parametrize("chat_type", ["p2p", "group"])
def test_nobody_passes_without_an_id(sender: OpenId | None, chat_type: str) -> None:
    nobody = Approach(sender_id=sender, chat_id=GROUP, chat_type=chat_type)
    rules = policy(dm_policy="open", group_policy="open", require_mention=False)
    assert decide(rules, nobody, BOT) == Dropped(reason="missing sender id")


@pytest.mark.parametrize("approach", [direct, lambda sender, **more: group(sender, BOT, **more)])
def test_a_bot_passes_only_by_name(approach: Any) -> None:
    rules = policy(dm_policy="open", group_policy="open")
    assert decide(rules, approach(BOB, sender_is_bot=True), BOT) == Dropped(
        reason="sender is a bot"
    )
    assert decide(rules, approach(ANN, sender_is_bot=True), BOT) == PASS


# ── direct chats ────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("dm_policy", "listed", "stranger"),
    [
        ("pairing", PASS, NeedsPairing(kind="direct")),
        ("allowlist", PASS, NOT_LISTED),
        ("open", PASS, PASS),
        ("disabled", *[Dropped(reason="direct messages disabled")] * 2),
    ],
)
def test_a_direct_chat(dm_policy: str, listed: Decision, stranger: Decision) -> None:
    rules = policy(dm_policy=dm_policy)
    # Whether the bot knows its own id makes no difference to direct chats.
    for bot in (BOT, None):
        assert decide(rules, direct(ANN), bot) == listed
        assert decide(rules, direct(BOB), bot) == stranger


def test_an_admin_is_not_admitted_by_that_alone() -> None:
    rules = policy(dm_policy="allowlist", admins=frozenset({BOB}))
    assert decide(rules, direct(BOB), BOT) == NOT_LISTED


# ── groups ──────────────────────────────────────────────────────────────────

CONFIGURED = {GROUP: GroupRule()}
FOR_BOB = {GROUP: GroupRule(allow_from=frozenset({BOB}))}


@pytest.mark.parametrize(
    ("group_policy", "groups", "listed", "stranger"),
    [
        ("block", CONFIGURED, *[Dropped(reason="group messages are blocked")] * 2),
        ("open", {}, PASS, PASS),
        ("follow-user", {}, PASS, NOT_LISTED),
        ("follow-user", CONFIGURED, PASS, NOT_LISTED),
        ("allowlist", {}, PAIR_GROUP, PAIR_GROUP),
        ("allowlist", CONFIGURED, PASS, PASS),
        ("allowlist", FOR_BOB, NOT_LISTED, PASS),
    ],
)
def test_a_group_where_the_bot_is_mentioned(
    group_policy: str, groups: dict[ChatId, GroupRule], listed: Decision, stranger: Decision
) -> None:
    rules = policy(group_policy=group_policy, groups=groups)
    assert decide(rules, group(ANN, BOT), BOT) == listed
    assert decide(rules, group(BOB, BOT), BOT) == stranger


@pytest.mark.parametrize(
    ("group_policy", "mention_needed", "mention_not_needed"),
    [
        ("open", NOT_MENTIONED, PASS),
        ("follow-user", NOT_MENTIONED, PASS),
        ("allowlist", NOT_MENTIONED, PASS),
        ("block", *[Dropped(reason="group messages are blocked")] * 2),
    ],
)
@pytest.mark.parametrize("mentions", [(), (BOB,)])
def test_a_group_where_the_bot_is_not_mentioned(
    group_policy: str,
    mention_needed: Decision,
    mention_not_needed: Decision,
    mentions: tuple[OpenId, ...],
) -> None:
    for needed, expected in ((True, mention_needed), (False, mention_not_needed)):
        rules = policy(group_policy=group_policy, require_mention=needed, groups=CONFIGURED)
        assert decide(rules, group(ANN, *mentions), BOT) == expected


def test_a_stranger_group_is_given_a_code_on_a_mention_only() -> None:
    rules = policy(group_policy="allowlist", require_mention=False)
    assert decide(rules, group(ANN), BOT) == Dropped(reason="group not on allowlist")
    assert decide(rules, group(ANN, BOT), BOT) == PAIR_GROUP


@pytest.mark.parametrize("account_requires", [True, False])
@pytest.mark.parametrize(("group_requires", "expected"), [(True, NOT_MENTIONED), (False, PASS)])
def test_a_groups_own_word_on_mentions_goes_before_the_accounts(
    account_requires: bool, group_requires: bool, expected: Decision
) -> None:
    rules = policy(
        group_policy="open",
        require_mention=account_requires,
        groups={GROUP: GroupRule(require_mention=group_requires)},
    )
    assert decide(rules, group(ANN), BOT) == expected
    elsewhere = NOT_MENTIONED if account_requires else PASS
    assert decide(rules, group(ANN, chat=OTHER), BOT) == elsewhere


def test_a_press_on_the_bots_own_card_needs_no_mention() -> None:
    rules = policy(group_policy="follow-user")
    for bot in (BOT, None):
        assert decide(rules, group(ANN, addresses_bot=True), bot) == PASS
        assert decide(rules, group(BOB, addresses_bot=True), bot) == NOT_LISTED


# ── before the bot knows its own id ─────────────────────────────────────────


@pytest.mark.parametrize("group_policy", ["open", "follow-user", "allowlist"])
def test_what_hangs_on_a_mention_is_held(group_policy: str) -> None:
    rules = policy(group_policy=group_policy, groups=CONFIGURED)
    assert decide(rules, group(ANN, BOT), None) == HOLD
    assert decide(rules, group(ANN), None) == HOLD


@pytest.mark.parametrize(
    ("group_policy", "groups", "expected"),
    [
        ("open", {}, PASS),
        ("follow-user", {}, PASS),
        ("allowlist", CONFIGURED, PASS),
        ("allowlist", {}, HOLD),
    ],
)
def test_what_does_not_hang_on_a_mention_is_decided(
    group_policy: str, groups: dict[ChatId, GroupRule], expected: Decision
) -> None:
    rules = policy(group_policy=group_policy, groups=groups, require_mention=False)
    assert decide(rules, group(ANN, BOT), None) == expected


def test_a_decision_held_is_only_held_until_the_id_is_known() -> None:
    """Whatever the policy: with the id, nothing is held."""
    for dm, in_group, needed, chat in product(
        DM_POLICIES, GROUP_POLICIES, (True, False), (direct(BOB), group(BOB), group(BOB, BOT))
    ):
        rules = Policy(dm_policy=dm, group_policy=in_group, require_mention=needed)
        decision = decide(rules, chat, BOT)
        assert isinstance(decision, get_args(Decision))
        assert not isinstance(decision, Undecided)


# ── presses, and strangers ──────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("fields", "kinds"),
    [
        ({"dm_policy": "disabled", "group_policy": "block"}, set()),
        ({"dm_policy": "allowlist", "group_policy": "block"}, {"p2p"}),
        ({"dm_policy": "disabled", "group_policy": "open"}, {"group"}),
        ({"dm_policy": "open", "group_policy": "open"}, {"p2p", "group"}),
    ],
)
def test_where_somebody_who_presses_would_be_let_in(
    fields: dict[str, str], kinds: set[str]
) -> None:
    assert admitted_in(policy(**fields), ANN, GROUP) == kinds


@pytest.mark.parametrize(
    ("fields", "who", "chat_type", "stranger"),
    [
        ({"dm_policy": "open"}, "ou_new", "p2p", True),
        ({"dm_policy": "open"}, "ou_new", "group", False),
        ({"dm_policy": "open"}, ANN, "p2p", False),
        ({"dm_policy": "open", "admins": frozenset({"ou_new"})}, "ou_new", "p2p", False),
        ({"dm_policy": "pairing"}, "ou_new", "p2p", False),
    ],
)
def test_a_stranger_is_let_in_only_as_everybody_is(
    fields: dict[str, Any], who: str, chat_type: str, stranger: bool
) -> None:
    assert is_stranger(policy(**fields), OpenId(who), chat_type) is stranger

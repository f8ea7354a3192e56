"""The gate: who may put text in front of an agent, decided for one message at a time.

It knows nothing of owners and leases. A dropped message carries the reason that is
logged and counted; strangers get no answer, except a pairing code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

from msgspec import Struct

from protocol.ids import ChatId, OpenId

DmPolicy = Literal["pairing", "allowlist", "open", "disabled"]
GroupPolicy = Literal["allowlist", "follow-user", "open", "block"]
DM_POLICIES: Final[tuple[DmPolicy, ...]] = get_args(DmPolicy)
GROUP_POLICIES: Final[tuple[GroupPolicy, ...]] = get_args(GroupPolicy)
PairingKind = Literal["direct", "group"]

MISSING_SENDER: Final = "missing sender id"
SENDER_IS_BOT: Final = "sender is a bot"
DIRECT_DISABLED: Final = "direct messages disabled"
NOT_ON_ALLOWLIST: Final = "sender not on allowlist"
GROUP_BLOCKED: Final = "group messages are blocked"
GROUP_NOT_ON_ALLOWLIST: Final = "group not on allowlist"
NOT_MENTIONED: Final = "bot not mentioned"
BOT_UNKNOWN: Final = "bot open_id is unknown"


class GroupRule(Struct, frozen=True, kw_only=True):
    """What is configured for one group. An empty ``allow_from`` admits any member."""

    require_mention: bool | None = None
    """None: as configured for the account."""
    allow_from: frozenset[OpenId] = frozenset()


class Policy(Struct, frozen=True, kw_only=True):
    """The access policy of one account."""

    dm_policy: DmPolicy = "pairing"
    group_policy: GroupPolicy = "allowlist"
    require_mention: bool = True
    allow_from: frozenset[OpenId] = frozenset()
    admins: frozenset[OpenId] = frozenset()
    groups: Mapping[ChatId, GroupRule] = {}

    def requires_mention(self, chat_id: ChatId) -> bool:
        """Whether the bot must be mentioned in this group to be spoken to."""
        rule = self.groups.get(chat_id)
        if rule is None or rule.require_mention is None:
            return self.require_mention
        return rule.require_mention


class Approach(Struct, frozen=True, kw_only=True):
    """Somebody who wants to reach a session, and from where."""

    sender_id: OpenId | None
    chat_id: ChatId
    chat_type: str
    """``p2p`` is a direct chat; all else is a group."""
    mentions: frozenset[OpenId] = frozenset()
    """open_ids mentioned by name. ``@all`` mentions nobody."""
    sender_is_bot: bool = False
    addresses_bot: bool = False
    """True where the act itself is addressed to the bot: a press on one of its cards."""


class Allowed(Struct, frozen=True, kw_only=True):
    """The message may go on."""


class Dropped(Struct, frozen=True, kw_only=True):
    reason: str


class Undecided(Struct, frozen=True, kw_only=True):
    """Not decidable before the bot knows its own open_id: ask again then.

    Whoever waited too long drops the message with this reason.
    """

    reason: str = BOT_UNKNOWN


class NeedsPairing(Struct, frozen=True, kw_only=True):
    """A stranger, or a group, that a pairing code may be shown to."""

    kind: PairingKind


Decision = Allowed | Dropped | Undecided | NeedsPairing


def decide(policy: Policy, approach: Approach, bot_open_id: OpenId | None) -> Decision:
    """Decide whether *approach* passes the gate; the first rule that applies decides."""
    if not approach.sender_id:
        return Dropped(reason=MISSING_SENDER)
    if approach.sender_is_bot and approach.sender_id not in policy.allow_from:
        return Dropped(reason=SENDER_IS_BOT)
    if approach.chat_type == "p2p":
        return _direct(policy, approach.sender_id)
    return _group(policy, approach, approach.sender_id, bot_open_id)


def admitted_in(policy: Policy, open_id: OpenId, chat_id: ChatId) -> frozenset[str]:
    """Return the kinds of chat in which somebody who presses a button would be let in.

    The platform does not state of which kind a chat is; who knows the turn knows its chat.
    """
    return frozenset(
        kind
        for kind in ("p2p", "group")
        if isinstance(
            decide(
                policy,
                Approach(sender_id=open_id, chat_id=chat_id, chat_type=kind, addresses_bot=True),
                None,
            ),
            Allowed,
        )
    )


def is_stranger(policy: Policy, sender_id: OpenId, chat_type: str) -> bool:
    """Whether somebody is admitted to a direct chat only because it is open to everybody.

    Strangers prompt, and stop their own turns; commands are not for them.
    """
    known = sender_id in policy.allow_from or sender_id in policy.admins
    return chat_type == "p2p" and policy.dm_policy == "open" and not known


def _direct(policy: Policy, sender_id: OpenId) -> Decision:
    if policy.dm_policy == "disabled":
        return Dropped(reason=DIRECT_DISABLED)
    if policy.dm_policy == "open" or sender_id in policy.allow_from:
        return Allowed()
    if policy.dm_policy == "allowlist":
        return Dropped(reason=NOT_ON_ALLOWLIST)
    return NeedsPairing(kind="direct")


def _group(
    policy: Policy, approach: Approach, sender_id: OpenId, bot_open_id: OpenId | None
) -> Decision:
    if policy.group_policy == "block":
        return Dropped(reason=GROUP_BLOCKED)
    mentioned = approach.addresses_bot or (
        None if bot_open_id is None else bot_open_id in approach.mentions
    )
    if policy.requires_mention(approach.chat_id) and not mentioned:
        return Undecided() if mentioned is None else Dropped(reason=NOT_MENTIONED)
    if policy.group_policy == "open":
        return Allowed()
    if policy.group_policy == "follow-user":
        return _listed(sender_id in policy.allow_from)
    rule = policy.groups.get(approach.chat_id)
    if rule is not None:
        # A code would open the group to more people than its own list names.
        return _listed(not rule.allow_from or sender_id in rule.allow_from)
    if mentioned:
        return NeedsPairing(kind="group")
    return Undecided() if mentioned is None else Dropped(reason=GROUP_NOT_ON_ALLOWLIST)


def _listed(passes: bool) -> Decision:
    return Allowed() if passes else Dropped(reason=NOT_ON_ALLOWLIST)

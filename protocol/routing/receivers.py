"""To whom a session may write unprompted: whoever the access policy would let in.

Pure. A person is somebody whose direct message would pass the gate; a group is one that is
configured, or any where the policy is open to all (the specification's page on agents,
``send``).
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from protocol.ids import ChatId, ChatType, OpenId
from protocol.routing import access

UNKNOWN_CHAT: Final = (
    "no configured group, and no message ever came from there; name a person by open_id"
)
ReceiverKind = Literal["person", "address", "chat"]


class ChatKnown(Struct, frozen=True, kw_only=True):
    """What a chat is, from the last message a session was given there."""

    chat_type: ChatType
    sender_id: OpenId


def kind_of(to: str) -> ReceiverKind:
    """Return what *to* names: an open_id, an email address, or else a chat."""
    if to.startswith("ou_"):
        return "person"
    return "address" if "@" in to else "chat"


def why_no_person(policy: access.Policy, open_id: OpenId) -> str | None:
    """Return why this person may not be written to; None: they may.

    An address is as good as an id where it is listed itself, or everybody is let in.
    """
    approach = access.Approach(sender_id=open_id, chat_id=ChatId(""), chat_type="p2p")
    match access.decide(policy, approach, None):
        case access.Allowed():
            return None
        case access.Dropped(reason=reason):
            return reason
    return "sender is not paired"


def why_no_chat(policy: access.Policy, chat_id: ChatId, known: ChatKnown | None) -> str | None:
    """Return why this chat may not be written to; None: it may.

    *known* is None for a chat from which no session was ever given a message.
    """
    if known is not None and known.chat_type == "p2p":
        return why_no_person(policy, known.sender_id)
    if policy.group_policy == "block":
        return access.GROUP_BLOCKED
    if chat_id in policy.groups or policy.group_policy == "open":
        return None
    return access.GROUP_NOT_ON_ALLOWLIST if known is not None else UNKNOWN_CHAT

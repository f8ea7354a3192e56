"""An agent asks for permission: whom it asks, and whose press counts.

A request goes to the person whose message the agent works on; one without a turn, or of
a stranger's turn, to the admins' direct chats. Its buttons carry a
signature over request, option, person, chat and lease epoch, so that nothing but a press
on the card we sent, by who may press, decides; and it decides once.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from protocol.ids import AccountId, ChatId, MessageId, OpenId, SessionId
from protocol.routing import access
from protocol.strings import Text, on_card
from protocol.wire.messages import PermissionOption, PermissionRequest

PRESS: Final = "approve"
"""What ``larkd`` is in the value of our buttons."""
OPTIONS_MAX: Final = 10
ID_CHARACTERS_MAX: Final = 1_024
LABEL_CHARACTERS_MAX: Final = 8_000
REQUEST_CHARACTERS_MAX: Final = 3_000_000
"""Of title and detail; nobody reads more, and the platform takes no file of over 30 MB."""
_SIGNATURE_CHARACTERS: Final = 32


class Origin(Struct, frozen=True, kw_only=True):
    """Where a request is shown: the message the agent works on, and its sender."""

    account: AccountId
    chat_id: ChatId
    message_id: MessageId
    sender_id: OpenId
    chat_type: str
    lease_epoch: int
    in_thread: bool = False
    """Whether that message is in a topic."""


class Shown(Struct, frozen=True, kw_only=True):
    """What a request's card shows of what will happen."""

    start: str = ""
    """What stands in the code block, with every character that can't be seen as its code."""
    beside: bool = False
    """Whether that is not all: the whole is a file that is sent first."""


class Approval(Struct, frozen=True, kw_only=True):
    """One request that is shown and waits for a press."""

    key: str
    """Ours, minted at random: the proxy's own request id is no secret."""
    session_id: SessionId
    alias: str
    place: Origin
    request: PermissionRequest
    """Without its detail, and as much of its title as its card shows."""
    shown: Shown
    expires_at_ms: int
    of_admins: bool = False
    """Only an admin decides it, whoever the agent works for."""


class ApprovalPress(Struct, frozen=True, kw_only=True):
    """A press on a button, as the platform reported it."""

    key: str
    option_id: str
    signature: str
    by: OpenId
    chat_id: ChatId | None


class Decided(Struct, frozen=True, kw_only=True):
    option: PermissionOption


class NotTaken(Struct, frozen=True, kw_only=True):
    """The press changes nothing; *toast* is why."""

    toast: Text


def read_press(
    value: Mapping[str, Any], by: OpenId, chat_id: ChatId | None
) -> ApprovalPress | None:
    """Read a press from a button's value; None: not one of an approval's buttons."""
    key, option, signature = value.get("request"), value.get("option"), value.get("signature")
    if value.get("larkd") != PRESS or not (
        isinstance(key, str) and isinstance(option, str) and isinstance(signature, str)
    ):
        return None
    return ApprovalPress(
        key=key,
        option_id=option,
        signature=signature,
        by=by,
        chat_id=chat_id,
    )


def judge(
    approval: Approval, press: ApprovalPress, policy: access.Policy, secret: bytes, now_ms: int
) -> Decided | NotTaken:
    """Decide whether a press on an open request counts; *policy* is the gate as it is now."""
    expected = signature(approval, press.option_id, secret)
    forged = not hmac.compare_digest(expected.encode(), press.signature.encode(errors="replace"))
    option = next((each for each in approval.request.options if each.id == press.option_id), None)
    elsewhere = not approval.of_admins and press.chat_id != approval.place.chat_id
    if forged or option is None or elsewhere:
        return NotTaken(toast=on_card.TOAST_UNKNOWN)
    if not may_decide(approval, press.by, policy):
        return NotTaken(toast=on_card.TOAST_NOT_YOURS)
    if now_ms >= approval.expires_at_ms:
        return NotTaken(toast=on_card.TOAST_TOO_LATE)
    return Decided(option=option)


def may_decide(approval: Approval, by: OpenId, policy: access.Policy) -> bool:
    """Whether this person decides: an admin, or who started the turn and is let in now."""
    if by in policy.admins:
        return True
    if approval.of_admins or by != approval.place.sender_id:
        return False
    return is_let_in(approval.place, policy)


def is_let_in(place: Origin, policy: access.Policy) -> bool:
    """Whether the gate lets the person of *place* in at this moment."""
    approach = access.Approach(
        sender_id=place.sender_id,
        chat_id=place.chat_id,
        chat_type=place.chat_type,
        addresses_bot=True,
    )
    return isinstance(access.decide(policy, approach, None), access.Allowed)


def is_strangers(place: Origin, policy: access.Policy) -> bool:
    """Whether the turn is of somebody who is let in only because everybody is."""
    known = policy.allow_from | policy.admins
    return place.chat_type == "p2p" and policy.dm_policy == "open" and place.sender_id not in known


def is_askable(request: PermissionRequest) -> bool:
    """Whether each option can be distinguished, and all of it can be shown to somebody."""
    ids = [option.id for option in request.options]
    return (
        0 < len(ids) <= OPTIONS_MAX
        and len(set(ids)) == len(ids)
        and all(len(each) <= ID_CHARACTERS_MAX for each in (request.request_id, *ids))
        and all(len(option.label) <= LABEL_CHARACTERS_MAX for option in request.options)
        and len(request.title) + len(request.detail or "") <= REQUEST_CHARACTERS_MAX
    )


def signature(approval: Approval, option_id: str, secret: bytes) -> str:
    """Return what a button's value carries: request, person, chat and epoch, bound together."""
    place = approval.place
    bound = "\0".join(
        (approval.key, option_id, place.sender_id, place.chat_id, str(place.lease_epoch))
    )
    digest = hmac.new(secret, bound.encode(errors="replace"), hashlib.sha256).hexdigest()
    return digest[:_SIGNATURE_CHARACTERS]


def allows(option: PermissionOption) -> bool:
    return option.kind in ("allow_once", "allow_always")

"""An agent asks for permission: the card that shows it, and whose press counts.

A request goes to the person whose message the agent works on. Its buttons carry a
signature over request, option, person, chat and lease epoch, so that nothing but a press
on the card we sent, by who may press, decides; and it decides once.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from protocol import strings
from protocol.cards.answer import json_bytes, storable
from protocol.ids import AccountId, ChatId, MessageId, OpenId, SessionId
from protocol.strings import Text
from protocol.wire.messages import PermissionOption, PermissionRequest

PRESS: Final = "approve"
"""What ``larkd`` is in the value of our buttons."""
OPTIONS_MAX: Final = 10
DETAIL_BYTES_MAX: Final = 16_000
"""As JSON; a command longer than this is cut, with a note of it."""
LABEL_CHARACTERS_MAX: Final = 80
TITLE_CHARACTERS_MAX: Final = 300
_SIGNATURE_CHARACTERS: Final = 32
_FENCES: Final = re.compile("`{3,}")


class Place(Struct, frozen=True, kw_only=True):
    """Where a request is shown: the message the agent works on, and its sender."""

    account: AccountId
    chat_id: ChatId
    message_id: MessageId
    sender_id: OpenId
    chat_type: str
    lease_epoch: int


class Approval(Struct, frozen=True, kw_only=True):
    """One request that is shown and waits for a press."""

    key: str
    """Ours, minted at random: the proxy's own request id is no secret."""
    session_id: SessionId
    alias: str
    place: Place
    request: PermissionRequest
    expires_at_ms: int


class Press(Struct, frozen=True, kw_only=True):
    """A press on a button, as the platform reported it."""

    key: str
    option_id: str
    signature: str
    by: OpenId
    by_admin: bool
    chat_id: ChatId | None


class Chosen(Struct, frozen=True, kw_only=True):
    option: PermissionOption


class NotTaken(Struct, frozen=True, kw_only=True):
    """The press changes nothing; *toast* is why."""

    toast: Text


def read_press(
    value: Mapping[str, Any], by: OpenId, chat_id: ChatId | None, *, by_admin: bool
) -> Press | None:
    """Read a press from a button's value; None: not one of an approval's buttons."""
    key, option, signature = value.get("request"), value.get("option"), value.get("signature")
    if value.get("larkd") != PRESS or not (
        isinstance(key, str) and isinstance(option, str) and isinstance(signature, str)
    ):
        return None
    return Press(
        key=key,
        option_id=option,
        signature=signature,
        by=by,
        by_admin=by_admin,
        chat_id=chat_id,
    )


def judge(approval: Approval, press: Press, secret: bytes, now_ms: int) -> Chosen | NotTaken:
    """Decide whether a press on an open request counts."""
    expected = signature(approval, press.option_id, secret)
    forged = not hmac.compare_digest(expected.encode(), press.signature.encode(errors="replace"))
    option = next((each for each in approval.request.options if each.id == press.option_id), None)
    if forged or option is None or press.chat_id != approval.place.chat_id:
        return NotTaken(toast=strings.TOAST_UNKNOWN)
    if not (press.by == approval.place.sender_id or press.by_admin):
        return NotTaken(toast=strings.TOAST_NOT_YOURS)
    if now_ms >= approval.expires_at_ms:
        return NotTaken(toast=strings.TOAST_TOO_LATE)
    return Chosen(option=option)


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


# ── the card ────────────────────────────────────────────────────────────────


def open_card(approval: Approval, secret: bytes) -> str:
    """Return the card that asks, with a button for each option."""
    buttons = [
        {
            "tag": "button",
            "element_id": f"option_{number}",
            "type": "primary_filled" if allows(option) else "danger",
            "width": "fill",
            "text": {"tag": "plain_text", "content": _short(option.label, LABEL_CHARACTERS_MAX)},
            "behaviors": [
                {
                    "type": "callback",
                    "value": {
                        "larkd": PRESS,
                        "request": approval.key,
                        "option": option.id,
                        "signature": signature(approval, option.id, secret),
                    },
                }
            ],
        }
        for number, option in enumerate(approval.request.options[:OPTIONS_MAX])
    ]
    return _card(approval, [*buttons, _note(strings.APPROVAL_WHO)], strings.APPROVAL_SUMMARY)


def chosen_card(approval: Approval, option: PermissionOption, by: OpenId) -> str:
    """Return the card that shows who decided what."""
    form = strings.APPROVAL_ALLOWED if allows(option) else strings.APPROVAL_REJECTED
    verdict = form.format(label=_short(option.label, LABEL_CHARACTERS_MAX))
    return _card(approval, [_note(verdict.plus(f" <at id={by}></at>"))], verdict)


def closed_card(approval: Approval, why: Text) -> str:
    """Return the card of a request that was decided by no press."""
    return _card(approval, [_note(why)], why)


def _card(approval: Approval, below: list[dict[str, Any]], summary: Text) -> str:
    title = strings.APPROVAL_ASKS.format(
        alias=approval.alias, title=_short(approval.request.title, TITLE_CHARACTERS_MAX)
    )
    elements: list[dict[str, Any]] = [_both({"tag": "markdown", "element_id": "title"}, title)]
    if approval.request.detail:
        elements.append(
            {
                "tag": "markdown",
                "element_id": "detail",
                "content": _code(approval.request.detail),
            }
        )
    card = {
        "schema": "2.0",
        "config": {"update_multi": True, "summary": _both({}, summary)},
        "body": {"elements": [*elements, *below]},
    }
    return msgspec.json.encode(card).decode()


def _code(detail: str) -> str:
    """The whole of what is asked for, as code: nothing in it is Markdown."""
    text = storable(detail)
    cut = ""
    while json_bytes(text) > DETAIL_BYTES_MAX:
        text = text[: len(text) * 4 // 5]
        cut = f"\n… {len(detail) - len(text)} more characters"
    longest = max((len(run) for run in _FENCES.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}\n{text}{cut}\n{fence}"


def _note(text: Text) -> dict[str, Any]:
    return _both({"tag": "markdown", "element_id": "note", "text_size": "notation"}, text)


def _both(node: dict[str, Any], text: Text) -> dict[str, Any]:
    return {
        **node,
        "content": text.en,
        "i18n_content": {"en_us": text.en, "zh_cn": text.zh},
    }


def _short(text: str, characters: int) -> str:
    """One line of an agent's text among ours: nothing in it is Markdown."""
    flat = " ".join(storable(text).split())
    if len(flat) > characters:
        flat = flat[: characters - 1] + "…"
    for mark in "<>*`_~[]!#":
        flat = flat.replace(mark, f"&#{ord(mark)};" if mark != "#" else "＃")
    return flat

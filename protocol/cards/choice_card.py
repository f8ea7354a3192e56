"""The card of ``/mode``, ``/model`` and ``/effort``: a button a choice, the current one marked.

What a press carries names which session, and in which chat it was asked: the gate and the
admins' rule are asked again at the press.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from protocol.cards.answer import json_bytes
from protocol.ids import ChatId, OpenId, SessionId
from protocol.platform.events import CardAction
from protocol.quoted import in_card, quoted
from protocol.routing import choosing
from protocol.strings import Text, about_agents
from protocol.wire.messages import Choice, Option
from protocol.wire.vocabulary import OptionKind

PRESS: Final = "choose"
"""What ``larkd`` is in the value of our buttons."""
BUTTONS_MAX: Final = 60
CARD_BYTES_MAX: Final = 24_000
"""The platform takes 30 KB; what does not fit is chosen by its name."""
LABEL_CHARACTERS_MAX: Final = 80
ABOUT_CHARACTERS_MAX: Final = 120


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Whose option a card shows, and where."""

    session_id: SessionId
    kind: OptionKind
    chat_id: ChatId
    chat_type: str


class ChoicePress(msgspec.Struct, frozen=True, kw_only=True):
    asked: Asked
    choice: str
    by: OpenId


class _Value(msgspec.Struct, frozen=True, kw_only=True):
    larkd: str
    session: str
    kind: OptionKind
    choice: str
    chat: str
    type: str


def read_press(action: CardAction) -> ChoicePress | None:
    """Read a press; None: not of such a card, or not in the chat it was sent to."""
    try:
        value = msgspec.convert(action.value, _Value)
    except msgspec.ValidationError:
        return None
    if value.larkd != PRESS or action.chat_id != value.chat:
        return None
    return ChoicePress(
        asked=Asked(
            session_id=SessionId(value.session),
            kind=value.kind,
            chat_id=ChatId(value.chat),
            chat_type=value.type,
        ),
        choice=value.choice,
        by=action.operator_id,
    )


def choice_card(option: Option, asked: Asked) -> str:
    """Return the card, as JSON."""
    buttons: list[dict[str, Any]] = []
    about: list[str] = []
    left = CARD_BYTES_MAX
    for number, one in enumerate(option.choices[:BUTTONS_MAX]):
        button = _button(number, one, asked, current=one.id == option.value)
        line = _about(one)
        left -= json_bytes(msgspec.json.encode(button).decode()) + json_bytes(line)
        if left < 0:
            break
        buttons.append(button)
        about.append(line)
    elements = [_markdown("title", choosing.current(option, asked.kind, in_card))]
    if any(about):
        lines = "\n".join(filter(None, about))  # the agent's words, alike in every language
        elements.append(
            {
                "tag": "markdown",
                "element_id": "about",
                "content": lines,
                "text_size": "notation",
            }
        )
    elements += buttons
    left = len(option.choices) - len(buttons)
    if left:
        more = about_agents.MORE_CHOICES.format(count=left, command=f"/{asked.kind}")
        elements.append(_markdown("more", more) | {"text_size": "notation"})
    summary = choosing.current(option, asked.kind)
    card = {
        "schema": "2.0",
        "config": {"update_multi": True, "summary": _both(summary)},
        "body": {"elements": elements},
    }
    return msgspec.json.encode(card).decode()


def _button(number: int, choice: Choice, asked: Asked, *, current: bool) -> dict[str, Any]:
    label = ("● " if current else "") + quoted(choice.name, LABEL_CHARACTERS_MAX)
    value = _Value(
        larkd=PRESS,
        session=asked.session_id,
        kind=asked.kind,
        choice=choice.id,
        chat=asked.chat_id,
        type=asked.chat_type,
    )
    return {
        "tag": "button",
        "element_id": f"choice_{number}",
        "type": "primary_filled" if current else "default",
        "width": "fill",
        "text": {"tag": "plain_text", "content": label},
        "behaviors": [{"type": "callback", "value": msgspec.to_builtins(value)}],
    }


def _about(choice: Choice) -> str:
    if not choice.description:
        return ""
    name = in_card(choice.name, LABEL_CHARACTERS_MAX)
    return f"{name} – {in_card(choice.description, ABOUT_CHARACTERS_MAX)}"


def _markdown(element_id: str, text: Text) -> dict[str, Any]:
    return {"tag": "markdown", "element_id": element_id, **_both(text)}


def _both(text: Text) -> dict[str, Any]:
    return {"content": text.en, "i18n_content": {"en_us": text.en, "zh_cn": text.zh}}

"""What a card shows after an operation, as the platform applies it."""

from __future__ import annotations

import json
from typing import Any

from actors.messages import gateway
from protocol.cards.changes import element, with_properties

CardUpdate = (
    gateway.UpdateCard
    | gateway.ElementContent
    | gateway.BatchUpdate
    | gateway.PatchElement
    | gateway.CardSettings
)
CARD_UPDATES = (
    gateway.UpdateCard,
    gateway.ElementContent,
    gateway.BatchUpdate,
    gateway.PatchElement,
    gateway.CardSettings,
)


def after(card: dict[str, Any], operation: CardUpdate) -> dict[str, Any]:
    """The card when the operation was accepted."""
    match operation:
        case gateway.UpdateCard(card_json=card_json):
            whole: dict[str, Any] = json.loads(card_json)
            return whole
        case gateway.ElementContent(element_id=element_id, content=content):
            return _with(card, element_id, {"content": content})
        case gateway.PatchElement(element_id=element_id, partial_json=partial):
            return _with(card, element_id, json.loads(partial))
        case gateway.BatchUpdate(actions_json=actions):
            for action in json.loads(actions):
                params = action["params"]
                whole = action["action"] == "update_element"
                properties = params["element"] if whole else params["partial_element"]
                card = _with(card, params["element_id"], properties)
            return card
        case gateway.CardSettings(settings_json=settings):
            return {**card, "config": {**card["config"], **json.loads(settings)["config"]}}


def _with(card: dict[str, Any], element_id: str, properties: dict[str, Any]) -> dict[str, Any]:
    elements = card["body"]["elements"]
    assert element(elements, element_id) is not None, f"no element {element_id}"
    return {**card, "body": {"elements": with_properties(elements, element_id, properties)}}


def content(card: dict[str, Any], element_id: str) -> str:
    """The text of an element; empty where there is none."""
    found = element(card["body"]["elements"], element_id)
    return "" if found is None else str(found["content"])

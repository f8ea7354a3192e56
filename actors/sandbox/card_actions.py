"""The element actions of ``batch_update``, which the single element calls are made of too.

Each action changes a card in place; the caller hands in a copy and drops it when one of
them is refused, so that a batch happens as a whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from actors.sandbox.cardschema import CONFIG_KEYS
from actors.sandbox.errors import PlatformError, card_error

_UNFOLLOWED = frozenset({"behaviors", "value", "rows", "options"})
"""Keys below which there are no components."""


def apply_action(card: dict[str, Any], action: Any) -> dict[str, Any]:
    """Apply one action to *card*; return the configuration it sets, mostly none.

    Raises:
        PlatformError: 10002 malformed, 300122 settings, 300313 and 300312 partial
            updates, 300121 replacements, 300314 deletions, 300315 additions.
    """
    if not isinstance(action, dict) or not isinstance(action.get("params"), dict):
        raise PlatformError(10002, "an action is {action, params}")
    params = action["params"]
    match action.get("action"):
        case "partial_update_setting":
            return merge_settings(card, params.get("settings"))
        case "add_elements":
            _add(card, params)
        case "delete_elements":
            _delete(card, params)
        case "update_element":
            _replace(card, params)
        case "partial_update_element":
            _merge(card, params)
        case other:
            raise PlatformError(10002, f"unknown action {other}")
    return {}


def merge_settings(card: dict[str, Any], settings: Any) -> dict[str, Any]:
    """Merge ``{"config": …, "card_link": …}`` into *card*; return the configuration.

    A bare configuration without the ``config`` around it is taken too, as live.

    Raises:
        PlatformError: 300122 not an object, or with an unknown key.
    """
    config = settings.get("config", settings) if isinstance(settings, dict) else None
    if not isinstance(config, dict):
        raise card_error(300122, "failed to update card configuration")
    config = {key: value for key, value in config.items() if key != "card_link"}
    if unknown := config.keys() - CONFIG_KEYS:
        raise card_error(300122, f"unknown property {min(unknown)} in config")
    card["config"] = {**card.get("config", {}), **config}
    if "card_link" in settings:
        card["card_link"] = settings["card_link"]
    return config


def _elements(card: dict[str, Any]) -> list[Any]:
    elements: list[Any] = card.setdefault("body", {}).setdefault("elements", [])
    return elements


def _add(card: dict[str, Any], params: dict[str, Any]) -> None:
    fresh = params.get("elements")
    if not isinstance(fresh, list) or not fresh:
        raise card_error(300315, "elements is not a list of elements")
    target = params.get("target_element_id")
    place = find(_elements(card), target) if target else None
    if target and place is None:
        raise card_error(300315, f"not find elementID : {target}")
    match params.get("type", "append"), place:
        case "append", None:
            _elements(card).extend(fresh)
        case "append", (siblings, at):
            inner = siblings[at].setdefault("elements", [])
            if siblings[at].get("tag") in ("markdown", "plain_text", "hr", "img", "button"):
                raise card_error(300315, f"{target} is no container")
            inner.extend(fresh)
        case "insert_before", (list() as siblings, at):
            siblings[at:at] = fresh
        case "insert_after", (list() as siblings, at):
            siblings[at + 1 : at + 1] = fresh
        case _:
            raise card_error(300315, "insert needs a target_element_id")


def _delete(card: dict[str, Any], params: dict[str, Any]) -> None:
    element_ids = params.get("element_ids")
    if not isinstance(element_ids, list) or not element_ids:
        raise card_error(300314, "element_ids is not a list of ids")
    for element_id in element_ids:
        holder, key = _place(card, element_id, 300314)
        del holder[key]


def _replace(card: dict[str, Any], params: dict[str, Any]) -> None:
    holder, key = _place(card, params.get("element_id"), 300121)
    element = params.get("element")
    if not isinstance(element, dict):
        raise card_error(300121, "element is not an object")
    holder[key] = element


def _merge(card: dict[str, Any], params: dict[str, Any]) -> None:
    holder, key = _place(card, params.get("element_id"), 300313)
    change = params.get("partial_element")
    if not isinstance(change, dict):
        raise card_error(300313, "partial_element is not an object")
    element = holder[key]
    if change.get("tag", element.get("tag")) != element.get("tag"):
        raise card_error(300312, "unable to update element tag")
    element.update(change)


def _place(card: dict[str, Any], element_id: Any, missing: int) -> tuple[Any, Any]:
    """Return what holds an element of the card, and where; *missing* is the code without it."""
    place = find(_elements(card), element_id)
    if place is None:
        raise card_error(missing, f"not find elementID : {element_id}")
    return place


def find(node: Any, element_id: Any) -> tuple[Any, Any] | None:
    """Return what holds the element with this id, and its index or key in there."""
    for key, child in _children(node):
        if isinstance(child, dict) and child.get("element_id") == element_id:
            return node, key
        found = find(child, element_id)
        if found is not None:
            return found
    return None


def _children(node: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(node, list):
        yield from enumerate(node)
    elif isinstance(node, dict):
        for key, child in node.items():
            if key not in _UNFOLLOWED:
                yield key, child

"""What differs between two states of a card's elements, as changes of single elements.

A change names an element by its id and carries either some of its properties or all of
it. Where elements come, go or move there is none: that takes the whole card.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from protocol.cards.elements import Element


class Change(Struct, frozen=True, kw_only=True):
    """A change of one element."""

    element_id: str
    properties: Element
    whole: bool = False
    """The properties are all of the element, else those that changed."""


def changes(shown: Sequence[Element], wanted: Sequence[Element]) -> list[Change] | None:
    """Return what brings *shown* to *wanted*; None: single elements can't do it."""
    if [_identity(one) for one in shown] != [_identity(one) for one in wanted]:
        return None
    found: list[Change] = []
    for old, new in zip(shown, wanted, strict=True):
        if old == new:
            continue
        inside = _changes_of(old, new)
        if inside is None:
            return None
        found += inside
    return found


def batch(found: Sequence[Change]) -> str:
    """Return the ``actions`` of a batch_update that makes these changes."""
    actions = [
        {
            "action": "update_element",
            "params": {"element_id": one.element_id, "element": one.properties},
        }
        if one.whole
        else {
            "action": "partial_update_element",
            "params": {"element_id": one.element_id, "partial_element": one.properties},
        }
        for one in found
    ]
    return msgspec.json.encode(actions).decode()


def element(elements: Sequence[Element], element_id: str) -> Element | None:
    """Find an element by its id, wherever it stands."""
    for one in elements:
        if one.get("element_id") == element_id:
            return one
        for key in ("elements", "columns"):
            found = element(one.get(key, ()), element_id)
            if found is not None:
                return found
    return None


def with_properties(
    elements: Sequence[Element], element_id: str, properties: Element
) -> list[Element]:
    """Return the elements with some properties of one of them replaced."""
    return [_with(one, element_id, properties) for one in elements]


def _with(one: Element, element_id: str, properties: Element) -> Element:
    if one.get("element_id") == element_id:
        return {**one, **properties}
    for key in ("elements", "columns"):
        if key in one and element(one[key], element_id) is not None:
            return {**one, key: with_properties(one[key], element_id, properties)}
    return one


def _identity(one: Element) -> tuple[Any, Any]:
    return one.get("tag"), one.get("element_id")


def _changes_of(old: Element, new: Element) -> list[Change] | None:
    match new["tag"]:
        case "column_set" | "column":
            key = "columns" if new["tag"] == "column_set" else "elements"
            if {**old, key: None} != {**new, key: None}:
                return None
            return changes(old[key], new[key])
        case "collapsible_panel":
            inside = changes(old["elements"], new["elements"])
            if inside is None:
                return [Change(element_id=new["element_id"], properties=new, whole=True)]
            return [*_changed(old, new, without="elements"), *inside]
        case "markdown":
            return _changed(old, new)
        case _:
            return None


def _changed(old: Element, new: Element, without: str = "") -> list[Change]:
    if old.keys() - new.keys():  # no partial update takes a property away
        return [Change(element_id=new["element_id"], properties=new, whole=True)]
    properties = {
        key: value for key, value in new.items() if key != without and old.get(key) != value
    }
    return [Change(element_id=new["element_id"], properties=properties)] if properties else []

"""Card JSON 2.0 as the platform takes it: unknown tags and properties are errors.

Walks a card once and returns what the entity needs: its elements by id. Limits: 200
elements and texts, 5 tables a card, 4 in one markdown element, ``form`` and ``table``
at the root only, element ids unique and well formed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from actors.sandbox.errors import PlatformError, card_error

CARD_BYTES_MAX: Final = 30 * 1024
ELEMENTS_MAX: Final = 200
TABLES_MAX: Final = 5
MARKDOWN_TABLES_MAX: Final = 4
DEPTH_MAX: Final = 40
ELEMENT_ID: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,19}", re.ASCII)
_TABLE_RULE: Final = re.compile(
    r"^ {0,3}\|?[ \t]*:?-+:?[ \t]*(\|[ \t]*:?-+:?[ \t]*)+\|?[ \t]*$", re.MULTILINE
)

_COMMON: Final = {"tag", "element_id", "margin"}
_TEXT: Final = {"content", "i18n_content", "text_size", "text_align", "text_color", "lines", "icon"}
_BOX: Final = {
    "elements",
    "direction",
    "padding",
    "background_style",
    "background_color",
    "width",
    "horizontal_spacing",
    "horizontal_align",
    "vertical_spacing",
    "vertical_align",
}
_INPUT: Final = {
    "name",
    "required",
    "disabled",
    "disabled_tips",
    "hover_tips",
    "confirm",
    "behaviors",
    "placeholder",
    "width",
    "type",
    "value",
}
TAGS: Final[dict[str, frozenset[str] | None]] = {
    "plain_text": frozenset(_COMMON | _TEXT),
    "lark_md": frozenset(_COMMON | _TEXT),
    "markdown": frozenset(_COMMON | _TEXT),
    "div": frozenset(_COMMON | {"text", "icon", "width", "fields", "extra"}),
    "hr": frozenset(_COMMON),
    "img": frozenset(
        _COMMON
        | {
            "img_key",
            "i18n_img_key",
            "alt",
            "title",
            "corner_radius",
            "scale_type",
            "size",
            "transparent",
            "preview",
            "mode",
            "custom_width",
            "compact_width",
        }
    ),
    "column_set": frozenset(
        _COMMON
        | {
            "columns",
            "flex_mode",
            "horizontal_spacing",
            "horizontal_align",
            "background_style",
            "action",
        }
    ),
    "column": frozenset(_COMMON | _BOX | {"weight", "action"}),
    "collapsible_panel": frozenset(
        _COMMON | _BOX | {"expanded", "header", "border", "background_color"}
    ),
    "interactive_container": frozenset(
        _COMMON
        | _BOX
        | {
            "behaviors",
            "height",
            "has_border",
            "border_color",
            "corner_radius",
            "disabled",
            "hover_tips",
            "confirm",
            "disabled_tips",
        }
    ),
    "form": frozenset(_COMMON | _BOX | {"name"}),
    "button": frozenset(
        _COMMON | _INPUT | {"size", "text", "icon", "form_action_type", "url", "multi_url"}
    ),
    "input": frozenset(
        _COMMON
        | _INPUT
        | {
            "default_value",
            "max_length",
            "input_type",
            "rows",
            "auto_resize",
            "max_rows",
            "show_icon",
            "label",
            "label_position",
        }
    ),
    "select_static": frozenset(_COMMON | _INPUT | {"options", "initial_option", "initial_index"}),
    "multi_select_static": frozenset(_COMMON | _INPUT | {"options", "selected_values"}),
    "checker": frozenset(
        _COMMON
        | _INPUT
        | {
            "checked",
            "text",
            "overall_checkable",
            "button_area",
            "checked_style",
            "padding",
        }
    ),
    "table": frozenset(
        _COMMON
        | {
            "columns",
            "rows",
            "page_size",
            "row_height",
            "row_max_height",
            "freeze_first_column",
            "header_style",
        }
    ),
    "standard_icon": frozenset({"tag", "token", "color", "size"}),
    "custom_icon": frozenset({"tag", "img_key", "size"}),
    "text_tag": frozenset({"tag", "element_id", "text", "color"}),
    # Known, and not looked into.
    **dict.fromkeys(
        (
            "select_person",
            "multi_select_person",
            "date_picker",
            "picker_time",
            "picker_datetime",
            "overflow",
            "select_img",
            "person",
            "person_list",
            "chart",
            "audio",
            "img_combination",
            "option",
        )
    ),
}
_ROOT: Final = {"schema", "config", "card_link", "header", "body"}
CONFIG_KEYS: Final = {
    "streaming_mode",
    "streaming_config",
    "summary",
    "locales",
    "enable_forward",
    "update_multi",
    "width_mode",
    "use_custom_translation",
    "enable_forward_interaction",
    "style",
}
_BODY: Final = _BOX | {"elements"}
_HEADER: Final = {
    "title",
    "subtitle",
    "text_tag_list",
    "i18n_text_tag_list",
    "template",
    "icon",
    "padding",
}
_ROOT_ONLY: Final = {"form", "table"}
_INTERACTIVE: Final = {
    "button",
    "input",
    "select_static",
    "multi_select_static",
    "select_person",
    "multi_select_person",
    "date_picker",
    "picker_time",
    "picker_datetime",
    "checker",
}
_FORM_ONLY: Final = {"multi_select_static", "multi_select_person"}


def parse_card(data: str) -> dict[str, Any]:
    """Decode the JSON of a card.

    Raises:
        PlatformError: 300307 empty, 200220 not a JSON object.
    """
    if not data:
        raise card_error(300307, "card DSL is empty")
    try:
        card = msgspec.json.decode(data.encode())
    except (msgspec.DecodeError, UnicodeError, RecursionError) as wrong:
        raise card_error(200220, f"parse card json err: {wrong}") from wrong
    if not isinstance(card, dict):
        raise card_error(200220, "card is not an object")
    return card


def card_bytes(card: dict[str, Any]) -> int:
    return len(msgspec.json.encode(card))


def check_card(card: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Hold a card against the schema; return its elements by element id.

    Raises:
        PlatformError: with the code the platform has for it.
    """
    if card.get("schema") != "2.0":
        raise card_error(300303, "only schema 2.0 is supported")
    _only(card, _ROOT, "card")
    config = card.get("config", {})
    _only(config, CONFIG_KEYS, "config")
    if config.get("update_multi") is False:
        raise card_error(300302, "update_multi is false")
    if "header" in card:
        _only(card["header"], _HEADER, "header")
    body = card.get("body", {})
    _only(body, _BODY, "body")
    return check_elements(body.get("elements", []), {})


def check_elements(elements: Any, taken: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Check a list of elements; return *taken* with theirs added."""
    found = dict(taken)
    tables = 0
    in_forms = _in_forms(elements)
    for count, (node, depth) in enumerate(_walk(elements, 0), 1):
        tag = node.get("tag")
        if not isinstance(tag, str) or tag not in TAGS:
            raise card_error(200861, f"not support tag: {tag}; code:200861")
        allowed = TAGS[tag]
        if allowed is not None:
            _only(node, allowed, tag)
        if tag in _ROOT_ONLY and depth > 0:
            raise card_error(200220, f"{tag} is allowed at the root of the card only")
        if tag in _FORM_ONLY and id(node) not in in_forms:
            raise card_error(200220, f"{tag} is allowed in a form only")
        if count > ELEMENTS_MAX:
            raise card_error(300305, "the number of card components exceeds 200")
        tables += _tables_in(node, tag)
        if tables > TABLES_MAX:
            raise PlatformError(
                230099,
                "Failed to create card content, ext=ErrCode: 11310;"
                " ErrMsg: card table number over limit; ErrorValue: table;",
            )
        element_id = node.get("element_id")
        if element_id is not None:
            if not isinstance(element_id, str) or not ELEMENT_ID.fullmatch(element_id):
                raise card_error(200220, f"invalid element_id {element_id!r}")
            if element_id in found:
                raise card_error(300301, f"duplicate element_id {element_id}")
            found[element_id] = node
    return found


def _in_forms(elements: Any) -> set[int]:
    """Check the forms among *elements*; return the identities of what is inside of them."""
    inside: set[int] = set()
    for form in elements if isinstance(elements, list) else []:
        if not isinstance(form, dict) or form.get("tag") != "form":
            continue
        nodes = [node for node, _ in _walk(form.get("elements", []), 1)]
        inside.update(id(node) for node in nodes)
        asked = [node for node in nodes if node.get("tag") in _INTERACTIVE]
        names = [node.get("name") for node in asked]
        if not form.get("name") or not all(names) or len(set(names)) != len(names):
            raise card_error(200530, "a form and all its interactive components need unique names")
        if not any(node.get("form_action_type") == "submit" for node in asked):
            raise card_error(200220, f"the form {form['name']} has no submit button")
    return inside


def _walk(value: Any, depth: int) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield every component below *value*, and how many components it is inside of."""
    if depth > DEPTH_MAX:
        raise card_error(200220, "nested too deeply")
    if isinstance(value, list):
        for item in value:
            yield from _walk(item, depth)
    elif isinstance(value, dict):
        inner = depth
        if "tag" in value:
            yield value, depth
            inner = depth + 1
        for key, child in value.items():
            if key not in ("behaviors", "value", "rows", "columns", "options") or (
                key == "columns" and value.get("tag") == "column_set"
            ):
                yield from _walk(child, inner)


def _tables_in(node: dict[str, Any], tag: str) -> int:
    if tag == "table":
        return 1
    if tag != "markdown":
        return 0
    content = node.get("content", "")
    if not isinstance(content, str):
        raise card_error(200621, "markdown content is not a string")
    tables = len(_TABLE_RULE.findall(content))
    if tables > MARKDOWN_TABLES_MAX:
        raise card_error(200220, "more than 4 tables in one markdown element")
    return tables


def _only(node: Any, allowed: set[str] | frozenset[str], where: str) -> None:
    if not isinstance(node, dict):
        raise card_error(200621, f"parse card json err: {where} is not an object")
    for key in node:
        if key not in allowed:
            raise card_error(200621, f"parse card json err: unknown property {key} in {where}")

"""A card in the short form of events and message lists: rows of texts and buttons."""

from __future__ import annotations

from typing import Any, Final

UNSHOWN: Final = "请升级至最新版本客户端，以查看内容"
"""What stands for a component that the short form does not know."""
_TEXTS: Final = frozenset({"markdown", "plain_text", "lark_md"})
_CONTAINERS: Final = ("elements", "columns")


def simplified(card: dict[str, Any]) -> dict[str, Any]:
    """Return ``{"title": …, "elements": [[node, …], …]}``."""
    title = card.get("header", {}).get("title", {}).get("content")
    rows: list[list[dict[str, Any]]] = []
    body = card.get("body", card)
    for element in body.get("elements", []):
        _collect(element, rows)
    return {"title": title, "elements": rows}


def _collect(element: Any, rows: list[list[dict[str, Any]]]) -> None:
    if not isinstance(element, dict):
        return
    tag = element.get("tag")
    inner = [key for key in _CONTAINERS if isinstance(element.get(key), list)]
    if tag in _TEXTS:
        rows.append([{"tag": "text", "text": element.get("content", "")}])
    elif tag == "div":
        _collect(element.get("text"), rows)
    elif tag == "hr":
        rows.append([{"tag": "hr"}])
    elif tag == "button":
        text = element.get("text", {}).get("content", "")
        rows.append([{"tag": "button", "text": text, "type": element.get("type", "default")}])
    elif tag == "img":
        rows.append([{"tag": "img", "image_key": element.get("img_key", "")}])
    elif not inner:
        rows.append([{"tag": "text", "text": UNSHOWN}])
    for key in inner:
        for child in element[key]:
            _collect(child, rows)

"""JSON that others wrote: what is of another kind than it should be counts as absent. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def mappings(value: object) -> list[Mapping[str, Any]]:
    return [one for one in items(value) if isinstance(one, Mapping)]


def text(of: Mapping[str, Any], key: str) -> str:
    found = of.get(key)
    return found if isinstance(found, str) else ""


def texts(value: object) -> list[str]:
    return [one for one in items(value) if isinstance(one, str)]

"""Text that can be sent: JSON may carry half a surrogate pair, which is no text."""

from __future__ import annotations

from typing import Any


def encodable(value: Any) -> Any:
    """Return *value* with each lone surrogate in it, keys included, a question mark."""
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case dict():
            return {encodable(key): encodable(inner) for key, inner in value.items()}
        case list() | tuple():
            return [encodable(inner) for inner in value]
    return value

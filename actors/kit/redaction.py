"""Takes secrets out of log events: by the name of a key, by their shape, by their value."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, MutableMapping
from functools import lru_cache
from typing import Any, Final

REDACTED: Final = "[redacted]"
TIMESTAMP_KEY: Final = "timestamp"
"""Written by the logging itself, after whatever a caller gave."""
SECRET_CHARACTERS_MIN: Final = 6
"""Shorter ones would blank out ordinary words."""
_DEPTH_MAX: Final = 6
_ITEMS_MAX: Final = 100
_TEXT_CHARACTERS_MAX: Final = 16_384
_HIDDEN_WORDS: Final = (
    "token|secret|password|passwd|authorization|proof|ticket|cookie|access_key|api_key"
)
_HIDDEN_KEY: Final = re.compile(rf"(?:^|_)(?:{_HIDDEN_WORDS})$")
_SHAPES: Final = (
    re.compile(r"(?i)\b(bearer\s+)[^\s\"',;]+"),
    re.compile(
        rf"(?i)((?:{_HIDDEN_WORDS}|app_?secret)[\"']?\s*[=:]\s*[\"']?)(?!bearer\b)[^\s\"'&,;}}]+"
    ),
)
_PLAIN: Final = re.compile(r"[\w#./-]*")
_MAY_HOLD_ONE: Final = re.compile(r"[=:\s]")
"""Each shape has one of these; ids, most of what is logged, have none."""


class Redaction:
    """A structlog processor. Its output holds plain JSON values only."""

    def __init__(self) -> None:
        self._secrets: re.Pattern[str] | None = None
        self._known: set[str] = set()

    def register(self, secret: str) -> None:
        """Blank out *secret* wherever it appears from now on."""
        if len(secret) >= SECRET_CHARACTERS_MIN:
            self._known.add(secret)
            longest_first = sorted(self._known, key=len, reverse=True)
            self._secrets = re.compile("|".join(map(re.escape, longest_first)))

    def __call__(
        self, _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        # Most of what is logged is ids and counts, in which there is nothing to look for: all
        # of an event's at once, joined; where that is not plain, one by one.
        if not _is_any_hidden(tuple(event)) and self._is_all_plain(event):
            return event
        for key, value in event.items():
            kind = type(value)
            if kind is str:
                plain = key == TIMESTAMP_KEY or self._is_plain(value)
            else:
                plain = kind is int or kind is bool or value is None
            if not plain or _is_hidden(key):
                event[key] = self._value(str(key), value, 0)
        return event

    def _is_all_plain(self, event: Mapping[str, Any]) -> bool:
        texts = []
        for key, value in event.items():
            kind = type(value)
            if kind is str:
                if key != TIMESTAMP_KEY:
                    texts.append(value)
            elif not (kind is int or kind is bool or value is None):
                return False
        return self._is_plain("#".join(texts))

    def _is_plain(self, text: str) -> bool:
        """Whether a text is shown as it is: nothing in it may be, or begin, a secret."""
        return (
            _PLAIN.fullmatch(text) is not None
            and len(text) <= _TEXT_CHARACTERS_MAX
            and (self._secrets is None or self._secrets.search(text) is None)
        )

    def text(self, text: str) -> str:
        if len(text) > _TEXT_CHARACTERS_MAX:
            text = text[:_TEXT_CHARACTERS_MAX] + "…"
        if self._secrets is not None:
            text = self._secrets.sub(REDACTED, text)
        if _MAY_HOLD_ONE.search(text):
            for shape in _SHAPES:
                text = shape.sub(lambda found: found[1] + REDACTED, text)
        return text

    def _value(self, key: str, value: object, depth: int) -> Any:
        if value is not None and _is_hidden(key):
            return REDACTED
        match value:
            case float() if not math.isfinite(value):
                return repr(value)
            case None | bool() | int() | float():
                return value
            case str():
                return self.text(str(value))
        if depth >= _DEPTH_MAX:
            return "…"
        match value:
            case Mapping():
                items = list(value.items())[:_ITEMS_MAX]
                return {
                    self.text(str(inner)): self._value(str(inner), of, depth + 1)
                    for inner, of in items
                }
            case list() | tuple() | set() | frozenset():
                return [self._value("", inner, depth + 1) for inner in list(value)[:_ITEMS_MAX]]
        try:
            return self.text(str(value) if isinstance(value, BaseException) else repr(value))
        except Exception as broken:  # noqa: BLE001  # a broken repr is no reason to crash a log call
            return f"<{type(value).__name__} without a repr: {type(broken).__name__}>"


@lru_cache(maxsize=1_000)
def _is_hidden(key: str) -> bool:
    """Keys are few and come again with every line."""
    return _HIDDEN_KEY.search(_snake(key)) is not None


@lru_cache(maxsize=1_000)
def _is_any_hidden(keys: tuple[str, ...]) -> bool:
    """So do the keys of a line together."""
    return any(map(_is_hidden, keys))


def _snake(key: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).replace("-", "_").lower()

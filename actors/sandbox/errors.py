"""The platform's refusals, as one exception the routes turn into its answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class PlatformError(Exception):
    """An answer with ``code`` ≠ 0. Business errors are HTTP 400, as on the platform."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        status: int = 400,
        headers: Mapping[str, str] | None = None,
        error: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.headers = dict(headers or {})
        self.error = dict(error or {})


def card_error(code: int, message: str, value: object = "") -> PlatformError:
    """A card refusal in the wording seen on the live service."""
    return PlatformError(code, f"ErrCode: {code}; ErrMsg: {message}; ErrorValue: {value};")

"""The platform's error codes, in one place: what an answer that is not 0 means.

Codes and their meanings are those of the platform's pages for message, card entity
and element calls, of the general error codes, and of endpoint discovery.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from protocol import foreign
from protocol.platform.outcomes import (
    Busy,
    ConnectionLimit,
    CredentialsRefused,
    Gone,
    MissingScope,
    NoAnswer,
    RateLimited,
    Rejected,
    SequenceRefused,
    StreamingClosed,
    TokenRefused,
    TooLarge,
)

HTTP_TOO_MANY: Final = 429
HTTP_SERVER_FAULT: Final = 500
RETRY_AFTER_DEFAULT_S: Final = 1.0
"""The shorter of the platform's two windows is a second."""
RETRY_AFTER_MAX_S: Final = 60.0
"""Its longer window; a larger figure is not believed."""

RATE_LIMITED: Final = frozenset({99991400, 230020, 11232})
STREAMING_CLOSED: Final = frozenset({200850, 300309, 200510})
SEQUENCE_REFUSED: Final = frozenset({200770, 300317})
"""200770: the uuid was used with other content. Each of ours belongs to one sequence, so an
earlier owner of the card has used that sequence."""
BUSY: Final = frozenset({200810, 230049})
TOO_LARGE: Final = frozenset({200860, 230025, 300305})
GONE: Final = frozenset({200740, 200750, 230011, 230031, 230110, 231003})
TOKEN: Final = frozenset({99991661, 99991663, 99991664, 99991665, 99991668, 99991671, 99991677})
MISSING_SCOPE: Final = frozenset({99991672})
CREDENTIALS: Final = frozenset(
    {403, 514, 10003, 10005, 10014, 10015, 20002, 1000040344, 1000040345, 99991662, 99991673}
)
CONNECTION_LIMIT: Final = frozenset({1000040350})
SERVER_FAULT: Final = frozenset(
    {1, 1500, 2200, 5000, 10012, 10013, 10500, 300120, 1000003, 1000040343}
)
"""Busy or broken on their side: nobody knows whether it happened."""
CARD_CONTENT_FAILED: Final = 230099
"""Its text holds the reason: ``ErrCode: 11310`` is too many elements or tables."""
_SUB_CODE: Final = re.compile(r"ErrCode:\s*(\d+)")
_TOO_LARGE_SUB_CODES: Final = frozenset({11310, 200860, 300305})
_NOT_TOO_LARGE: Final = ("is lock", "not visible")
"""11310 also means that a card is locked, or a template another app's."""
_SCOPES: Final = re.compile(r"\[([a-z0-9_:.,\s-]+)\]")
_GRANT_URL: Final = re.compile(r"https?://[^\s\"'，。]+/app/[^\s\"'，。]+")
MESSAGE_CHARS_MAX: Final = 500
"""Enough for the reason; what is read out of a message is read before it is cut."""


def classify(
    status: int, headers: Mapping[str, str], body: Mapping[str, Any] | None
) -> Rejected | NoAnswer:
    """Return what an answer means that is not ``code`` 0.

    *headers* must be found whatever their case. *body* is the answer's JSON object, None
    when it is none: a proxy on the way answers so.
    """
    answer = body if body is not None else {}
    code = answer.get("code")
    if not isinstance(code, int) or isinstance(code, bool):
        if status != HTTP_TOO_MANY:
            missing = "a JSON object" if body is None else "a code"
            return NoAnswer(reason=f"HTTP {status} without {missing}")
        code = HTTP_TOO_MANY
    text, error = str(answer.get("msg", "")), foreign.mapping(answer.get("error"))
    log_id = error.get("log_id") or headers.get("x-tt-logid")
    about: dict[str, Any] = {
        "code": code,
        "message": text[:MESSAGE_CHARS_MAX],
        "log_id": log_id if isinstance(log_id, str) else None,
    }
    if code in RATE_LIMITED or status == HTTP_TOO_MANY:
        return RateLimited(**about, retry_after_s=_retry_after(headers))
    if code in SERVER_FAULT or status >= HTTP_SERVER_FAULT:
        return NoAnswer(reason=f"HTTP {status}, code {code}: {about['message']}")
    if code in MISSING_SCOPE:
        return _missing_scope(about, text, error)
    if code == CARD_CONTENT_FAILED:
        return TooLarge(**about) if _is_too_large(text) else Rejected(**about)
    for codes, kind in _KINDS:
        if code in codes:
            return kind(**about)
    return Rejected(**about)


_KINDS: Final[tuple[tuple[frozenset[int], type[Rejected]], ...]] = (
    (STREAMING_CLOSED, StreamingClosed),
    (SEQUENCE_REFUSED, SequenceRefused),
    (BUSY, Busy),
    (TOO_LARGE, TooLarge),
    (GONE, Gone),
    (TOKEN, TokenRefused),
    (CREDENTIALS, CredentialsRefused),
    (CONNECTION_LIMIT, ConnectionLimit),
)


def _retry_after(headers: Mapping[str, str]) -> float:
    for name in ("x-ogw-ratelimit-reset", "retry-after"):
        try:
            seconds = float(headers[name])
        except (KeyError, ValueError):
            continue
        if seconds >= 0:
            return min(seconds, RETRY_AFTER_MAX_S)
    return RETRY_AFTER_DEFAULT_S


def _is_too_large(text: str) -> bool:
    found = _SUB_CODE.search(text)
    if found is None or int(found[1]) not in _TOO_LARGE_SUB_CODES:
        return False
    return not any(other in text for other in _NOT_TOO_LARGE)


def _missing_scope(about: dict[str, Any], text: str, error: Mapping[str, Any]) -> MissingScope:
    """Read the scopes and the page that grants them; they stand in two places."""
    violations = foreign.mappings(error.get("permission_violations"))
    scopes = foreign.texts([one.get("subject") for one in violations])
    if not scopes and (listed := _SCOPES.search(text)):
        scopes = [scope.strip() for scope in listed[1].split(",")]
    links = foreign.texts([one.get("url") for one in foreign.mappings(error.get("helps"))])
    # The one in the text names the kind of token too, so the page asks for the right one.
    if found := _GRANT_URL.search(text):
        links.insert(0, found[0])
    return MissingScope(
        **about, scopes=tuple(dict.fromkeys(scopes)), grant_url=links[0] if links else None
    )

"""Keeping ``feishu_channel_status`` within bounds: what is left out is counted, never silent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

STATUS_BYTES_MAX: Final = 2 * 1024 * 1024
"""Of the metadata of sessions, and of the bindings, each. A frame holds 8 MiB."""
WELL_KNOWN: Final = ("teammate_name", "cwd", "alias", "agent")
SHORT_CHARACTERS_MAX: Final = 64


def bounded(status: Mapping[str, Any], bytes_max: int = STATUS_BYTES_MAX) -> dict[str, Any]:
    """Return *status* without the metadata and bindings that pass *bytes_max* bytes each.

    ``left_out`` counts how much is missing; it is there only where something is.
    """
    left_out: dict[str, int] = {}
    sessions: list[dict[str, Any]] = []
    size = shortened = 0
    for session in status["sessions"]:
        size += len(msgspec.msgpack.encode(session["metadata"]))
        if size > bytes_max:
            session = session | {"metadata": _short(session["metadata"])}  # noqa: PLW2901
            shortened += 1
        sessions.append(session)
    bindings: dict[str, str] = {}
    size = 0
    for place, session_id in status["bindings"].items():
        size += len(place.encode()) + len(session_id) + 10
        if size > bytes_max:
            break
        bindings[place] = session_id
    if shortened:
        left_out["metadata_of_sessions"] = shortened
    if len(bindings) < len(status["bindings"]):
        left_out["bindings"] = len(status["bindings"]) - len(bindings)
    whole = {**status, "sessions": sessions, "bindings": bindings}
    return whole | ({"left_out": left_out} if left_out else {})


def _short(metadata: Mapping[str, str]) -> dict[str, str]:
    return {key: metadata[key][:SHORT_CHARACTERS_MAX] for key in WELL_KNOWN if key in metadata}

"""What an agent reports of a tool call, wherever it put it, as one step of a turn.

Agents differ: the first ``rawInput`` is often empty and the real one follows; some name
the file only in a diff of the content; some give title and kind only when they ask for
leave; outputs come as ``content``, as ``rawOutput``, or both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from protocol import foreign
from protocol.wire import messages as wire
from protocol.wire import vocabulary

TITLE_CHARACTERS_MAX: Final = 300
DIFFS_MAX: Final = 20
_KINDS: Final[Mapping[str, vocabulary.ToolKind]] = {
    "read": "read",
    "fetch": "read",
    "search": "search",
    "execute": "execute",
    "edit": "edit",
    "delete": "edit",
    "move": "edit",
    "think": "think",
    "switch_mode": "other",
    "other": "other",
}
_STATUSES: Final[Mapping[str, vocabulary.ToolStatus]] = {
    "pending": "running",
    "in_progress": "running",
    "completed": "success",
    "failed": "error",
}
_OUTPUT_KEYS: Final = (
    "aggregated_output",
    "formatted_output",
    "output",
    "stdout",
    "stderr",
    "text",
)
_ERROR_KEYS: Final = ("error", "message", "stderr", "output")


def step(call: Mapping[str, Any], turn_id: str) -> wire.ToolEvent | None:
    """Return what a ``tool_call``, its update, or the call of a permission request holds."""
    call_id = foreign.text(call, "toolCallId")
    if not call_id:
        return None
    status = _STATUSES.get(foreign.text(call, "status"))
    output = output_of(call)
    failed = status == "error"
    return wire.ToolEvent(
        turn_id=turn_id,
        call_id=call_id,
        name=foreign.text(call, "title")[:TITLE_CHARACTERS_MAX] or None,
        kind=_KINDS.get(foreign.text(call, "kind")),
        status=status,
        summary=place_of(call),
        input=call.get("rawInput") or None,
        output=None if failed else output,
        error=(_reason(call.get("rawOutput")) or output) if failed else None,
        diff=diffs_of(call) or None,
    )


def place_of(call: Mapping[str, Any]) -> str | None:
    """Return the file a call is about: its location, or what it changes."""
    first = foreign.mapping(next(iter(foreign.items(call.get("locations"))), None))
    named, line = foreign.text(first, "path"), first.get("line")
    if named:
        return f"{named}:{line}" if isinstance(line, int) and not isinstance(line, bool) else named
    diffs = diffs_of(call)
    return diffs[0].path if diffs else None


def diffs_of(call: Mapping[str, Any]) -> list[wire.FileDiff]:
    """Return what the call changes, as its content shows it."""
    return [
        wire.FileDiff(
            path=foreign.text(one, "path"),
            old=one["oldText"] if isinstance(one.get("oldText"), str) else None,
            new=foreign.text(one, "newText"),
        )
        for one in foreign.mappings(call.get("content"))
        if one.get("type") == "diff" and foreign.text(one, "path")
    ][:DIFFS_MAX]


def output_of(call: Mapping[str, Any]) -> str | None:
    """Return what the call gave: its content as text, else its raw output."""
    texts = [
        text
        for one in foreign.mappings(call.get("content"))
        if one.get("type") == "content" and (text := _block_text(one.get("content")))
    ]
    return "\n".join(texts) or _raw_text(call.get("rawOutput"), _OUTPUT_KEYS)


def _reason(raw: object) -> str | None:
    return _raw_text(raw, _ERROR_KEYS) if isinstance(raw, Mapping | str) else None


def _raw_text(raw: object, keys: tuple[str, ...]) -> str | None:
    if isinstance(raw, str):
        return raw or None
    if isinstance(raw, list):
        return "\n".join(filter(None, map(_block_text, raw))) or None
    if not isinstance(raw, Mapping) or not raw:
        return None
    found = [raw[key] for key in keys if isinstance(raw.get(key), str) and raw[key]]
    if found:
        return str(found[0])
    nested = raw.get("content")
    if isinstance(nested, list | str):
        return _raw_text(nested, keys)
    try:
        return msgspec.json.encode(raw).decode()
    except (TypeError, UnicodeEncodeError):
        return None


def _block_text(block: object) -> str:
    held = foreign.mapping(block)
    return foreign.text(held, "text") or foreign.text(foreign.mapping(held.get("resource")), "text")


def unified(diffs: list[wire.FileDiff]) -> str:
    """Return diffs as ``+`` and ``-`` lines, path first, for whoever is asked for leave."""
    parts: list[str] = []
    for one in diffs:
        parts.append(one.path)
        old = (one.old or "").splitlines()
        parts += [f"- {line}" for line in old]
        parts += [f"+ {line}" for line in one.new.splitlines()]
    return "\n".join(parts)

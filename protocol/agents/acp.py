"""The Agent Client Protocol, version 1, as a client speaks it, without its I/O.

What an agent reports becomes messages of the wire protocol; what a person sent becomes
a prompt. Unknown updates are ignored, and odd ones never raise: agents differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

from protocol import __version__, foreign
from protocol.agents.acp_steps import TITLE_CHARACTERS_MAX, diffs_of, place_of, step, unified
from protocol.cards.turn import REJECTED
from protocol.wire import messages as wire
from protocol.wire import vocabulary
from protocol.wire.steps import bounded_step
from protocol.wire.vocabulary import PermissionKind

PROTOCOL_VERSION: Final = 1
AUTH_REQUIRED: Final = -32000
DETAIL_CHARACTERS_MAX: Final = 256 * 1024
"""What is asked for is shown whole; past this it is refused, never cut."""
OPTIONS_MAX: Final = 8
PLAN_ENTRIES_MAX: Final = 1_000

_PLAN_STATUSES: Final = ("pending", "in_progress", "completed")
_OPTION_KINDS: Final[tuple[PermissionKind, ...]] = (
    "allow_once",
    "allow_always",
    "reject_once",
    "reject_always",
)

Update = wire.Delta | wire.ToolEvent | wire.Plan | wire.Usage


class Abilities(Struct, frozen=True, kw_only=True):
    """What the agent announced it can, at ``initialize``."""

    load_session: bool = False
    resume_session: bool = False
    list_sessions: bool = False
    images: bool = False
    sounds: bool = False
    embedded_context: bool = False
    """It takes the content of files inside a prompt."""
    auth_methods: tuple[str, ...] = ()


def initialize_params(*, read_files: bool, write_files: bool) -> dict[str, Any]:
    return {
        "protocolVersion": PROTOCOL_VERSION,
        "clientCapabilities": {
            "fs": {"readTextFile": read_files, "writeTextFile": write_files},
            "terminal": False,
            "elicitation": {"form": {}, "url": {}},
        },
        "clientInfo": {"name": "larkd", "title": "larkd", "version": __version__},
    }


def read_abilities(result: Mapping[str, Any]) -> Abilities:
    capabilities = foreign.mapping(result.get("agentCapabilities"))
    sessions = foreign.mapping(capabilities.get("sessionCapabilities"))
    in_prompts = foreign.mapping(capabilities.get("promptCapabilities"))
    methods = result.get("authMethods")
    return Abilities(
        load_session=capabilities.get("loadSession") is True,
        resume_session=sessions.get("resume") is not None,
        list_sessions=sessions.get("list") is not None,
        images=in_prompts.get("image") is True,
        sounds=in_prompts.get("audio") is True,
        embedded_context=in_prompts.get("embeddedContext") is True,
        auth_methods=tuple(
            foreign.text(one, "name") or foreign.text(one, "id")
            for one in foreign.mappings(methods)
        ),
    )


# ── from the agent ──────────────────────────────────────────────────────────


def translate(update: Mapping[str, Any], turn_id: str) -> Iterator[Update]:
    """Return what one ``session/update`` means for the turn in flight."""
    match update.get("sessionUpdate"):
        case "agent_message_chunk":
            yield from _chunk(update, turn_id, "answer")
        case "agent_thought_chunk":
            yield from _chunk(update, turn_id, "reasoning")
        case "tool_call" | "tool_call_update":
            read = step(update, turn_id)
            if read is not None:
                yield bounded_step(read)
        case "plan":
            yield wire.Plan(turn_id=turn_id, entries=_entries(update.get("entries")))
        case "usage_update":
            yield wire.Usage(
                turn_id=turn_id, used=_count(update, "used"), size=_count(update, "size")
            )


def opens_a_turn(update: Mapping[str, Any]) -> bool:
    """Whether an update between prompts means that the agent goes on by itself."""
    kind = update.get("sessionUpdate")
    if kind in ("agent_message_chunk", "agent_thought_chunk"):
        return bool(content_text(update.get("content")))
    return kind in ("tool_call", "plan")


def _chunk(
    update: Mapping[str, Any], turn_id: str, channel: vocabulary.DeltaChannel
) -> Iterator[wire.Delta]:
    text = content_text(update.get("content"))
    if text:
        yield wire.Delta(turn_id=turn_id, text=text, channel=channel)


def content_text(content: object) -> str:
    """Return a content block as text; what is no text is named, or linked."""
    block = foreign.mapping(content)
    match block.get("type"):
        case "text":
            return foreign.text(block, "text")
        case "resource_link":
            name = foreign.text(block, "title") or foreign.text(block, "name") or "link"
            return f"[{name}]({foreign.text(block, 'uri')})"
        case "resource":
            return foreign.text(foreign.mapping(block.get("resource")), "text")
        case "image" | "audio" as kind:
            return f"[{kind}]"
    return ""


def _entries(entries: object) -> list[wire.PlanEntry]:
    return [
        wire.PlanEntry(
            content=foreign.text(one, "content"),
            status=next((each for each in _PLAN_STATUSES if each == one.get("status")), "pending"),
        )
        for one in foreign.mappings(entries)[:PLAN_ENTRIES_MAX]
    ]


class Ending(Struct, frozen=True, kw_only=True):
    """How a prompt ended, as a turn's end."""

    status: vocabulary.TurnStatus
    error: str | None = None


def ending(stop_reason: object) -> Ending:
    """Read the stop reason of a prompt that was not called off."""
    match stop_reason:
        case "end_turn":
            return Ending(status="complete")
        case "cancelled":
            return Ending(status="aborted")
        case "max_tokens":
            return Ending(status="error", error="the agent stopped: its token limit was reached")
        case "max_turn_requests":
            return Ending(status="error", error="the agent stopped: its request limit was reached")
        case "refusal":
            return Ending(status="error", error="the agent refused to go on")
    return Ending(status="error", error=f"the agent stopped: {str(stop_reason)[:100]}")


# ── permissions ─────────────────────────────────────────────────────────────


class AcpQuestion(Struct, frozen=True, kw_only=True):
    title: str
    detail: str | None
    options: list[wire.PermissionOption]
    call: Mapping[str, Any]
    """The tool call it is about, which some agents describe nowhere else."""


def read_question(
    params: Mapping[str, Any], known: Mapping[str, Any] | None = None
) -> AcpQuestion | None:
    """Read ``session/request_permission``; None where there is nothing to choose.

    *known* is what the agent reported of the same call before.
    """
    options = list(
        filter(None, map(_option, foreign.mappings(params.get("options"))[:OPTIONS_MAX]))
    )
    if not options:
        return None
    read = {key: one for key, one in foreign.mapping(params.get("toolCall")).items() if one}
    call = {**(known or {}), **read}
    detail = _detail(call)
    if detail is not None and len(detail) > DETAIL_CHARACTERS_MAX:
        return None
    return AcpQuestion(
        title=foreign.text(call, "title")[:TITLE_CHARACTERS_MAX] or "a tool call",
        detail=detail,
        options=options,
        call=call,
    )


def rejects(question: AcpQuestion, verdict: wire.PermissionVerdict | None) -> bool:
    """Whether the verdict ends the call: some agents send no update of one that was rejected."""
    if verdict is None or verdict.outcome == "cancelled":
        return True
    chosen = next((one for one in question.options if one.id == verdict.option_id), None)
    return chosen is None or chosen.kind.startswith("reject")


def rejected(seed: wire.ToolEvent) -> wire.ToolEvent:
    """Return the end of a step that was not allowed."""
    return wire.ToolEvent(
        turn_id=seed.turn_id, call_id=seed.call_id, status="error", error=REJECTED
    )


def _option(raw: Mapping[str, Any]) -> wire.PermissionOption | None:
    option_id = foreign.text(raw, "optionId")
    kind = next((each for each in _OPTION_KINDS if each == raw.get("kind")), None)
    if not option_id or kind is None:
        return None
    return wire.PermissionOption(
        id=option_id, label=foreign.text(raw, "name") or option_id, kind=kind
    )


def _detail(call: Mapping[str, Any]) -> str | None:
    """What will happen: the change of a write, the command, or all of the input."""
    diffs = diffs_of(call)
    if diffs:
        return unified(diffs)
    raw = foreign.mapping(call.get("rawInput"))
    command = raw.get("command")
    if isinstance(command, list):
        command = " ".join(map(str, command))
    title = foreign.text(call, "title")
    parts = [title if len(title) > TITLE_CHARACTERS_MAX else ""]
    if isinstance(command, str) and command:
        parts.append(command)
    else:
        parts.append("\n".join(f"{key}: {value}" for key, value in raw.items()))
    return "\n".join(filter(None, parts)) or place_of(call)


def outcome(verdict: wire.PermissionVerdict | None) -> dict[str, Any]:
    """Return the answer to a question; None: nobody decided."""
    if verdict is None or verdict.outcome == "cancelled" or verdict.option_id is None:
        return {"outcome": {"outcome": "cancelled"}}
    return {"outcome": {"outcome": "selected", "optionId": verdict.option_id}}


def refusal_text(code: object, message: str, data: object, abilities: Abilities) -> str:
    """Return what an agent's error means to the person who asked.

    The reason is often in ``error.data`` alone, under a message such as ``Internal error``.
    """
    if code == AUTH_REQUIRED:
        methods = ", ".join(filter(None, abilities.auth_methods)) or "see its documentation"
        return f"the agent wants you to log in on its machine first ({methods})"
    details = data if isinstance(data, str) else foreign.text(foreign.mapping(data), "details")
    details = details or foreign.text(foreign.mapping(data), "message")
    return f"the agent failed: {message}" + (f": {details[:2_000]}" if details else "")


def _count(value: Mapping[str, Any], key: str) -> int | None:
    found = value.get(key)
    return found if isinstance(found, int) and not isinstance(found, bool) else None

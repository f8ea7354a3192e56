"""Card JSON 2.0 of one turn, as the platform's page for the structure has it.

From top to bottom: plan, tool calls, reasoning, answer, error or note, footer with the
Stop button. Both languages go into ``i18n_content``, so each reader sees their own;
the running footer carries one language, because an update of its text changes only
``content``.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from protocol import strings
from protocol.cards.answer import json_bytes, storable
from protocol.cards.turn import ToolStep, Turn, TurnState
from protocol.ids import SessionId, TurnId
from protocol.strings import Language, Text

ANSWER: Final = "answer"
FOOTER: Final = "footer"
CARD_BYTES_MAX: Final = 27 * 1024
"""The platform's 30 KB less a tenth."""
PLAN_ENTRIES_MAX: Final = 30
PLAN_ENTRY_CHARACTERS_MAX: Final = 80
PLAN_BYTES_MAX: Final = 3_000
TOOL_BYTES_MAX: Final = 4_000
REASONING_BYTES_MAX: Final = 3_000
ERROR_BYTES_MAX: Final = 1_500
SUMMARY_CHARACTERS_MAX: Final = 80
_ICONS: Final = {"read": "📖", "search": "🔍", "execute": "💻", "edit": "✏️", "think": "🧠"}
_STATUS: Final = {"running": "⏳", "success": "✅", "error": "❌"}
_PLAN: Final = {"completed": "✅ ~~{}~~", "in_progress": "⏳ {}", "pending": "⬜ {}"}
_FOOTERS: Final = {
    TurnState.COMPLETE: strings.FOOTER_COMPLETE,
    TurnState.ABORTED: strings.FOOTER_ABORTED,
    TurnState.ERROR: strings.FOOTER_ERROR,
}
_TYPEWRITER: Final = {
    "print_frequency_ms": {"default": 40},
    "print_step": {"default": 4},
    "print_strategy": "fast",
}


class View(Struct, frozen=True, kw_only=True):
    """What one card should show now."""

    card_json: str
    """The whole card."""
    structure: str
    """The whole card without the text of answer and running footer."""
    answer: str
    footer: str
    final: bool
    """Nothing will follow on this card: the turn's end, or it is sealed."""


class Style(Struct, frozen=True, kw_only=True):
    """How this turn's cards are shown."""

    session_id: SessionId
    turn_id: TurnId
    language: Language = "en"
    tools: bool = True
    """Show the tool panel (reply mode ``verbose``)."""
    live: bool = True
    """Show the answer as it grows; else only when it is whole (reply mode ``final``)."""


def view_running(turn: Turn, style: Style, now: float) -> View:
    """What the turn's last card shows at this moment, running or final."""
    final = turn.state.final
    answer = turn.answer.current if style.live or final else ""
    return _view(turn, style, answer, _footer(turn, now), panels=True, final=final)


def view_sealed(turn: Turn, style: Style, text: str) -> View:
    """What a full card shows, whose text goes on below."""
    return _view(turn, style, text, strings.FOOTER_SEALED, panels=False, final=True)


def view_repaired(style: Style, text: str, seconds: float) -> View:
    """What a card shows that a crash left behind."""
    turn = Turn(0.0)
    turn.stop(seconds, strings.INTERRUPTED)
    return _view(turn, style, text, _footer(turn, seconds), panels=True, final=True)


def _view(
    turn: Turn, style: Style, answer: str, footer: Text, *, panels: bool, final: bool
) -> View:
    spoken = footer.speak(style.language)
    top = _panels(turn, style) if panels else []
    bottom = _notes(turn) if panels else []

    def build(answer: str, footer_element: dict[str, Any]) -> str:
        elements = [*top]
        # An element without text is not drawn; while running it is where text will go.
        if answer or not final:
            elements.append({"tag": "markdown", "element_id": ANSWER, "content": answer})
        elements += bottom
        elements.append(_bottom_row(footer_element, style, running=not final))
        card = {
            "schema": "2.0",
            "config": _config(turn, answer, final=final),
            "body": {"elements": elements},
        }
        return msgspec.json.encode(card).decode()

    element = _both(_notation("", FOOTER), footer) if final else _notation(spoken, FOOTER)
    return View(
        card_json=build(answer, element),
        structure=build("", element if final else _notation("", FOOTER)),
        answer=answer,
        footer=spoken,
        final=final,
    )


def _config(turn: Turn, answer: str, *, final: bool) -> dict[str, Any]:
    config: dict[str, Any] = {"update_multi": True, "summary": _both({}, _summary(turn, answer))}
    config["streaming_mode"] = not final
    if not final:
        config["streaming_config"] = _TYPEWRITER
    return config


def _summary(turn: Turn, answer: str) -> Text:
    match turn.state:
        case TurnState.ABORTED:
            return strings.SUMMARY_STOPPED
        case TurnState.ERROR:
            return strings.SUMMARY_ERROR
        case TurnState.COMPLETE:
            line = next((line for line in answer.splitlines() if line.strip()), "")
            line = line.strip("#>*-` ")[:SUMMARY_CHARACTERS_MAX]
            return Text(line, line) if line else strings.SUMMARY_DONE
        case _:
            return strings.PROCESSING


def _footer(turn: Turn, now: float) -> Text:
    form = _FOOTERS.get(turn.state, strings.FOOTER_RUNNING)
    footer = form.format(time=strings.duration(turn.elapsed_s(now)))
    usage = turn.usage
    if usage is None:
        return footer
    tail = ""
    if usage.input_tokens is not None:
        tail += f" · ↑{strings.amount(usage.input_tokens)}"
    if usage.output_tokens is not None:
        tail += f" · ↓{strings.amount(usage.output_tokens)}"
    if usage.used is not None and usage.size:
        share = round(100 * usage.used / usage.size)
        tail += f" · ctx {strings.amount(usage.used)}/{strings.amount(usage.size)} {share}%"
    return footer.plus(tail)


def _bottom_row(footer: dict[str, Any], style: Style, *, running: bool) -> dict[str, Any]:
    if not running:
        return footer
    stop = {
        "tag": "button",
        "element_id": "stop",
        "type": "default",
        "size": "small",
        "text": _both({"tag": "plain_text"}, strings.STOP_BUTTON),
        "behaviors": [
            {
                "type": "callback",
                "value": {"larkd": "stop", "session": style.session_id, "turn": style.turn_id},
            }
        ],
    }
    return {
        "tag": "column_set",
        "columns": [
            {
                "tag": "column",
                "width": "weighted",
                "weight": 1,
                "vertical_align": "center",
                "elements": [footer],
            },
            {"tag": "column", "width": "auto", "elements": [stop]},
        ],
    }


# ── panels ──────────────────────────────────────────────────────────────────


def _panels(turn: Turn, style: Style) -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = []
    if turn.plan:
        panels.append(_plan(turn))
    if style.tools and turn.steps:
        panels.append(_tools(turn))
    reasoning = turn.reasoning
    if reasoning.strip():
        kept = _latest(reasoning, REASONING_BYTES_MAX)
        text = _notation(kept, "reasoning")
        panels.append(_panel("reasoning_panel", strings.REASONING, [text], expanded=False))
        panels.append({"tag": "hr"})
    return panels


def _plan(turn: Turn) -> dict[str, Any]:
    done = sum(entry.status == "completed" for entry in turn.plan)
    shown = turn.plan[:PLAN_ENTRIES_MAX]
    content, characters = "", PLAN_ENTRY_CHARACTERS_MAX
    while characters > 1:
        content = "\n".join(
            _PLAN[entry.status].format(_inline(entry.content, characters)) for entry in shown
        )
        if json_bytes(content) <= PLAN_BYTES_MAX:
            break
        characters //= 2
    inner = [_notation(content, "plan")]
    hidden = len(turn.plan) - len(shown)
    if hidden > 0:
        inner.append(_both(_notation("", "plan_more"), strings.PLAN_MORE.format(count=hidden)))
    title = strings.PLAN.format(done=done, total=len(turn.plan))
    return _panel("plan_panel", title, inner, expanded=True)


def _tools(turn: Turn) -> dict[str, Any]:
    lines: list[str] = []
    size = 0
    steps = list(turn.steps.values())
    for step in reversed(steps):
        line = _tool_line(step, nested=step.parent_id in turn.steps)
        size += json_bytes(line) + 2
        if size > TOOL_BYTES_MAX and lines:
            break
        lines.append(line)
    lines.reverse()
    total = turn.steps_dropped + len(steps)
    earlier = total - len(lines)
    inner = [_notation("\n".join(lines), "tools")]
    if earlier > 0:
        more = strings.TOOLS_EARLIER.format(count=earlier)
        inner.insert(0, _both(_notation("", "tools_earlier"), more))
    return _panel("tools_panel", strings.TOOLS.format(count=total), inner, expanded=False)


def _tool_line(step: ToolStep, *, nested: bool) -> str:
    """One step: ``✅ 📖 **Read**: a.py _(1.5s)_``, indented under its parent."""
    line = f"{_STATUS[step.status]} {_ICONS.get(step.kind, '🔧')} **{_inline(step.name, 60)}**"
    if step.summary:
        line += f": {_inline(step.summary, 120)}"
    if step.duration_ms is not None:
        line += f" _({strings.duration(step.duration_ms / 1000)})_"
    return f"&emsp;{line}" if nested else line


def tool_line(step: ToolStep) -> str:
    """The same line, for messages without a card."""
    return _tool_line(step, nested=False)


def _notes(turn: Turn) -> list[dict[str, Any]]:
    """Why it ended, below what was streamed and in a block of its own."""
    if turn.error:
        characters = ERROR_BYTES_MAX
        shown = _inline(turn.error, characters)
        while json_bytes(shown) > ERROR_BYTES_MAX:
            characters //= 2
            shown = _inline(turn.error, characters)
        return [
            {
                "tag": "markdown",
                "element_id": "error",
                "content": f"<font color='red'>{shown}</font>",
            }
        ]
    if turn.note is not None:
        return [_both({"tag": "markdown", "element_id": "note"}, turn.note)]
    return []


def _panel(
    element_id: str, title: Text, elements: list[dict[str, Any]], *, expanded: bool
) -> dict[str, Any]:
    return {
        "tag": "collapsible_panel",
        "element_id": element_id,
        "expanded": expanded,
        "header": {"title": _both({"tag": "plain_text"}, title)},
        "border": {"color": "grey", "corner_radius": "5px"},
        "elements": elements,
    }


def _notation(content: str, element_id: str) -> dict[str, Any]:
    return {
        "tag": "markdown",
        "element_id": element_id,
        "text_size": "notation",
        "content": content,
    }


def _both(node: dict[str, Any], text: Text) -> dict[str, Any]:
    """Give *node* a text in both languages; where they agree one is enough."""
    shown: dict[str, Any] = {**node, "content": text.en}
    if text.en != text.zh:
        shown["i18n_content"] = {"en_us": text.en, "zh_cn": text.zh}
    return shown


def _inline(text: str, characters: int) -> str:
    """One line of untrusted text inside a line of ours: its Markdown does nothing."""
    flat = " ".join(storable(text[: characters * 4]).split())
    if len(flat) > characters:
        flat = flat[: characters - 1] + "…"
    for character, entity in (
        ("<", "&#60;"),
        (">", "&#62;"),
        ("*", "&#42;"),
        ("`", "&#96;"),
        ("_", "&#95;"),
        ("~", "&sim;"),
        ("[", "&#91;"),
        ("!", "&#33;"),
    ):
        flat = flat.replace(character, entity)
    return flat


def _latest(text: str, size: int) -> str:
    """The end of *text* that fits into *size* bytes, from a line's start where there is one."""
    kept = _quiet(text[-size:])
    while json_bytes(kept) > size:
        kept = kept[-(len(kept) * 4 // 5) :]
    if len(kept) >= len(text):
        return kept
    _, newline, after = kept.partition("\n")
    return "…\n" + (after if newline and after else kept)


def _quiet(text: str) -> str:
    """Reasoning is shown as it came, but mentions nobody and draws no picture."""
    return storable(text).replace("<at", "&#60;at").replace("![", "[")

"""The panels above the answer: plan, tool calls with what they gave, and reasoning.

Each has a budget of its own and keeps the latest. *level* halves the budgets so many
times, for a platform that takes smaller cards than is known; at the last one no panel
is shown.
"""

from __future__ import annotations

from typing import Final

from protocol.cards.answer import json_bytes
from protocol.cards.elements import (
    Element,
    both,
    fenced,
    harmless,
    latest,
    notation,
    panel,
)
from protocol.cards.turn import ToolStep, Turn
from protocol.quoted import in_card
from protocol.strings import Language, Text, amounts, on_card

PLAN_ENTRIES_MAX: Final = 30
PLAN_ENTRY_CHARACTERS_MAX: Final = 80
PLAN_BYTES_MAX: Final = 3_000
TOOL_BYTES_MAX: Final = 5_000
"""Of the tool panel with what its steps gave."""
DETAIL_BYTES_MAX: Final = 1_200
"""Of what one step gave."""
REASONING_BYTES_MAX: Final = 3_000
LEVEL_MAX: Final = 3
_ICONS: Final = {"read": "📖", "search": "🔍", "execute": "💻", "edit": "✏️", "think": "🧠"}
_STATUS: Final = {"running": "⏳", "success": "✅", "error": "❌"}
_PLAN: Final = {"completed": "✅ ~~{}~~", "in_progress": "⏳ {}", "pending": "⬜ {}"}


def panels(turn: Turn, language: Language, *, tools: bool, level: int = 0) -> list[Element]:
    """Return the panels of *turn*, from top to bottom."""
    shown: list[Element] = []
    if level >= LEVEL_MAX:
        return shown
    if turn.plan:
        shown.append(_plan(turn, language, PLAN_BYTES_MAX >> level))
    if tools and turn.steps:
        shown.append(_tools(turn, language, TOOL_BYTES_MAX >> level))
    reasoning = turn.reasoning
    if reasoning.strip():
        kept = latest(harmless(reasoning), REASONING_BYTES_MAX >> level)
        title = _title(on_card.REASONING, language)
        inner = [notation(kept, "reasoning")]
        shown.append(panel("reasoning_panel", title, inner, expanded=False))
        shown.append({"tag": "hr"})
    return shown


def _title(text: Text, language: Language) -> Element:
    return both({"tag": "plain_text"}, text, language)


def _plan(turn: Turn, language: Language, bytes_max: int) -> Element:
    done = sum(entry.status == "completed" for entry in turn.plan)
    shown = turn.plan[:PLAN_ENTRIES_MAX]
    content, characters = "", PLAN_ENTRY_CHARACTERS_MAX
    while characters > 1:
        content = "\n".join(
            _PLAN[entry.status].format(in_card(entry.content, characters)) for entry in shown
        )
        if json_bytes(content) <= bytes_max:
            break
        characters //= 2
    inner = [notation(content, "plan")]
    hidden = len(turn.plan) - len(shown)
    if hidden > 0:
        more = on_card.PLAN_MORE.format(count=hidden)
        inner.append(both(notation("", "plan_more"), more, language))
    title = _title(on_card.PLAN.format(done=done, total=len(turn.plan)), language)
    return panel("plan_panel", title, inner, expanded=True)


def _tools(turn: Turn, language: Language, bytes_max: int) -> Element:
    lines: list[Text] = []
    size = 0
    steps = list(turn.steps.values())
    if any(step.rejected for step in steps):
        bytes_max //= 3  # both languages, and the one for clients that take but one
    for step in reversed(steps):
        line = tool_line(step, nested=step.parent_id in turn.steps)
        detail = _detail(step, min(DETAIL_BYTES_MAX, bytes_max // 2))
        if detail:
            with_detail = line.plus(f"\n{detail}")
            line = with_detail if size + json_bytes(with_detail.zh) + 2 <= bytes_max else line
        size += json_bytes(line.zh) + 2
        if size > bytes_max and lines:
            break
        lines.append(line)
    lines.reverse()
    total = turn.steps_dropped + len(steps)
    earlier = total - len(lines)
    text = Text("\n".join(one.en for one in lines), "\n".join(one.zh for one in lines))
    inner = [both(notation("", "tools"), text, language)]
    if earlier > 0:
        more = on_card.TOOLS_EARLIER.format(count=earlier)
        inner.insert(0, both(notation("", "tools_earlier"), more, language))
    title = _title(on_card.TOOLS.format(count=total), language)
    return panel("tools_panel", title, inner, expanded=False)


def tool_line(step: ToolStep, *, nested: bool = False) -> Text:
    """One step: ``✅ 📖 **Read**: a.py _(1.5s)_``, indented under its parent."""
    line = f"{_STATUS[step.status]} {_ICONS.get(step.kind, '🔧')} **{in_card(step.name, 60)}**"
    if step.summary:
        line += f": {in_card(step.summary, 120)}"
    if step.duration_ms is not None:
        line += f" _({amounts.duration(step.duration_ms / 1000)})_"
    line = f"&emsp;{line}" if nested else line
    if not step.rejected:
        return Text(line, line)
    why = on_card.STEP_REJECTED
    return Text(f"{line} _({why.en})_", f"{line} _({why.zh})_")


def _detail(step: ToolStep, bytes_max: int) -> str:
    """Return why a step failed, what it changes or what it gave; empty: nothing of it."""
    if step.status == "error" and step.error.strip():
        return fenced(latest(step.error.rstrip(), bytes_max))
    if step.change:
        path, _, lines = step.change.partition("\n")
        return fenced(f"{path}\n{latest(lines, bytes_max)}".rstrip(), "diff")
    if step.kind == "execute" and step.output.strip():
        return fenced(latest(step.output.rstrip(), bytes_max))
    return ""

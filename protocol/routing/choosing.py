"""``/mode``, ``/model``, ``/effort`` and ``/commands``: what a session's agent offers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from protocol.quoted import quoted
from protocol.strings import Text, about_agents
from protocol.wire.messages import Choice, Option, OptionsOffer
from protocol.wire.vocabulary import OptionKind

NAMES: Final[Mapping[OptionKind, Text]] = {
    "mode": about_agents.OPTION_MODE,
    "model": about_agents.OPTION_MODEL,
    "effort": about_agents.OPTION_EFFORT,
}
NONE_OFFERED: Final[Mapping[OptionKind, Text]] = {
    "mode": about_agents.NO_MODES,
    "model": about_agents.NO_MODELS,
    "effort": about_agents.NO_EFFORTS,
}
_SKIPS: Final = re.compile(
    r"bypass|yolo|full[ _-]?access|dont[ _-]?ask|don\'t ask|never[ _-]?ask", re.IGNORECASE
)
_SKIPS_DESCRIBED: Final = re.compile(
    r"(skip|bypass|without|no|never)\w*\s+(\w+\s+){0,3}(approv|permission|confirm|asking)",
    re.IGNORECASE,
)


def option_of(offer: OptionsOffer | None, kind: OptionKind) -> Option | None:
    """Return the option of this kind that the agent offers, if it has choices."""
    options = offer.options if offer is not None else ()
    return next((one for one in options if one.kind == kind and one.choices), None)


def choice_of(option: Option, word: str) -> Choice | None:
    """Return the choice that is named by id or name, in any case."""
    wanted = word.strip().casefold()
    by_id = (one for one in option.choices if one.id.casefold() == wanted)
    by_name = (one for one in option.choices if one.name.casefold() == wanted)
    return next(by_id, None) or next(by_name, None)


def skips_approvals(choice: Choice) -> bool:
    """Whether it lets the agent act without asking: such a choice is for admins."""
    named = _SKIPS.search(choice.id) or _SKIPS.search(choice.name)
    return bool(named or _SKIPS_DESCRIBED.search(choice.description or ""))


def current(option: Option, kind: OptionKind, shown: Callable[[str], str] = quoted) -> Text:
    """Return what holds now: ``Mode: x``."""
    held = next((one.name for one in option.choices if one.id == option.value), option.value)
    return NAMES[kind].format(value=shown(held))


def commands(offer: OptionsOffer | None, alias: str) -> Text:
    """Return the agent's own slash commands."""
    offered = offer.commands if offer is not None else []
    if not offered:
        return about_agents.NO_AGENT_COMMANDS.format(alias=alias)
    text = about_agents.AGENT_COMMANDS.format(alias=alias)
    for one in offered:
        hint = f" {quoted(one.hint, 60)}" if one.hint else ""
        about = f" – {quoted(one.description, 160)}" if one.description else ""
        text = text.plus(f"\n/{quoted(one.name, 60)}{hint}{about}")
    return text

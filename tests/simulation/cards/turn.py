"""A turn that has all that a card can show, its words numbered, and what was sent of it when."""

from __future__ import annotations

import random
from typing import Any, Literal

from msgspec import Struct, field

Reasoning = Literal["channel", "tags", "none"]
IDLE_S = 4.0
"""In the middle, in which no text comes."""
FILLER = "lorem ipsum dolor sit amet "
SECRET = "pondered"
"""In what is reasoning; the answer shows none of it."""
IN_CODE = "<think>"
PLAN, TOOL = "plan-entry", "tool-output"
"""In these panels, and nowhere else."""
Map = dict[str, Any]


class Script(Struct, frozen=True, kw_only=True):
    """What a session writes in one turn."""

    paragraphs: tuple[str, ...]
    """Each with the next numbers, ``w0``, ``w1`` and so on."""
    every_s: float
    tail: str
    reasoning: Reasoning
    has_panels: bool

    @property
    def seconds(self) -> float:
        return len(self.paragraphs) * self.every_s + IDLE_S

    @property
    def text(self) -> str:
        return "".join(self.paragraphs) + self.tail

    @property
    def words(self) -> int:
        """One for each paragraph, and one for the tail."""
        return len(self.paragraphs) + 1


def write(seed: int) -> Script:
    """Return the script of a seed, the same each time."""
    chance = random.Random(f"turn {seed}")
    is_long = chance.random() < 0.4
    count = 110 if is_long else chance.choice((12, 30))
    reasoning: Reasoning = chance.choice(("channel", "tags", "none"))
    paragraphs = []
    for number in range(count):
        text = f"w{number} "
        if is_long:
            text += FILLER * 20
        match number % 8:
            case 3:
                text += f"`{IN_CODE}` as code\n\n"
            case 5:
                text = f"    {IN_CODE} {text.strip()}\n\n"
            case 6:
                text = f"```\n{IN_CODE} {text}\n```\n\n"
            case 7 if reasoning == "tags":
                text += f"\n\n<think>{SECRET} {number}</think>\n\n"
            case _:
                text += "\n\n"
        paragraphs.append(text)
    secret = f"<think>{SECRET} at last</think>" if reasoning == "tags" else ""
    return Script(
        paragraphs=tuple(paragraphs),
        every_s=0.1 if is_long else chance.choice((0.1, 0.25)),
        tail=f"{secret}w{count} is the end.",
        reasoning=reasoning,
        has_panels=chance.random() < 0.6,
    )


class Turn(Struct, kw_only=True):
    """One turn as its session has sent it; times of the simulation's clock."""

    script: Script
    prompt: str
    """The first line of its message."""
    turn_id: str = ""
    began_at: float = 0.0
    panels_at: float | None = None
    sent: list[tuple[float, int]] = field(default_factory=list)
    """When each paragraph was sent, and how many were by then."""
    ended_at: float | None = None
    """When its end was sent; None: it was cut off before."""
    read_at_end: int = 0
    """Words that could be read when its end was sent."""

    def sent_by(self, at: float) -> int:
        return max((count for when, count in self.sent if when <= at), default=0)


def panels(script: Script, turn_id: str) -> list[Map]:
    """Return the messages that fill the panels of a turn, where it has them."""
    messages: list[Map] = []
    if script.has_panels:
        entries = [
            {"content": f"{PLAN} {number} {FILLER}", "status": "pending"} for number in range(30)
        ]
        messages.append({"t": "plan", "turn_id": turn_id, "entries": entries})
        messages += [
            {
                "t": "tool_event",
                "turn_id": turn_id,
                "call_id": f"call {number}",
                "name": "run",
                "kind": "execute",
                "status": "success",
                "summary": FILLER,
                "output": f"{FILLER}\n" * 60 + f"{TOOL} {number}",
            }
            for number in range(6)
        ]
    if script.reasoning == "channel":
        text = f"{SECRET} aside. " + FILLER * 100
        messages.append({"t": "delta", "turn_id": turn_id, "text": text, "channel": "reasoning"})
    return messages

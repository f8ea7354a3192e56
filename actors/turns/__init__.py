"""Turns: what a person sees of one, as a live card or as plain replies."""

from actors.turns.actor import show_turn
from actors.turns.context import TurnContext
from actors.turns.repair import finish_crashed, repair_cards
from actors.turns.typing_mark import TypingMark, mark_until

__all__ = [
    "TurnContext",
    "TypingMark",
    "finish_crashed",
    "mark_until",
    "repair_cards",
    "show_turn",
]

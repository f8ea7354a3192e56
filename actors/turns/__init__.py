"""Turns: each is shown as a live card or as plain replies, and brought to its end."""

from actors.turns.actor import show_turn
from actors.turns.given import show_given
from actors.turns.peers import Peers
from actors.turns.repair import finish_crashed, repair_cards
from actors.turns.typing_mark import TypingMark

__all__ = [
    "Peers",
    "TypingMark",
    "finish_crashed",
    "repair_cards",
    "show_given",
    "show_turn",
]

"""Turns: what a person sees of one, as a live card or as plain replies."""

from actors.turns.actor import show_turn
from actors.turns.context import TurnContext
from actors.turns.repair import finish_crashed, repair_cards

__all__ = ["TurnContext", "finish_crashed", "repair_cards", "show_turn"]

"""Intake: from a committed event to a row a session may be given."""

from actors.intake.actor import run
from actors.intake.operating import operator_tools
from actors.intake.peers import Peers
from actors.intake.settings import IntakeSettings

__all__ = ["IntakeSettings", "Peers", "operator_tools", "run"]

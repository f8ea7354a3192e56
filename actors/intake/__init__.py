"""Intake: from a committed event to a row a session may be given."""

from actors.intake.actor import IntakeSettings, run
from actors.intake.doors import Neighbours
from actors.intake.operating import OperatorTool, operator_tools

__all__ = ["IntakeSettings", "Neighbours", "OperatorTool", "operator_tools", "run"]

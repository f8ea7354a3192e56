"""Intake: from a committed event to a row a session may be given."""

from actors.intake.actor import IntakeSettings, run
from actors.intake.doors import Peers
from actors.intake.operating import OperatorTool, operator_tools

__all__ = ["IntakeSettings", "OperatorTool", "Peers", "operator_tools", "run"]

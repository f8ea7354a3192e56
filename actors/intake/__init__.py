"""Intake: from a committed event to a row a session may be given."""

from actors.intake.actor import IntakeSettings, run
from actors.intake.operating import OperatorTool, operator_tools
from actors.intake.peers import Peers

__all__ = ["IntakeSettings", "OperatorTool", "Peers", "operator_tools", "run"]

"""Intake: from a committed event to a row a session may be given."""

from actors.intake.actor import IntakeSettings, run
from actors.intake.doors import Neighbours

__all__ = ["IntakeSettings", "Neighbours", "run"]

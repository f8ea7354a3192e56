"""Lanes: one per session, each the order of its turns and the one in flight."""

from actors.lanes.actor import run
from actors.lanes.lane import Lane, LaneContext, LaneSettings

__all__ = ["Lane", "LaneContext", "LaneSettings", "run"]

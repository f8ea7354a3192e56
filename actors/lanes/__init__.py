"""Lanes: one per session, each the order of its turns and the one in flight."""

from actors.lanes.actor import run
from actors.lanes.lane import Lane, LaneSettings, Peers

__all__ = ["Lane", "LaneSettings", "Peers", "run"]

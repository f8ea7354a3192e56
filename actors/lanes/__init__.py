"""Lanes: one per session, each the order of its turns and the one in flight."""

from actors.lanes.actor import run
from actors.lanes.lane import Lane
from actors.lanes.peers import Peers
from actors.lanes.settings import LaneSettings

__all__ = ["Lane", "LaneSettings", "Peers", "run"]

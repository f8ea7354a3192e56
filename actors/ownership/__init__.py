"""Ownership: the single writer of who hears whom, and of which row is with whom."""

from actors.ownership.actor import JournalUnreadable, run
from actors.ownership.status import OwnershipSettings

__all__ = ["JournalUnreadable", "OwnershipSettings", "run"]

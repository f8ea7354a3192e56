"""Ownership: the single writer of who hears whom, and of which row is with whom."""

from actors.ownership.actor import JournalUnreadable, OwnershipSettings, run

__all__ = ["JournalUnreadable", "OwnershipSettings", "run"]

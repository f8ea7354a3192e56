"""Ownership: the single writer of the lease, and of which row is with which connection."""

from actors.ownership.actor import JournalUnreadable, run
from actors.ownership.status import OwnershipSettings

__all__ = ["JournalUnreadable", "OwnershipSettings", "run"]

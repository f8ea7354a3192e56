"""Ownership: the single writer of the lease, and of which row is with which connection."""

from actors.ownership.actor import run
from actors.ownership.status import OwnershipSettings

__all__ = ["OwnershipSettings", "run"]

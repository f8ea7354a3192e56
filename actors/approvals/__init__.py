"""Approvals: what agents ask permission for, shown in the chat and decided by a press."""

from actors.approvals.actor import run
from actors.approvals.peers import Peers

__all__ = ["Peers", "run"]

"""Approvals: what agents ask permission for, shown in the chat and decided by a press."""

from actors.approvals.actor import ApprovalsContext, run

__all__ = ["ApprovalsContext", "run"]

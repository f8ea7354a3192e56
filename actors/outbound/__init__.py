"""What a session says outside of turns: replies, reactions, edits, and its inbox."""

from actors.outbound.context import OutboundContext
from actors.outbound.tools import session_tools

__all__ = ["OutboundContext", "session_tools"]

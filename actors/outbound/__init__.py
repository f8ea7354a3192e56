"""What a session says outside of turns: replies, reactions, edits, and its inbox."""

from actors.outbound.notices import notify
from actors.outbound.peers import Peers
from actors.outbound.tools import session_tools

__all__ = ["Peers", "notify", "session_tools"]

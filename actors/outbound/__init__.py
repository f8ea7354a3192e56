"""What a session sends outside of turns: replies, reactions, edits, and its inbox."""

from actors.outbound.attachments import Attachments
from actors.outbound.notices import Notices
from actors.outbound.peers import Peers
from actors.outbound.tools import session_tools

__all__ = ["Attachments", "Notices", "Peers", "session_tools"]

"""Links: the listener, and one link per proxy connection."""

from actors.links.listener import serve
from actors.links.own_turns import OwnTurnPeers
from actors.links.settings import LinkSettings
from actors.links.tools import Tools

__all__ = ["LinkSettings", "OwnTurnPeers", "Tools", "serve"]

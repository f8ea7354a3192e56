"""Links: the listener, and one link per proxy connection."""

from actors.links.capacity import capacity_of
from actors.links.link import LinkSettings
from actors.links.listener import serve
from actors.links.tools import OperatorTool, SessionTool, Tools

__all__ = ["LinkSettings", "OperatorTool", "SessionTool", "Tools", "capacity_of", "serve"]

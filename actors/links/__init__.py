"""Links: the listener, and one link per proxy connection."""

from actors.links.link import LinkSettings
from actors.links.listener import serve
from actors.links.tools import OperatorTool, SessionTool, Tools

__all__ = ["LinkSettings", "OperatorTool", "SessionTool", "Tools", "serve"]

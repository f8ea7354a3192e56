"""What the daemon shows of itself over HTTP: metrics, health, and the console.

It asks the other actors and keeps nothing but a short history for the console's plots. What
serves is in ``http``, which nobody imports who does not serve: its libraries are large.
"""

from actors.monitoring.peers import Peers
from actors.monitoring.tools import onlookers_tools

__all__ = ["Peers", "onlookers_tools"]

"""Connection: the long connection of one account, from discovery to ack."""

from actors.connection.actor import run
from actors.connection.settings import MORE_LINKS, ConnectionSettings, Peers

__all__ = ["MORE_LINKS", "ConnectionSettings", "Peers", "run"]

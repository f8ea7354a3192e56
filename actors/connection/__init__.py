"""Connection: the long connection of one account, from discovery to ack."""

from actors.connection.actor import run
from actors.connection.settings import ConnectionSettings, Peers

__all__ = ["ConnectionSettings", "Peers", "run"]

"""A relay on an edge between two processes: it passes, holds, cuts, or cuts after a word."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

READ_BYTES: Final = 65_536
LOOK_EVERY_S: Final = 0.02
READY_FOR_QUERY: Final = b"Z\x00\x00\x00\x05"
"""How PostgreSQL's protocol ends each answer."""


class Relay:
    """Listens on loopback and passes bytes to a port there; runs in threads of its own."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.holding = threading.Event()
        """Set, nothing is passed on, in either direction; nothing is closed."""
        self.cut_before: bytes | None = None
        """Reset both sides instead of passing on what the client sends with this in it; once."""
        self.cut_after: bytes | None = None
        """Pass it on, and reset as its server is done with it, instead of passing on that; once."""
        self.rewrite: Callable[[bytes], bytes] = lambda data: data
        """Made of all that is passed, in either direction; it keeps the length."""
        self.round_trips = 0
        """How often the client went on after an answer, or began: of all connections."""
        self._open: set[socket.socket] = set()
        self._ended = threading.Event()

    def cut(self) -> None:
        """Reset all connections that are open."""
        for one in tuple(self._open):
            with contextlib.suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                one.shutdown(socket.SHUT_RDWR)

    def holds_something(self) -> bool:
        """Whether something has come that is not passed on."""
        return self.holding.is_set() and bool(select.select([*self._open], [], [], 0)[0])

    def _serve(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            with socket.create_connection(("127.0.0.1", self._to)) as server:
                self._open |= {client, server}
                try:
                    self._pump(client, server)
                finally:
                    self._open -= {client, server}

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        last = server
        while not self._ended.is_set():
            if self.holding.is_set():
                self._ended.wait(LOOK_EVERY_S)
                continue
            readable, _, _ = select.select([client, server], [], [], LOOK_EVERY_S)
            for one in readable:
                data = self.rewrite(one.recv(READ_BYTES))
                if not data:
                    return
                if one is client and last is server:
                    self.round_trips += 1
                last = one
                if one is client and self.cut_before is not None and self.cut_before in data:
                    self.cut_before = None
                    return
                (server if one is client else client).sendall(data)
                if one is client and self.cut_after is not None and self.cut_after in data:
                    self.cut_after = None
                    self._await_done(client, server)
                    return

    def _await_done(self, client: socket.socket, server: socket.socket) -> None:
        """Read until the server is ready for the next query: it has carried this one out."""
        answer = b""
        while READY_FOR_QUERY not in answer and not self._ended.is_set():
            for one in select.select([client, server], [], [], LOOK_EVERY_S)[0]:
                data = one.recv(READ_BYTES)
                if not data:
                    return
                if one is server:
                    answer += data
                else:
                    server.sendall(data)  # the rest of the same pipeline


@contextmanager
def relaying(port: int) -> Iterator[Relay]:
    relay = Relay(port)
    thread = threading.Thread(target=relay._serve, daemon=True)
    thread.start()
    try:
        yield relay
    finally:
        relay._ended.set()
        with contextlib.suppress(OSError):
            relay._listener.shutdown(socket.SHUT_RDWR)
        relay._listener.close()
        relay.cut()
        thread.join(2)

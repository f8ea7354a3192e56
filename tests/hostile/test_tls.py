"""The listener for other machines, and clients that would get around what its TLS demands."""

from __future__ import annotations

import shutil
import socket
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import trio

from tests.cluster.nodes import Certificates
from tests.kit.daemon import open_served
from tests.kit.ports import free_port
from tests.kit.raw_proxy import Map, frame, registration

WITHIN_S = 60.0


def client(daemon: Certificates, shown: Certificates | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(daemon.ca))
    if shown is not None:
        context.load_cert_chain(shown.cert, shown.key)
    return context


class Connection:
    """A client of the standard library: it resumes sessions, which Trio's does not."""

    def __init__(
        self, port: int, context: ssl.SSLContext | None, session: ssl.SSLSession | None = None
    ) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S)
        if context is not None:
            self.socket = context.wrap_socket(
                self.socket, server_hostname="localhost", session=session
            )

    def receive(self) -> Map:
        size = int.from_bytes(self._exactly(4), "big")
        message: Map = msgspec.msgpack.decode(self._exactly(size))
        return message

    def _exactly(self, size: int) -> bytes:
        received = b""
        while len(received) < size:
            piece = self.socket.recv(size - len(received))
            if not piece:
                raise ConnectionError("closed")
            received += piece
        return received

    def register(self, state_dir: Path, role: str, token: str) -> Map:
        hello = self.receive()
        assert hello["t"] == "hello"
        made = registration(hello, state_dir, f"a-{role}", role, token, {"capabilities": []})
        self.socket.sendall(frame(made))
        return self.receive()


def gets_nothing(connect: Callable[[], Connection]) -> None:
    """Whoever connects so is not even greeted."""
    connection: Connection | None = None
    try:
        connection = connect()
        received = connection.receive()
    except (OSError, ConnectionError):
        return
    finally:
        if connection is not None:
            connection.socket.close()
    raise AssertionError(received)


async def test_nobody_is_greeted_who_does_less_than_the_page_demands(
    state_dir: Path, tmp_path: Path
) -> None:
    made: dict[str, Certificates] = {}
    for name in ("daemon", "mine", "strange"):
        (tmp_path / name).mkdir()
        made[name] = Certificates.made(tmp_path / name)
    demanded = tmp_path / "demanded.pem"
    shutil.copy(made["mine"].ca, demanded)
    port = free_port()
    tls = {
        "host": "127.0.0.1",
        "port": port,
        "certFile": str(made["daemon"].cert),
        "keyFile": str(made["daemon"].key),
        "clientCaFile": str(demanded),
    }

    def attack() -> None:
        older = client(made["daemon"], made["mine"])
        older.maximum_version = ssl.TLSVersion.TLSv1_2
        for context in (
            older,
            client(made["daemon"], None),
            client(made["daemon"], made["strange"]),
        ):
            gets_nothing(partial(Connection, port, context))
        gets_nothing(partial(plain_request, port))
        context = client(made["daemon"], made["mine"])
        first = Connection(port, context)
        assert isinstance(first.socket, ssl.SSLSocket)
        assert first.socket.version() == "TLSv1.3"
        assert first.register(state_dir, "dispatcher", "dispatcher")["t"] == "registered"
        session = first.socket.session
        # A session that is resumed proves no role: each connection has a nonce of its own.
        again = Connection(port, context, session)
        assert again.register(state_dir, "dispatcher", "session")["code"] == "bad_proof"
        again.socket.close()
        again = Connection(port, context, session)
        assert again.register(state_dir, "session", "session")["role"] == "session"
        again.socket.close()
        # Another authority is demanded from now on, also of who was let in before.
        shutil.copy(made["strange"].ca, demanded)
        gets_nothing(partial(Connection, port, context, session))
        gets_nothing(partial(Connection, port, context))
        now = Connection(port, client(made["daemon"], made["strange"]))
        assert now.register(state_dir, "observer", "observer")["t"] == "registered"
        now.socket.close()
        first.socket.close()

    async with open_served(state_dir, listen={"tls": tls}):
        await trio.to_thread.run_sync(attack)


def plain_request(port: int) -> Connection:
    """Send a frame without TLS; what comes is no frame but TLS's own alert, if anything."""
    connection = Connection(port, None)
    connection.socket.sendall(frame({"t": "ping", "n": 1}))
    answer = connection.socket.recv(1_000)
    assert b"hello" not in answer
    assert b"pong" not in answer
    connection.socket.close()
    raise ConnectionError("no greeting")

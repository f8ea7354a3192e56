"""HTTP connections, each on its own: few at once, and what one does ends no other.

Hypercorn speaks HTTP. Its own accept loop has no limit, and an error in one connection
ends them all, which anybody who can connect can bring about; so the loop is ours.
"""

from __future__ import annotations

import os
import socket
from collections import OrderedDict
from typing import Any, Final

import structlog
import trio
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.utils import wrap_app
from starlette.types import ASGIApp

from actors.kit.tls_serving import HANDSHAKE_WITHIN_S
from actors.monitoring.peers import HttpSettings

CONNECTIONS_MAX: Final = 48
"""Of one address; a new one then takes the place of the oldest. They are few of the
descriptors that are kept back from proxies."""
KEEP_ALIVE_S: Final = 15.0
BACKLOG: Final = 64
ALPN: Final = ("h2", "http/1.1")

Stream = Any  # a socket's, or TLS over one: Hypercorn distinguishes them

log = structlog.get_logger()


async def serve_app(app: ASGIApp, settings: HttpSettings) -> None:
    """Serve until cancelled. The listening sockets stay open: they belong to the caller."""
    server = _HttpServer(app)
    listeners: list[trio.abc.Listener[Any]] = [_listener(one) for one in settings.sockets]
    if settings.tls is not None:
        context = settings.tls.serving_context(ALPN)
        listeners = [trio.SSLListener(one, context, https_compatible=True) for one in listeners]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.close_when_cancelled)
        await trio.serve_listeners(server.serve, listeners)


def _listener(descriptor: int) -> trio.SocketListener:
    listening = socket.socket(fileno=os.dup(descriptor))
    listening.listen(BACKLOG)
    return trio.SocketListener(trio.socket.from_stdlib_socket(listening))


class _HttpServer:
    def __init__(self, app: ASGIApp) -> None:
        self._config = Config()
        self._config.accesslog = None
        self._config.errorlog = None
        self._config.include_server_header = False
        self._config.keep_alive_timeout = KEEP_ALIVE_S
        self._config.ssl_handshake_timeout = HANDSHAKE_WITHIN_S
        self._app = wrap_app(app, self._config.wsgi_max_body_size, "asgi")  # type: ignore[arg-type]  # an ASGI app is one
        self._context = WorkerContext(None)
        self._open: OrderedDict[Stream, trio.CancelScope] = OrderedDict()

    async def serve(self, stream: Stream) -> None:
        """Serve one connection to its end, whichever that is."""
        if len(self._open) >= CONNECTIONS_MAX:
            self._drop(next(iter(self._open)))
        with trio.CancelScope() as scope:
            self._open[stream] = scope
            try:
                await TCPServer(self._app, self._config, self._context, {}, stream).run()
            except* Exception as broken:  # noqa: BLE001  # nothing one connection does ends another
                log.debug("http.broken", reason=repr(broken.exceptions[0])[:300])
            finally:
                self._open.pop(stream, None)

    def _drop(self, stream: Stream) -> None:
        """End a connection now, also one whose client does not read: Hypercorn shields that."""
        self._open.pop(stream).cancel(reason="a newer connection, or the end")
        while not isinstance(stream, trio.SocketStream):
            stream = stream.transport_stream
        stream.socket.close()

    async def close_when_cancelled(self) -> None:
        """End what is open with this actor: a client that does not read is not waited for."""
        try:
            await trio.sleep_forever()
        finally:
            for stream in list(self._open):
                self._drop(stream)

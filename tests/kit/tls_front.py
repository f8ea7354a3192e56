"""TLS before a plain server of this machine."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import trio


@asynccontextmanager
async def open_tls_front(certificate: Path, url: str) -> AsyncIterator[int]:
    """Listen with *certificate* and pass on to *url*; give the port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    port = urlsplit(url).port
    assert port is not None

    async def serve(client: trio.SSLStream[trio.SocketStream]) -> None:
        server = await trio.open_tcp_stream("127.0.0.1", port)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_pass_on, client, server, nursery.cancel_scope)
                nursery.start_soon(_pass_on, server, client, nursery.cancel_scope)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client left, or does not trust the certificate
        finally:
            await trio.aclose_forcefully(server)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_ssl_over_tcp, serve, 0, context)
        yield listeners[0].transport_listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def _pass_on(
    source: trio.abc.Stream, target: trio.abc.Stream, until: trio.CancelScope
) -> None:
    while data := await source.receive_some():
        await target.send_all(data)
    until.cancel()

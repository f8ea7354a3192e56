"""The HTTP side: sockets that outlive a restart of the actor, and the plain routes."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec
import trio
from hypercorn.config import Config
from hypercorn.trio import serve as serve_http
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from actors.kit.tls import HANDSHAKE_WITHIN_S
from actors.monitoring import metrics
from actors.monitoring.console import Access, console_app
from actors.monitoring.history import Recorder
from actors.monitoring.overview import NOTHING, look, reasons_against
from actors.monitoring.peers import HttpSettings, Peers

GRACE_S: Final = 0.5
KEEP_ALIVE_S: Final = 15.0
BACKLOG: Final = 64
ALPN: Final = ("h2", "http/1.1")
NOT_SERVING: Final = "this daemon does not serve: it starts, stands by or leaves"


class Served(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What is served where."""

    metrics: HttpSettings | None
    console: HttpSettings | None
    access: Access
    peers: Callable[[], Peers | None]
    """Whom to ask now; None while the daemon stands by, starts or leaves."""


async def serve(
    served: Served, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve until cancelled."""
    async with trio.open_nursery() as nursery:
        if served.metrics is not None:
            nursery.start_soon(metrics.measure_lag)
            nursery.start_soon(_serve, metrics_app(served.peers), served.metrics)
        if served.console is not None:
            recorder = Recorder(served.peers)
            nursery.start_soon(recorder.run)
            nursery.start_soon(_serve, console_app(recorder, served.access), served.console)
        task_status.started()


def metrics_app(peers: Callable[[], Peers | None]) -> ASGIApp:
    """Return the app of ``/metrics``, ``/livez`` and ``/healthz``."""

    async def scrape(_request: Request) -> Response:
        asked = peers()
        seen = await look(asked) if asked is not None else NOTHING
        return Response(metrics.render(seen), media_type=metrics.CONTENT_TYPE)

    async def live(_request: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def healthy(_request: Request) -> Response:
        asked = peers()
        reasons = reasons_against(await look(asked)) if asked is not None else [NOT_SERVING]
        content = {"status": "unavailable" if reasons else "ok", "reasons": reasons}
        return JSONResponse(content, status_code=503 if reasons else 200)

    return Starlette(
        routes=[
            Route("/metrics", scrape),
            Route("/livez", live),
            Route("/healthz", healthy),
        ]
    )


async def _serve(app: ASGIApp, settings: HttpSettings) -> None:
    config = Config()
    # Hypercorn closes what it is given; the listening sockets themselves are ours.
    config.bind = [f"fd://{os.dup(descriptor)}" for descriptor in settings.sockets]
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.graceful_timeout = GRACE_S
    config.backlog = BACKLOG
    if settings.tls is not None:
        config.certfile, config.keyfile = settings.tls.cert_file, settings.tls.key_file
        config.ssl_handshake_timeout = HANDSHAKE_WITHIN_S
        # Its own allows TLS 1.2, and reads the certificate once.
        config.create_ssl_context = partial(settings.tls.serving_context, ALPN)  # type: ignore[method-assign]  # see above
    await serve_http(app, config, shutdown_trigger=trio.sleep_forever)  # type: ignore[arg-type]  # an ASGI app is one

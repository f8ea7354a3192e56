"""The HTTP side: sockets that outlive a restart of the actor, and the plain routes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from actors.monitoring import metrics
from actors.monitoring.console import Access, console_app
from actors.monitoring.history import Recorder
from actors.monitoring.overview import NOTHING, look, reasons_against
from actors.monitoring.peers import HttpSettings, Peers
from actors.monitoring.serving import serve_app

NOT_SERVING: Final = "this daemon does not serve: it starts, stands by or leaves"


class Served(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What is served where."""

    metrics: HttpSettings | None
    console: HttpSettings | None
    """The same as *metrics* where one address serves both."""
    access: Access
    peers: Callable[[], Peers | None]
    """Whom to ask now; None while the daemon stands by, starts or leaves."""


async def serve(
    served: Served, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve until cancelled."""
    async with trio.open_nursery() as nursery:
        beside: list[Route] = []
        if served.metrics is not None:
            nursery.start_soon(metrics.measure_lag)
            routes = metrics_routes(served.peers)
            if served.metrics is served.console:
                beside = routes
            else:
                nursery.start_soon(serve_app, Starlette(routes=routes), served.metrics)
        if served.console is not None:
            recorder = Recorder(served.peers)
            nursery.start_soon(recorder.run)
            app = console_app(recorder, served.access, beside)
            nursery.start_soon(serve_app, app, served.console)
        task_status.started()


def metrics_routes(peers: Callable[[], Peers | None]) -> list[Route]:
    """Return ``/metrics``, ``/livez`` and ``/healthz``."""

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

    return [Route("/metrics", scrape), Route("/livez", live), Route("/healthz", healthy)]

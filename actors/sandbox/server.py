"""The sandbox as a whole: its HTTP server, its WebSocket server, and its first people."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import msgspec
import trio
import trio_websocket as ws
from hypercorn.config import Config
from hypercorn.trio import serve as serve_http
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from actors.sandbox.card_api import CardApi
from actors.sandbox.clock import Clock
from actors.sandbox.control import Control
from actors.sandbox.documents import Documents
from actors.sandbox.faults import Faults
from actors.sandbox.feed import Feed
from actors.sandbox.limits import MINUTE_S, Limits, LimitSettings
from actors.sandbox.longconn import FRAGMENT_BYTES, LongConnections
from actors.sandbox.platform_api import PlatformApi
from actors.sandbox.rest import JSON, Api
from actors.sandbox.tokens import Tokens
from actors.sandbox.world import World

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

REQUEST_BYTES_MAX: Final = 40 * 1024 * 1024
_SPELT: Final = {b"content-type": b"Content-Type", b"x-tt-logid": b"X-Tt-Logid"}
"""One official client looks these up by exactly this spelling."""


class SandboxSettings(msgspec.Struct, frozen=True, kw_only=True):
    host: str = "127.0.0.1"
    port: int = 0
    """0 picks a free one."""
    websocket_port: int = 0
    app_id: str = "cli_a1b2c3d4e5f60718"
    app_secret: str = "sandbox-secret"  # noqa: S105  # it opens nothing but the sandbox
    more_apps: tuple[tuple[str, str], ...] = ()
    clock_scale: float = 1.0
    """Platform seconds in a real one: at 60 streaming closes after 10 s."""
    enforce_limits: bool = True
    ping_interval_s: int = 120
    reconnect_interval_s: int = 2
    reconnect_nonce_s: int = 1
    fragment_bytes: int = FRAGMENT_BYTES
    seed: int = 1


class RunningSandbox(msgspec.Struct, frozen=True, kw_only=True):
    settings: SandboxSettings
    base_url: str
    """What goes into the configuration as ``domain``."""
    page_url: str
    world: World
    sockets: LongConnections


async def serve_sandbox(
    settings: SandboxSettings,
    *,
    task_status: trio.TaskStatus[RunningSandbox] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled. Started when both servers listen."""
    clock, feed, rng = Clock(settings.clock_scale), Feed(), random.Random(settings.seed)  # noqa: S311  # ids of a sandbox
    world = World(clock, feed, rng)
    app = world.add_app(settings.app_id, settings.app_secret, "larkd")
    for number, (app_id, secret) in enumerate(settings.more_apps, 2):
        world.add_app(app_id, secret, f"larkd {number}")
    alice, bob = world.add_user("Alice"), world.add_user("Bob")
    world.add_chat("p2p", "Alice", [alice.open_id], app.app_id)
    world.add_chat("group", "Team", [alice.open_id, bob.open_id], app.app_id)
    limits = Limits(LimitSettings(enforce=settings.enforce_limits))
    config = {
        "ReconnectCount": -1,
        "ReconnectInterval": settings.reconnect_interval_s,
        "ReconnectNonce": settings.reconnect_nonce_s,
        "PingInterval": settings.ping_interval_s,
    }
    async with trio.open_nursery() as nursery:
        sockets = LongConnections(world, clock, feed, nursery, config, settings.fragment_bytes)
        server: ws.WebSocketServer = await nursery.start(
            ws.serve_websocket, sockets.handle, settings.host, settings.websocket_port, None
        )
        sockets.url = f"ws://{settings.host}:{server.port}"
        tokens = Tokens(world, clock, rng)
        api = Api(tokens, limits, Faults(), settings.seed)
        cards = CardApi(world, limits)
        api.is_exempt = lambda template, path: (
            limits.settings.streaming_exempt and cards.is_exempt(template, path)
        )
        documents = Documents(world, sockets)
        control = Control(world, api, sockets, documents, app)
        routes = [
            *PlatformApi(world, tokens, limits, sockets, documents).routes(api),
            *cards.routes(api),
            *control.routes(),
        ]
        site = Starlette(routes=routes, exception_handlers={404: _no_such_path, 405: _wrong_method})
        addresses = await nursery.start(_serve_http, _SpeltHeaders(site), settings)
        nursery.start_soon(_forget, limits)
        base_url = addresses[0].rstrip("/")
        task_status.started(
            RunningSandbox(
                settings=settings,
                base_url=base_url,
                page_url=f"{base_url}/sandbox/",
                world=world,
                sockets=sockets,
            )
        )


async def _serve_http(
    site: Any, settings: SandboxSettings, *, task_status: trio.TaskStatus[list[str]]
) -> None:
    config = Config()
    config.bind = [f"{settings.host}:{settings.port}"]
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.keep_alive_timeout = 75
    config.graceful_timeout = 0.2
    await serve_http(site, config, shutdown_trigger=trio.sleep_forever, task_status=task_status)


async def _forget(limits: Limits) -> None:
    while True:
        await trio.sleep(MINUTE_S)
        limits.forget_idle()


async def _no_such_path(_request: Request, _error: Exception) -> Response:
    return _refused(404, 99991201, "resource not find")


async def _wrong_method(_request: Request, _error: Exception) -> Response:
    return _refused(400, 99991301, "request method doesn't match")


def _refused(status: int, code: int, message: str) -> Response:
    body = msgspec.json.encode({"code": code, "msg": message})
    return Response(body, status_code=status, headers={"Content-Type": JSON})


class _SpeltHeaders:
    """Spells headers as the platform does."""

    def __init__(self, site: Starlette) -> None:
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def spelt(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    (_SPELT.get(name, name), value) for name, value in message["headers"]
                ]
            await send(message)

        await self._site(scope, receive, spelt)

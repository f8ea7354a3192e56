"""The platform put together, without a socket: an ASGI application and a stream acceptor.

``server.py`` gives it real ones. A simulation gives it in-memory ones: requests through
any ASGI client, long connections through ``Sandbox.accept``; its clock is Trio's, its
randomness is handed in, so one seed repeats a run.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import trio
import trio_websocket as ws
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from actors.sandbox.access import GuardedSite
from actors.sandbox.app_api import AppApi
from actors.sandbox.card_api import CardApi
from actors.sandbox.chat_api import ChatApi
from actors.sandbox.clock import Clock
from actors.sandbox.control import ControlApi, ControlParts
from actors.sandbox.documents import Documents
from actors.sandbox.faults import Faults
from actors.sandbox.feed import Feed
from actors.sandbox.limits import MINUTE_S, CallLimits, LimitSettings
from actors.sandbox.longconn import FRAGMENT_BYTES, LongConnections
from actors.sandbox.message_api import MessageApi
from actors.sandbox.people import PeopleApi
from actors.sandbox.registration import Registrations
from actors.sandbox.rest import JSON, OpenApi
from actors.sandbox.tokens import IssuedTokens
from actors.sandbox.uploads import uploads
from actors.sandbox.world import RegisteredApp, World

HANDSHAKE_S: Final = 10.0
WEBSOCKET_MESSAGE_BYTES_MAX: Final = 2 * 1024 * 1024


class PlatformSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a platform starts with. Secrets left empty are made for the run."""

    app_id: str = "cli_a1b2c3d4e5f60718"
    app_secret: str = ""
    more_apps: tuple[tuple[str, str], ...] = ()
    token: str = ""
    """What the chat page and the control API want; in the page's address."""
    hosts: frozenset[str] = frozenset()
    """Names it answers to beside those of loopback."""
    enforce_limits: bool = True
    ping_interval_s: int = 120
    reconnect_interval_s: int = 2
    reconnect_nonce_s: int = 1
    fragment_bytes: int = FRAGMENT_BYTES


class Sandbox:
    """One platform. Its tasks run in the nursery it was made with."""

    def __init__(
        self, settings: PlatformSettings, clock: Clock, rng: random.Random, nursery: trio.Nursery
    ) -> None:
        settings = _with_secrets(settings, rng)
        self.settings = settings
        self._nursery = nursery
        feed = Feed()
        self.world = World(clock, feed, rng)
        app = self._populate()
        self.limits = CallLimits(LimitSettings(enforce=settings.enforce_limits))
        config = {
            "ReconnectCount": -1,
            "ReconnectInterval": settings.reconnect_interval_s,
            "ReconnectNonce": settings.reconnect_nonce_s,
            "PingInterval": settings.ping_interval_s,
        }
        self.sockets = LongConnections(
            self.world, clock, feed, nursery, config, settings.fragment_bytes
        )
        self.registrations = Registrations(self.world)
        site = Starlette(
            routes=self._routes(app),
            exception_handlers={404: _no_such_path, 405: _wrong_method},
        )
        self.site = GuardedSite(site, settings.token, settings.hosts)
        """The ASGI application: the platform's API, the control API, the chat page."""

    def located(self, base_url: str, websocket_url: str) -> None:
        """Take the addresses that clients are given: of registration, and of connections."""
        self.registrations.base_url = base_url
        self.sockets.url = websocket_url

    async def accept(self, stream: trio.abc.Stream) -> None:
        """Serve one long connection over any stream, until it ends; close the stream then."""
        try:
            async with trio.open_nursery() as nursery:
                request: ws.WebSocketRequest | None = None
                with trio.move_on_after(HANDSHAKE_S):
                    request = await ws.wrap_server_stream(
                        nursery, stream, max_message_size=WEBSOCKET_MESSAGE_BYTES_MAX
                    )
                if request is not None:
                    await self.sockets.handle(request)
                nursery.cancel_scope.cancel(reason="the connection is over")
        except* (ws.HandshakeError, ws.ConnectionClosed, trio.BrokenResourceError):
            pass  # the other end left
        finally:
            await trio.aclose_forcefully(stream)

    async def forget_idle(self) -> None:
        """Drop what counts no more, once a minute, for ever."""
        while True:
            await trio.sleep(MINUTE_S)
            self.limits.forget_idle()

    def _populate(self) -> RegisteredApp:
        world, settings = self.world, self.settings
        app = world.add_app(settings.app_id, settings.app_secret, "larkd")
        for number, (app_id, secret) in enumerate(settings.more_apps, 2):
            world.add_app(app_id, secret, f"larkd {number}")
        alice, bob = world.add_user("Alice"), world.add_user("Bob")
        world.add_chat("p2p", "Alice", [alice.open_id], app.app_id)
        world.add_chat("group", "Team", [alice.open_id, bob.open_id], app.app_id)
        return app

    def _routes(self, app: RegisteredApp) -> list[Route | Mount]:
        world, sockets = self.world, self.sockets
        tokens = IssuedTokens(world, world.clock, world.rng)
        api = OpenApi(world, tokens, self.limits, Faults())
        cards, app_api = CardApi(world, self.limits), AppApi(world, tokens, sockets)
        api.is_exempt = lambda template, path: (
            self.limits.settings.streaming_exempt and cards.is_exempt(template, path)
        )
        documents = Documents(world, sockets)
        parts = ControlParts(
            people=PeopleApi(world, api, sockets, documents, app),
            sockets=sockets,
            documents=documents,
            registrations=self.registrations,
            app_api=app_api,
        )
        return [
            *app_api.routes(api),
            *MessageApi(world, self.limits).routes(api),
            *ChatApi(world).routes(api),
            *cards.routes(api),
            *api.routes([*uploads(world), *documents.routes()]),
            *self.registrations.routes(api),
            *ControlApi(world, api, parts, app).routes(),
        ]


@asynccontextmanager
async def open_sandbox(
    settings: PlatformSettings, *, clock: Clock, rng: random.Random
) -> AsyncIterator[Sandbox]:
    """A platform whose tasks end with the block."""
    async with trio.open_nursery() as nursery:
        sandbox = Sandbox(settings, clock, rng, nursery)
        nursery.start_soon(sandbox.forget_idle)
        yield sandbox
        nursery.cancel_scope.cancel(reason="the sandbox closes")


def _with_secrets(settings: PlatformSettings, rng: random.Random) -> PlatformSettings:
    made: dict[str, Any] = {}
    if not settings.app_secret:
        made["app_secret"] = f"{rng.getrandbits(160):040x}"
    if not settings.token:
        made["token"] = f"{rng.getrandbits(192):048x}"
    return msgspec.structs.replace(settings, **made)


async def _no_such_path(_request: Request, _error: Exception) -> Response:
    return _refused(404, 99991201, "resource not find")


async def _wrong_method(_request: Request, _error: Exception) -> Response:
    return _refused(400, 99991301, "request method doesn't match")


def _refused(status: int, code: int, message: str) -> Response:
    body = msgspec.json.encode({"code": code, "msg": message})
    return Response(body, status_code=status, headers={"Content-Type": JSON})

"""The sandbox on real sockets: one port for HTTP, one for long connections."""

from __future__ import annotations

import random
from typing import Any, Final

import msgspec
import trio
import trio_websocket as ws
from hypercorn.config import Config
from hypercorn.trio import serve as serve_http

from actors.sandbox.clock import Clock
from actors.sandbox.longconn import LongConnections
from actors.sandbox.platform import PlatformSettings, open_sandbox
from actors.sandbox.world import World

KEEP_ALIVE_S: Final = 75
GRACE_S: Final = 0.2


class SandboxSettings(PlatformSettings, frozen=True, kw_only=True):
    host: str = "127.0.0.1"
    port: int = 0
    """0 picks a free one."""
    websocket_port: int = 0
    clock_scale: float = 1.0
    """Platform seconds in a real one: at 60 streaming closes after 10 s."""
    seed: int | None = None
    """None: the machine's randomness, so that no id and no secret can be guessed."""


class RunningSandbox(msgspec.Struct, frozen=True, kw_only=True):
    settings: SandboxSettings
    """With the secrets of this run."""
    base_url: str
    """What goes into the configuration as ``domain``."""
    page_url: str
    """The chat page's, with the run's token in it."""
    world: World
    sockets: LongConnections


async def serve_sandbox(
    settings: SandboxSettings,
    *,
    task_status: trio.TaskStatus[RunningSandbox] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled. Started when both servers listen."""
    rng = random.SystemRandom() if settings.seed is None else random.Random(settings.seed)  # noqa: S311  # a seed is asked for to repeat a run
    settings = msgspec.structs.replace(settings, hosts=settings.hosts | {settings.host})
    async with (
        open_sandbox(settings, clock=Clock(settings.clock_scale), rng=rng) as sandbox,
        trio.open_nursery() as nursery,
    ):
        server: ws.WebSocketServer = await nursery.start(
            ws.serve_websocket,
            sandbox.sockets.handle,
            settings.host,
            settings.websocket_port,
            None,
        )
        addresses = await nursery.start(_serve_http, sandbox.site, settings)
        base_url = addresses[0].rstrip("/")
        sandbox.located(base_url, f"ws://{_bracketed(settings.host)}:{server.port}")
        secrets = {"app_secret": sandbox.settings.app_secret, "token": sandbox.settings.token}
        task_status.started(
            RunningSandbox(
                settings=msgspec.structs.replace(settings, **secrets),
                base_url=base_url,
                page_url=f"{base_url}/sandbox/?token={sandbox.settings.token}",
                world=sandbox.world,
                sockets=sandbox.sockets,
            )
        )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


async def _serve_http(
    site: Any, settings: SandboxSettings, *, task_status: trio.TaskStatus[list[str]]
) -> None:
    config = Config()
    config.bind = [f"{_bracketed(settings.host)}:{settings.port}"]
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.graceful_timeout = GRACE_S
    await serve_http(site, config, shutdown_trigger=trio.sleep_forever, task_status=task_status)

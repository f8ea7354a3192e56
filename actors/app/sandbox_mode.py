"""``--sandbox``: the daemon on its embedded platform, with an example agent beside it."""

from __future__ import annotations

import errno
import logging
import random
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import structlog
import trio

from actors.app.composition import App
from actors.app.running import open_around, print_ready
from actors.host.arguments import DaemonArguments
from actors.host.tokens import TokenFiles
from actors.kit.services import open_service_nursery
from actors.sandbox.kept import NotKept, read_or_make
from actors.sandbox.server import RunningSandbox, SandboxSettings, serve_sandbox
from protocol.config.places import StateDir
from protocol.config.reading import read_settings, sandbox_configuration
from protocol.config.settings import HttpListen, Listen, Settings

FAILED: Final = 1
ECHO_ENDS_WITHIN_S: Final = 1.0

ListenT = TypeVar("ListenT", Listen, HttpListen)

log = structlog.get_logger()


async def run_in_sandbox(
    arguments: DaemonArguments,
    raw: Mapping[str, Any],
    env: Mapping[str, str],
    state: StateDir,
    tokens: TokenFiles,
) -> int:
    """Serve platform, daemon and echo session until asked to leave; return the status."""
    try:
        sandbox = _sandbox_settings(arguments, state)
    except (NotKept, OSError) as failed:
        sys.stderr.write(f"larkd: --sandbox-port: {failed}\n")
        return FAILED
    async with open_service_nursery() as platform:
        running = await _serve(platform, sandbox)
        if running is None:
            return FAILED
        settings = _settings(arguments, raw, env, running)
        async with open_around(settings, state, tokens) as (adapters, beside):

            async def ready(host: str, port: int) -> None:
                await print_ready(host, port)
                await beside.start(_echo, state.root)
                sys.stdout.write(f"chat page: {running.page_url}\n")
                sys.stdout.flush()

            status = await App(settings, state, tokens, adapters).run(ready)
        platform.cancel_scope.cancel(reason="left")
    return status


async def check_in_sandbox(
    arguments: DaemonArguments,
    raw: Mapping[str, Any],
    env: Mapping[str, str],
    check: Callable[[Settings], Awaitable[int]],
) -> int:
    """Serve a platform while *check* looks at the configuration on it; return its status."""
    async with open_service_nursery() as platform:
        running = await _serve(platform, SandboxSettings(port=arguments.sandbox_port))
        if running is None:
            return FAILED
        status = await check(_settings(arguments, raw, env, running))
        platform.cancel_scope.cancel(reason="checked")
    return status


def _sandbox_settings(arguments: DaemonArguments, state: StateDir) -> SandboxSettings:
    """A chat page on a port of its own keeps its token, so that an open page reconnects."""
    if not arguments.sandbox_port:
        return SandboxSettings()
    state.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = read_or_make(state.root / "sandbox.json", random.SystemRandom())
    return SandboxSettings(
        port=arguments.sandbox_port, token=kept.token, app_secret=kept.app_secret
    )


async def _serve(nursery: trio.Nursery, sandbox: SandboxSettings) -> RunningSandbox | None:
    """Start the platform; where it can't listen, write why and return nothing."""
    running: RunningSandbox | None = None
    try:
        running = await nursery.start(serve_sandbox, sandbox)
    except* OSError as failed:
        where = f"{sandbox.host}:{sandbox.port}"
        sys.stderr.write(f"larkd: can't serve the chat page on {where}: {_first(failed)}\n")
    return running


def _first(group: BaseExceptionGroup[OSError]) -> BaseException:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


def _settings(
    arguments: DaemonArguments,
    raw: Mapping[str, Any],
    env: Mapping[str, str],
    running: RunningSandbox,
) -> Settings:
    ours, their_env = sandbox_configuration(
        raw,
        env,
        base_url=running.base_url,
        app_id=running.settings.app_id,
        app_secret=running.settings.app_secret,
        people=tuple(running.world.users),
    )
    settings = read_settings(
        ours, their_env, lambda name: Path(name).read_text(), listen=arguments.listen
    )
    listen = settings.listen
    if arguments.listen is None and not env.get("LARKD_LISTEN"):
        listen = _or_any(listen, "listen") if "listen" in raw else Listen(port=0)
    return msgspec.structs.replace(
        settings,
        listen=listen,
        metrics=settings.metrics and _or_any(settings.metrics, "metrics"),
        console=settings.console and _or_any(settings.console, "console"),
    )


def _or_any(at: ListenT, table: str) -> ListenT:
    """Return *at*, or any port where it is taken: by the daemon of that configuration, mostly."""
    family = socket.AF_INET6 if ":" in at.host else socket.AF_INET
    try:
        socket.create_server((at.host, at.port), family=family).close()
    except OSError as failed:
        if failed.errno != errno.EADDRINUSE:
            return at
        sys.stderr.write(f"larkd: {table}.port {at.port} is taken; the sandbox takes another\n")
        return msgspec.structs.replace(at, port=0)
    return at


async def _echo(
    root: Path, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run the echo session as a process of its own, as any proxy is.

    It ends with its standard input, which the system closes however this process ends.
    """
    command = [
        sys.executable,
        "-m",
        "actors.proxies.echo",
        "--state-dir",
        str(root),
        "--session-id",
        "echo",
        "--role",
        "dispatcher",
        "--ends-with-input",
    ]
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=None
    )
    task_status.started()
    try:
        status = await process.wait()
        # Ctrl-C in a terminal reaches it as well.
        log.log(logging.WARNING if status else logging.INFO, "echo.ended", status=status)
    finally:
        if process.returncode is None:
            process.terminate()
            with trio.move_on_after(ECHO_ENDS_WITHIN_S, shield=True) as grace:
                await process.wait()
            if grace.cancelled_caught:
                process.kill()
                with trio.move_on_after(ECHO_ENDS_WITHIN_S, shield=True):
                    await process.wait()

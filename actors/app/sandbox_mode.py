"""``--sandbox``: the daemon on its embedded platform, with an example agent beside it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
import trio
from tricycle import open_service_nursery

from actors.app.adapters import Adapters
from actors.app.composition import App
from actors.app.running import LOGS_WITHIN_S, open_logs, print_ready
from actors.host.arguments import DaemonArguments
from actors.host.tokens import TokenFiles
from actors.sandbox.server import RunningSandbox, SandboxSettings, serve_sandbox
from protocol.config.places import StateDir
from protocol.config.reading import read_settings, sandbox_configuration
from protocol.config.settings import Listen, Settings

ECHO_ENDS_WITHIN_S: Final = 1.0

log = structlog.get_logger()


async def run_in_sandbox(
    arguments: DaemonArguments,
    raw: Mapping[str, Any],
    env: Mapping[str, str],
    state: StateDir,
    tokens: TokenFiles,
) -> int:
    """Serve platform, daemon and echo session until asked to leave; return the status."""
    async with open_service_nursery() as platform:
        running: RunningSandbox = await platform.start(serve_sandbox, SandboxSettings())
        settings = _settings(arguments, raw, env, running)
        logs = open_logs(settings, state)
        try:
            async with open_service_nursery() as beside:

                async def ready(host: str, port: int) -> None:
                    await print_ready(host, port)
                    await beside.start(_echo, state.root)
                    sys.stdout.write(f"chat page: {running.page_url}\n")
                    sys.stdout.flush()

                status = await App(settings, state, tokens, Adapters()).run(ready)
                beside.cancel_scope.cancel(reason="left")
        finally:
            logs.close(within_s=LOGS_WITHIN_S)
        platform.cancel_scope.cancel(reason="left")
    return status


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
    )
    settings = read_settings(
        ours, their_env, lambda name: Path(name).read_text(), listen=arguments.listen
    )
    if arguments.listen is None and not env.get("LARKD_LISTEN") and "listen" not in raw:
        # A real daemon may serve the usual port; a demo takes any.
        return msgspec.structs.replace(settings, listen=Listen(port=0))
    return settings


async def _echo(
    root: Path, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run the echo session as a process of its own, as any proxy is."""
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
    ]
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=None
    )
    task_status.started()
    try:
        status = await process.wait()
        log.warning("echo.ended", status=status)
    finally:
        if process.returncode is None:
            process.terminate()
            with trio.move_on_after(ECHO_ENDS_WITHIN_S, shield=True) as grace:
                await process.wait()
            if grace.cancelled_caught:
                process.kill()
                with trio.move_on_after(ECHO_ENDS_WITHIN_S, shield=True):
                    await process.wait()

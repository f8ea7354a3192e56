"""``python -m actors.sandbox``: the platform alone, until a signal."""

from __future__ import annotations

import argparse
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import trio

from actors.sandbox.kept import Kept, NotKept, read_or_make
from actors.sandbox.server import RunningSandbox, SandboxSettings, serve_sandbox


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="larkd sandbox",
        description="Serve a stand-in for the Feishu platform on loopback, with a chat page.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (loopback)")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--websocket-port", type=int, default=0, help="0 picks a free one")
    parser.add_argument(
        "--clock-scale", type=float, default=1.0, help="platform seconds in a real second"
    )
    parser.add_argument("--no-limits", action="store_true", help="enforce no rate limits")
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="FILE",
        help="keep the page's token and the app's secret in this file, so that with --port they"
        " are the same at the next start",
    )
    parser.add_argument("--ping-interval", type=int, default=120, help="seconds")
    parsed = parser.parse_args(argv)
    if parsed.clock_scale <= 0:
        parser.error("--clock-scale must be above 0")
    kept = Kept()
    if parsed.keep is not None:
        try:
            kept = read_or_make(parsed.keep, random.SystemRandom())
        except (NotKept, OSError) as failed:
            sys.stderr.write(f"larkd sandbox: --keep: {failed}\n")
            return 1
    settings = SandboxSettings(
        host=parsed.host,
        port=parsed.port,
        websocket_port=parsed.websocket_port,
        clock_scale=parsed.clock_scale,
        enforce_limits=not parsed.no_limits,
        ping_interval_s=parsed.ping_interval,
        token=kept.token,
        app_secret=kept.app_secret,
    )
    return trio.run(_run, settings)


async def _run(settings: SandboxSettings) -> int:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        try:
            async with trio.open_nursery() as nursery:
                running: RunningSandbox = await nursery.start(serve_sandbox, settings)
                _print_addresses(running)
                async for _ in signals:
                    break
                nursery.cancel_scope.cancel(reason="signal")
        except* OSError as failed:
            where = f"{settings.host}:{settings.port}"
            sys.stderr.write(f"larkd sandbox: can't listen on {where}: {_first(failed)}\n")
            return_code = 1
        else:
            return_code = 0
    return return_code


def _first(group: BaseExceptionGroup[OSError]) -> BaseException:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


def _print_addresses(running: RunningSandbox) -> None:
    settings = running.settings
    sys.stdout.write(
        f"larkd sandbox: chat page {running.page_url}\n"
        f"domain {running.base_url}\n"
        f"appId {settings.app_id} appSecret {settings.app_secret}\n"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

"""``python -m actors.sandbox``: the platform alone, until a signal."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

import trio

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
    parser.add_argument("--ping-interval", type=int, default=120, help="seconds")
    parsed = parser.parse_args(argv)
    if parsed.clock_scale <= 0:
        parser.error("--clock-scale must be above 0")
    settings = SandboxSettings(
        host=parsed.host,
        port=parsed.port,
        websocket_port=parsed.websocket_port,
        clock_scale=parsed.clock_scale,
        enforce_limits=not parsed.no_limits,
        ping_interval_s=parsed.ping_interval,
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
            sys.stderr.write(f"larkd sandbox: can't listen: {failed.exceptions[0]}\n")
            return_code = 1
        else:
            return_code = 0
    return return_code


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

"""``python -m actors.sandbox``: the platform alone, until a signal."""

from __future__ import annotations

import argparse
import ipaddress
import os
import random
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import trio

from actors.sandbox.kept import Kept, NotKept, read_or_make
from actors.sandbox.server import RunningSandbox, SandboxSettings, serve_sandbox

PORT_MAX: Final = 65_535
CLOCK_SCALE_MAX: Final = 1e6
"""A day of the platform in less than a tenth of a second."""
PING_INTERVAL_MAX_S: Final = 86_400

NumberT = TypeVar("NumberT", int, float)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="larkd sandbox",
        description="Serve a stand-in for the Feishu platform on loopback, with a chat page.",
    )
    parser.add_argument(
        "--host", type=_loopback, default="127.0.0.1", help="address to serve on (loopback)"
    )
    ports = (("--port", "the page"), ("--websocket-port", "the long connection"))
    for name, what in ports:
        free = f"of {what} (default: any free one)"
        parser.add_argument(name, metavar="PORT", type=_port, default=0, help=free)
    parser.add_argument(
        "--clock-scale",
        type=_above_0(float, CLOCK_SCALE_MAX),
        metavar="FACTOR",
        default=1.0,
        help="platform seconds in a real second",
    )
    parser.add_argument("--no-limits", action="store_true", help="enforce no rate limits")
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="FILE",
        help="keep the page's token and the app's secret in this file, so that with --port they"
        " are the same at the next start",
    )
    parser.add_argument(
        "--ping-interval",
        type=_above_0(int, PING_INTERVAL_MAX_S),
        metavar="SECONDS",
        default=120,
        help="between two pings of the client (default: 120)",
    )
    parsed = parser.parse_args(argv)
    kept = Kept()
    if parsed.keep is not None:
        try:
            kept = read_or_make(parsed.keep, random.SystemRandom())
        except NotKept as failed:
            sys.stderr.write(f"larkd sandbox: --keep: {failed}\n")
            return 1
        except OSError as failed:
            reason = failed.strerror or str(failed)
            sys.stderr.write(f"larkd sandbox: --keep: {parsed.keep} can't be written: {reason}\n")
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


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:9]) <= PORT_MAX):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a number from 0 to {PORT_MAX}")
    return int(text)


def _loopback(text: str) -> str:
    """The page writes as anybody: it is for this machine alone."""
    try:
        is_own = ipaddress.ip_address(text).is_loopback
    except ValueError:
        is_own = text == "localhost"
    if not is_own:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not this machine's own: 127.0.0.1, ::1 or localhost"
        )
    return text


def _above_0(kind: Callable[[str], NumberT], most: float) -> Callable[[str], NumberT]:
    def read(text: str) -> NumberT:
        with suppress(ValueError):
            number = kind(text)
            if 0 < number <= most:  # false for nan
                return number
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0, {most:g} at most")

    return read


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
            sys.stderr.write(
                f"larkd sandbox: can't listen on {where}: {_reason(failed)};"
                " choose another port with --port\n"
            )
            return_code = 1
        else:
            return_code = 0
    return return_code


def _reason(group: BaseExceptionGroup[OSError]) -> str:
    """Return the system's own words; libraries put theirs around them."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    number = found.errno if isinstance(found, OSError) else None
    return os.strerror(number) if number else str(found)


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

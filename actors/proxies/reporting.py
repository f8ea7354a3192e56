"""What a long-running proxy writes on standard error about its link to the daemon."""

from __future__ import annotations

import sys

from actors.kit.plain import plain
from actors.proxies.errors import ProxyError
from protocol.wire import messages as wire


class LinkReporter:
    """Reports how the link to the daemon is, where that is news; *program* is its name there."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._reported = ""

    def __call__(self, registered: wire.Registered | None, why: ProxyError | None) -> None:
        text = str(why or "the daemon has gone; reconnecting")
        if registered is not None:
            text = f"attached as {registered.alias}"
        if text != self._reported:
            self._reported = text
            sys.stderr.write(f"{self._program}: {plain(text)}\n")
            sys.stderr.flush()

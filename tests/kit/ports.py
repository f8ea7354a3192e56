"""Ports for servers that are given theirs before they listen."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

FIRST: Final = 10_081
"""Beyond 10080, which browsers and Node refuse to connect to."""
END: Final = 32_768
"""From here on the kernel gives ports to connections: one might be taken meanwhile."""
WORKERS: Final = 16
_given: set[int] = set()


def free_port() -> int:
    """Return a port that nobody listens on, and no other process of these tests is given."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS
    while True:
        port = random.randrange(FIRST + worker, END, WORKERS)
        if port in _given:
            continue
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            _given.add(port)
            return port


@contextmanager
def deaf_port() -> Iterator[int]:
    """Keep a port on which nobody listens: no other process gets it meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]

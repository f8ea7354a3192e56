"""A real HTTP proxy, proxy.py, as a process; names below ``.test`` lead to this machine for it.

Whoever reaches such a name went through the proxy, since nobody else can resolve it. To
``forbidden.test`` it leads nobody.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from proxy.http.exception import HttpRequestRejected
from proxy.http.parser import HttpParser
from proxy.http.proxy import HttpProxyBasePlugin

NAME, PASSWORD = "larkd", "p@ss:w/rd"
LISTENS_WITHIN_S = 60


class TestNames(HttpProxyBasePlugin):
    __test__ = False

    def resolve_dns(self, host: str, port: int) -> tuple[str | None, tuple[str, int] | None]:
        del port
        return ("127.0.0.1" if host.endswith(".test") else None), None

    def before_upstream_connection(self, request: HttpParser) -> HttpParser | None:
        if request.host == b"forbidden.test":
            raise HttpRequestRejected(status_code=403, reason=b"Forbidden")
        return request


@contextmanager
def open_http_proxy(directory: Path) -> Iterator[int]:
    """Run one that wants :data:`NAME` and :data:`PASSWORD`; give its port."""
    port_file = directory / "port"
    command = [
        *(sys.executable, "-m", "proxy", "--hostname", "127.0.0.1", "--port", "0"),
        *("--port-file", str(port_file), "--num-workers", "1", "--num-acceptors", "1"),
        *("--basic-auth", f"{NAME}:{PASSWORD}", "--plugins", "tests.kit.proxy_names.TestNames"),
        *("--log-level", "WARNING", "--data-dir", str(directory)),
    ]
    with subprocess.Popen(
        command, cwd=Path(__file__).parents[2], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            until = time.monotonic() + LISTENS_WITHIN_S
            while not (port_file.exists() and port_file.read_text().strip()):
                assert time.monotonic() < until, "the proxy does not listen"
                time.sleep(0.05)
            yield int(port_file.read_text())
        finally:
            process.terminate()


def address_of(port: int, password: str = PASSWORD) -> str:
    """Return what stands in ``HTTPS_PROXY``."""
    return f"http://{NAME}:{quote(password, safe='')}@127.0.0.1:{port}"

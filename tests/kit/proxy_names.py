"""A plugin of proxy.py: names below ``.test`` lead to this machine, for the proxy alone.

Whoever reaches such a name went through the proxy, since nobody else can resolve it.
"""

from __future__ import annotations

from proxy.http.proxy import HttpProxyBasePlugin


class TestNames(HttpProxyBasePlugin):
    __test__ = False

    def resolve_dns(self, host: str, port: int) -> tuple[str | None, tuple[str, int] | None]:
        del port
        return ("127.0.0.1" if host.endswith(".test") else None), None

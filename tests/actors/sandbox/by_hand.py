"""Requests that no client makes so, to see what the sandbox answers."""

from __future__ import annotations

import httpx

from tests.kit.daemon import Platform


async def handshake(platform: Platform, url: str) -> httpx.Response:
    """Ask for a WebSocket by hand, to read the headers of the refusal."""
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    address = url.replace("ws://", "http://")
    async with platform.http.stream("GET", address, headers=headers) as answer:
        return answer

"""A platform in memory, as httpx takes one, for the adapter's calls."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
import trio

from actors.feishu.exchange import Deadlines, HttpRequest


class Answered:
    """An answer that is whole."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self._body: bytes | None = body

    async def chunk(self) -> bytes | None:
        await trio.lowlevel.checkpoint()
        body, self._body = self._body, None
        return body

    def close(self) -> None: ...


class HttpxTransport:
    """Carries calls by a transport of httpx."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def exchange(self, request: HttpRequest, within: Deadlines) -> Answered:
        """Return the answer, all of it.

        Raises:
            OSError: the transport raised an error of httpx.
        """
        asked = httpx.Request(
            request.method,
            f"http://127.0.0.1{request.path}",
            headers=request.headers,
            content=b"".join(request.body),
            extensions={"timeout": within._asdict()},
        )
        try:
            answer = await self._transport.handle_async_request(asked)
            body = await answer.aread()
            await answer.aclose()
        except httpx.TransportError as failed:
            raise OSError(str(failed)) from failed
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Answered(answer.status_code, headers, body)

    async def aclose(self) -> None:
        await self._transport.aclose()

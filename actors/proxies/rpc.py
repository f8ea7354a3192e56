"""A JSON-RPC peer over two streams: requests with deadlines, and what the other side asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import structlog
import trio

from protocol.agents import jsonrpc
from protocol.agents.jsonrpc import Id, JsonRpcMessage

LINE_BYTES_MAX: Final = 64 * 1024 * 1024
READ_BYTES: Final = 256 * 1024
REQUESTS_AT_ONCE_MAX: Final = 64
CANCEL_REQUEST: Final = "$/cancel_request"
"""Of either side, for a request of its own whose answer it does not want any more."""
REQUESTS_WAITING_MAX: Final = 64
"""Beside those; who asks more at once is refused."""
UNSENT_MAX: Final = 64
"""Messages the peer has not read yet; who sends more waits."""

log = structlog.get_logger()


class PeerGone(Exception):
    """The other side closed its stream; nothing is answered any more."""


class PeerError(Exception):
    """The other side answered with an error."""

    def __init__(self, code: object, message: str, data: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class MethodUnknown(Exception):
    """Raised by a request handler for a method it does not have."""


class Peer:
    """One connection. Notifications are taken in order; requests beside each other."""

    def __init__(
        self,
        to_peer: trio.abc.SendStream,
        from_peer: trio.abc.ReceiveStream,
        *,
        on_notification: Callable[[str, Mapping[str, Any]], Awaitable[None]],
        on_request: Callable[[str, Mapping[str, Any]], Awaitable[Any]],
    ) -> None:
        self._to_peer = to_peer
        self._from_peer = from_peer
        self._on_notification = on_notification
        self._on_request = on_request
        self._numbers = 0
        self._waiting: dict[Id, trio.MemorySendChannel[JsonRpcMessage]] = {}
        self._answering: dict[Id, trio.CancelScope] = {}
        self._unsent_tx, self._unsent_rx = trio.open_memory_channel[JsonRpcMessage](UNSENT_MAX)
        self._requests = trio.CapacityLimiter(REQUESTS_AT_ONCE_MAX)
        self.received_at = trio.current_time()

    async def run(self) -> None:
        """Read until the other side closes its stream. Who waits then gets PeerGone."""
        lines = jsonrpc.LineReader(LINE_BYTES_MAX)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                while data := await self._from_peer.receive_some(READ_BYTES):
                    self.received_at = trio.current_time()
                    for line in lines.feed(bytes(data)):
                        await self._take(line, nursery)
                nursery.cancel_scope.cancel(reason="the peer has gone")
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self._unsent_rx.close()
            for waiting in self._waiting.values():
                waiting.close()

    async def request(self, method: str, params: Any) -> Any:
        """Ask, and return the result. The caller brings the deadline.

        Raises:
            PeerError: it answered with an error.
            PeerGone: it went away before it answered.
        """
        self._numbers += 1
        number = self._numbers - 1
        tx, rx = trio.open_memory_channel[JsonRpcMessage](1)
        self._waiting[number] = tx
        try:
            with tx, rx:
                await self._send(jsonrpc.request(number, method, params))
                answer = await rx.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise PeerGone(f"it ended before it answered {method}") from None
        finally:
            self._waiting.pop(number, None)
        error = answer.get("error")
        if isinstance(error, dict):
            text = str(error.get("message", "no message"))[:2_000]
            raise PeerError(error.get("code"), text, error.get("data"))
        return answer.get("result")

    async def notify(self, method: str, params: Any) -> None:
        """Raises PeerGone."""
        await self._send(jsonrpc.notification(method, params))

    async def _send(self, message: JsonRpcMessage) -> None:
        try:
            await self._unsent_tx.send(message)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as gone:
            raise PeerGone("it has ended") from gone

    async def _write(self) -> None:
        async for message in self._unsent_rx:
            await self._to_peer.send_all(jsonrpc.encode(message))

    async def _take(self, line: bytes | jsonrpc.LineTooLong, nursery: trio.Nursery) -> None:
        try:
            if isinstance(line, jsonrpc.LineTooLong):
                raise line
            message = jsonrpc.decode(line)
        except ValueError:
            return  # some agents print to their output
        method, number = message.get("method"), message.get("id")
        if isinstance(method, str):
            params = jsonrpc.params_of(message)
            if isinstance(number, int | str):
                if self._requests.statistics().tasks_waiting >= REQUESTS_WAITING_MAX:
                    self._refuse(number)
                    return
                # From now on, not from its task's first step: the cancellation may be next.
                scope = self._answering[number] = trio.CancelScope()
                nursery.start_soon(self._answer, scope, number, method, params)
            elif method == CANCEL_REQUEST:
                self._cancel(params.get("requestId"))
            else:
                await self._on_notification(method, params)
            return
        waiting = self._waiting.get(number) if isinstance(number, int | str) else None
        if waiting is not None and not waiting.statistics().current_buffer_used:
            waiting.send_nowait(message)

    def _refuse(self, number: Id) -> None:
        """Answer at once that there are too many; a peer that reads nothing is not answered."""
        why = f"over {REQUESTS_AT_ONCE_MAX + REQUESTS_WAITING_MAX} requests at once"
        with suppress(trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            self._unsent_tx.send_nowait(jsonrpc.error(number, jsonrpc.INTERNAL_ERROR, why))

    def _cancel(self, number: object) -> None:
        scope = self._answering.get(number) if isinstance(number, int | str) else None
        if scope is not None:
            scope.cancel(reason="the peer does not want the answer any more")

    async def _answer(
        self, scope: trio.CancelScope, number: Id, method: str, params: Mapping[str, Any]
    ) -> None:
        message = jsonrpc.error(number, jsonrpc.REQUEST_CANCELLED, "Request cancelled")
        with scope:
            message = await self._answered(number, method, params)
        self._answering.pop(number, None)
        try:
            await self._send(message)
        except PeerGone:
            return

    async def _answered(self, number: Id, method: str, params: Mapping[str, Any]) -> JsonRpcMessage:
        async with self._requests:
            try:
                return jsonrpc.result(number, await self._on_request(method, params))
            except MethodUnknown:
                unknown = f"Method not found: {method[:100]}"
                return jsonrpc.error(number, jsonrpc.METHOD_NOT_FOUND, unknown)
            except ValueError as wrong:
                return jsonrpc.error(number, jsonrpc.INVALID_PARAMS, str(wrong)[:500])
            except OSError as failed:
                why = failed.strerror or str(failed)
                return jsonrpc.error(number, jsonrpc.INTERNAL_ERROR, why)

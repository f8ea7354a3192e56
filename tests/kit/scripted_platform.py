"""The platform's end of a long connection on loopback, which does what a test asks.

A real WebSocket server with real frames. Unlike the sandbox it has no behaviour of
its own beyond answering pings, so a test can be exact about what comes when.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import trio
import trio_websocket as ws

from actors.feishu.frames import decode_frame, encode_frame
from protocol.platform import longconn
from protocol.platform.longconn import Frame
from protocol.platform.outcomes import ClientConfig

SERVICE = 33554678
LINKS_MAX = 64
FRAMES_MAX = 20_000


def event(event_type: str, body: Any, *, event_id: str = "evt-1", **header: Any) -> bytes:
    """An event in the platform's envelope."""
    head = {"event_id": event_id, "event_type": event_type, "create_time": "1608725989000"}
    return json.dumps({"schema": "2.0", "header": head | header, "event": body}).encode()


def message_event(number: int = 1, *, event_id: str | None = None) -> bytes:
    body = {
        "sender": {"sender_id": {"open_id": "ou_alice"}, "sender_type": "user"},
        "message": {
            "message_id": f"om_{number}",
            "chat_id": "oc_1",
            "chat_type": "p2p",
            "message_type": "text",
            "content": '{"text":"hello"}',
        },
    }
    return event("im.message.receive_v1", body, event_id=event_id or f"evt-{number}")


def press_event(number: int = 1) -> bytes:
    body = {
        "operator": {"open_id": "ou_alice"},
        "token": "c-1",
        "action": {"tag": "button", "value": {"do": "stop"}},
        "context": {"open_message_id": "om_card", "open_chat_id": "oc_1"},
    }
    return event("card.action.trigger", body, event_id=f"press-{number}")


def frames_of(payload: bytes, *, message_id: str = "push-1", parts: int = 1) -> list[Frame]:
    """The frames of one push, in *parts* fragments."""
    size = -(-len(payload) // parts)
    return [
        Frame(
            seq_id=1,
            log_id=2,
            service=SERVICE,
            method=longconn.DATA,
            headers=(
                ("type", "event"),
                ("message_id", message_id),
                ("sum", str(parts)),
                ("seq", str(seq)),
                ("trace_id", "trace"),
            ),
            payload=payload[seq * size : (seq + 1) * size],
        )
        for seq in range(parts)
    ]


class Refusal:
    """How the next handshake is refused."""

    def __init__(self, status: int, **headers: str) -> None:
        self.status = status
        self.headers = [
            (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()
        ]


class Link:
    """The platform's end of one socket."""

    def __init__(self, connection: ws.WebSocketConnection, stream: trio.SocketStream) -> None:
        self.connection = connection
        self.stream = stream
        self.answers_pings = True
        self.client_config: ClientConfig | None = None
        self.is_frozen = False
        self._closing = False
        self.over = trio.Event()
        self.unread = trio.Event()
        self.pings_tx, self.pings = trio.open_memory_channel[Frame](FRAMES_MAX)
        self.acks_tx, self.acks = trio.open_memory_channel[Frame](FRAMES_MAX)

    async def push(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            await self.connection.send_message(encode_frame(frame))

    async def push_event(self, payload: bytes, *, message_id: str = "push-1") -> None:
        await self.push(frames_of(payload, message_id=message_id))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        # The library's reader has to live until the handshake is through.
        self._closing = True
        await self.connection.aclose(code, reason)
        self.over.set()

    async def abort(self) -> None:
        await trio.aclose_forcefully(self.stream)

    async def freeze(self) -> None:
        """From here on nobody reads a byte, nobody answers, and the socket stays."""
        self.is_frozen = True
        self.over.set()
        await self.unread.wait()

    async def next_ack(self) -> tuple[str, dict[str, Any]]:
        """Which push was acked, and with what."""
        frame = await self.acks.receive()
        return dict(frame.headers)["message_id"], json.loads(frame.payload or b"")

    async def read(self) -> None:
        """Answer pings and keep acks, until the link ends."""
        try:
            while True:
                message = await self.connection.get_message()
                assert isinstance(message, bytes)
                await self._take(decode_frame(message))
        except ws.ConnectionClosed:
            if not self._closing:
                self.over.set()

    async def _take(self, frame: Frame) -> None:
        if frame.method != longconn.CONTROL:
            self.acks_tx.send_nowait(frame)
            return
        self.pings_tx.send_nowait(frame)
        if self.answers_pings:
            await self.pong()

    async def pong(self) -> None:
        config = self.client_config
        payload = (
            {
                "ReconnectCount": config.reconnect_count,
                "ReconnectInterval": config.reconnect_interval_s,
                "ReconnectNonce": config.reconnect_nonce_s,
                "PingInterval": config.ping_interval_s,
            }
            if config
            else {}
        )
        await self.push(
            [
                Frame(
                    service=SERVICE,
                    method=longconn.CONTROL,
                    headers=(("type", "pong"),),
                    payload=json.dumps(payload).encode(),
                )
            ]
        )


class ScriptedPlatform:
    """Listens on loopback; every accepted link is handed to the test."""

    def __init__(self) -> None:
        self.port = 0
        self.open_links = 0
        self.most_open_links = 0
        self.refusals: list[Refusal] = []
        self.raw_answer: bytes | None = None
        """Instead of a handshake; empty bytes: no answer at all."""
        self.client_config: ClientConfig | None = None
        self._links_tx, self._links = trio.open_memory_channel[Link](LINKS_MAX)

    @property
    def url(self) -> str:
        query = f"fpid=493&aid=552564&device_id=1&service_id={SERVICE}&ticket=secret"
        return f"ws://127.0.0.1:{self.port}/ws/v2?{query}"

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._serve_link, listeners)

    async def next_link(self) -> Link:
        with trio.fail_after(60):
            return await self._links.receive()

    async def _serve_link(self, stream: trio.SocketStream) -> None:
        if self.raw_answer is not None:
            await stream.receive_some(4_096)
            if self.raw_answer:
                await stream.send_all(self.raw_answer)
            await trio.sleep_forever()
        link: Link | None = None
        try:
            async with trio.open_nursery() as nursery:
                request = await ws.wrap_server_stream(nursery, stream)
                if self.refusals:
                    refusal = self.refusals.pop(0)
                    await request.reject(refusal.status, extra_headers=refusal.headers)
                else:
                    link = Link(await request.accept(), stream)
                    await self._hold(link, nursery)
                nursery.cancel_scope.cancel()
            if link is not None and link.is_frozen:
                link.unread.set()
                await trio.sleep_forever()
        finally:
            await trio.aclose_forcefully(stream)

    async def _hold(self, link: Link, nursery: trio.Nursery) -> None:
        link.client_config = self.client_config
        self.open_links += 1
        self.most_open_links = max(self.most_open_links, self.open_links)
        try:
            await self._links_tx.send(link)
            nursery.start_soon(link.read)
            await link.over.wait()
        finally:
            self.open_links -= 1

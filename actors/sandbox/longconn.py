"""The platform's end of the long connection: sockets, pushes, acks, re-pushes.

Each push goes to one random connection that has sent its first ping. An event that is
not acked with 200 within 3 s is pushed again after 15 s, 5 min, 1 h and 6 h of the
platform's clock; a callback is pushed once.
"""

from __future__ import annotations

import base64
import itertools
import uuid
from collections import OrderedDict
from typing import Any, Final

import msgspec
import structlog
import trio
import trio_websocket as ws

from actors.sandbox import frames
from actors.sandbox.clock import Clock
from actors.sandbox.feed import Feed
from actors.sandbox.world import World

ACK_OK: Final = 200
ACK_WITHIN_S: Final = 3.0
RETRIES_AT_S: Final = (15.0, 300.0, 3_600.0, 21_600.0)
FRAGMENT_BYTES: Final = 512 * 1024
EVENTS_MAX: Final = 50_000
TICKETS_MAX: Final = 1_000
TICKET_S: Final = 60.0
SEND_WITHIN_S: Final = 5.0
CONNECTIONS_MAX: Final = 50
EXCEED_CONNECTIONS: Final = 1000040350
SERVICE_ID: Final = 33554678

log = structlog.get_logger()


class Push(msgspec.Struct, kw_only=True):
    at_ms: int
    message_id: str
    connection: int | None
    ack: int | None = None
    ack_ms: float | None = None


class Event(msgspec.Struct, kw_only=True):
    event_id: str
    event_type: str
    app_id: str
    payload: bytes
    pushes: list[Push] = []
    state: str = "pending"

    def describe(self) -> dict[str, Any]:
        known = msgspec.to_builtins(self)
        del known["payload"]
        return dict(known)


class HandshakeRefusal(msgspec.Struct, kw_only=True):
    """How the next handshakes are refused."""

    status: int = 403
    handshake_status: int = 514
    autherrcode: int | None = None
    message: str = "refused by the sandbox"
    times: int = 1


class SentEvent:
    """A push that was sent, and the ack it waits for."""

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.code: int | None = None
        self.data: Any = None


class _HalfOpen(trio.abc.Stream):
    """A stream whose network has gone: sends vanish, nothing arrives, closing works."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._closed = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:  # noqa: ARG002  # the interface's
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:  # noqa: ARG002  # the interface's
        await self._closed.wait()
        raise trio.ClosedResourceError("the half-open connection was closed")

    async def aclose(self) -> None:
        self._closed.set()
        await self._stream.aclose()


class LongConnection:
    def __init__(
        self, number: int, app_id: str, socket: ws.WebSocketConnection, now_ms: int
    ) -> None:
        self.number = number
        self.app_id = app_id
        self.socket = socket
        self.connected_at_ms = now_ms
        self.pings = 0
        self.thawed = trio.Event()
        self.state = "open"

    @property
    def listening(self) -> bool:
        """Whether pushes may go here: not before the client's first ping."""
        return self.pings > 0 and self.state == "open"

    def describe(self) -> dict[str, Any]:
        return {
            "id": self.number,
            "app_id": self.app_id,
            "connected_at_ms": self.connected_at_ms,
            "state": self.state,
            "pings": self.pings,
        }


class LongConnections:
    """All sockets of all apps, and every event ever pushed (the newest 50,000)."""

    def __init__(
        self,
        world: World,
        clock: Clock,
        feed: Feed,
        nursery: trio.Nursery,
        client_config: dict[str, int],
        fragment_bytes: int = FRAGMENT_BYTES,
    ) -> None:
        self._world = world
        self._clock = clock
        self._feed = feed
        self._nursery = nursery
        self.client_config = client_config
        self._fragment_bytes = fragment_bytes
        self._tickets: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._numbers = itertools.count(1)
        self._seq_ids = itertools.count(1)
        self._waiting: dict[str, SentEvent] = {}
        self.connections: dict[int, LongConnection] = {}
        self.events: OrderedDict[str, Event] = OrderedDict()
        self.refusals: list[HandshakeRefusal] = []
        self.url = ""
        self.ack_within_s = ACK_WITHIN_S
        """How long a push waits for its ack."""
        self.press_within_s = ACK_WITHIN_S
        """How long a press waits for its answer."""

    # ── opening ─────────────────────────────────────────────────────────────

    def issue_ticket(self, app_id: str) -> str:
        """Return the address of one connection. ``device_id`` is not its first parameter."""
        ticket = str(uuid.UUID(int=self._world.rng.getrandbits(128)))
        self._tickets[ticket] = (app_id, trio.current_time() + TICKET_S)
        if len(self._tickets) > TICKETS_MAX:
            self._tickets.popitem(last=False)
        device = self._world.rng.randrange(10**18, 10**19)
        return (
            f"{self.url}/ws/v2?fpid=493&aid=552564&device_id={device}"
            f"&access_key={self._world.rng.getrandbits(128):032x}"
            f"&service_id={SERVICE_ID}&ticket={ticket}"
        )

    def full(self, app_id: str) -> bool:
        return sum(one.app_id == app_id for one in self.connections.values()) >= CONNECTIONS_MAX

    async def handle(self, request: ws.WebSocketRequest) -> None:
        """Serve one handshake, and the connection if it is let in."""
        if self.refusals:
            refusal = self.refusals[0]
            refusal.times -= 1
            if refusal.times <= 0:
                self.refusals.pop(0)
            await _reject(request, refusal)
            return
        query = request.path.partition("?")[2]
        parameters = dict(pair.partition("=")[::2] for pair in query.split("&"))
        app_id, until = self._tickets.pop(parameters.get("ticket", ""), ("", 0.0))
        if not app_id or trio.current_time() > until:
            await _reject(request, HandshakeRefusal(autherrcode=1, message="invalid ticket"))
            return
        if self.full(app_id):
            await _reject(
                request,
                HandshakeRefusal(
                    autherrcode=EXCEED_CONNECTIONS,
                    message="the number of connections exceeded the limit",
                ),
            )
            return
        socket = await request.accept()
        connection = LongConnection(next(self._numbers), app_id, socket, self._clock.wall_ms())
        self.connections[connection.number] = connection
        self._changed()
        try:
            await self._serve(connection)
        except ws.ConnectionClosed:
            pass
        finally:
            connection.state = "closed"
            self.connections.pop(connection.number, None)
            self._changed()

    def _changed(self) -> None:
        self._feed.changed("connections", "", lambda: len(self.connections))

    async def _serve(self, connection: LongConnection) -> None:
        while True:
            data = await connection.socket.get_message()
            if connection.state == "frozen":
                await connection.thawed.wait()
                return
            if isinstance(data, str):
                continue
            try:
                frame = frames.decode(data)
            except frames.NotAFrame as wrong:
                log.info("sandbox.bad_frame", reason=str(wrong))
                continue
            if frame.method == frames.CONTROL and frame.headers.get("type") == "ping":
                connection.pings += 1
                await self._pong(connection, frame)
                if connection.pings == 1:
                    self._changed()
            elif frame.method == frames.DATA:
                self._acked(frame)

    async def _pong(self, connection: LongConnection, ping: frames.Frame) -> None:
        pong = frames.Frame(
            service=ping.service,
            headers={"type": "pong"},
            payload=msgspec.json.encode(self.client_config),
        )
        await self._send(connection, pong)

    async def _send(self, connection: LongConnection, frame: frames.Frame) -> None:
        with trio.move_on_after(SEND_WITHIN_S) as deadline:
            await connection.socket.send_message(frames.encode(frame))
        if deadline.cancelled_caught:
            await self.abort(connection)

    async def abort(self, connection: LongConnection) -> None:
        """Cut the TCP stream, without a close frame."""
        connection.state = "aborted"
        connection.thawed.set()
        await trio.aclose_forcefully(connection.socket._stream)  # noqa: SLF001  # no public way to cut it

    @staticmethod
    def freeze(connection: LongConnection) -> None:
        """Leave it half-open: the socket stays, and nothing is read or written any more."""
        connection.state = "frozen"
        # The WebSocket library answers pings by itself, so it must not see them.
        connection.socket._stream = _HalfOpen(connection.socket._stream)  # noqa: SLF001  # no public way to silence it

    # ── pushing ─────────────────────────────────────────────────────────────

    def publish(self, app_id: str, event: dict[str, Any], *, delay_s: float = 0.0) -> Event:
        """Take an event into the platform's own retry schedule."""
        known = Event(
            event_id=event["header"]["event_id"],
            event_type=event["header"]["event_type"],
            app_id=app_id,
            payload=msgspec.json.encode(event),
        )
        self.events[known.event_id] = known
        if len(self.events) > EVENTS_MAX:
            self.events.popitem(last=False)
        self._nursery.start_soon(self._deliver, known, delay_s)
        return known

    async def _deliver(self, event: Event, delay_s: float) -> None:
        await trio.sleep(delay_s)
        for pause_s in (0.0, *RETRIES_AT_S):
            await trio.sleep(self._clock.real_s(pause_s))
            if event.state == "delivered":
                return
            waiting = await self.push_once(event)
            if waiting.code == ACK_OK:
                event.state = "delivered"
                return
        event.state = "lost"

    async def push_once(
        self, event: Event, *, frames_as: str = "normal", within_s: float | None = None
    ) -> SentEvent:
        """Push to one random listening connection and wait so long for its ack.

        Without *within_s*, for :attr:`ack_within_s`.
        """
        waiting = SentEvent()
        listening = [
            one for one in self.connections.values() if one.listening and one.app_id == event.app_id
        ]
        push = Push(
            at_ms=self._clock.wall_ms(),
            message_id=str(uuid.UUID(int=self._world.rng.getrandbits(128))),
            connection=None,
        )
        event.pushes = [*event.pushes, push]
        if not listening:
            return waiting
        connection = self._world.rng.choice(listening)
        push.connection = connection.number
        self._waiting[push.message_id] = waiting
        started = trio.current_time()
        try:
            with trio.move_on_after(self.ack_within_s if within_s is None else within_s):
                for frame in self._frames(event, push.message_id, frames_as):
                    await self._send(connection, frame)
                await waiting.answered.wait()
                push.ack = waiting.code
                push.ack_ms = round((trio.current_time() - started) * 1000, 3)
        except (ws.ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            del self._waiting[push.message_id]
        return waiting

    def _frames(self, event: Event, message_id: str, frames_as: str) -> list[frames.Frame]:
        payload, size = event.payload, self._fragment_bytes
        if frames_as.startswith("split:"):
            size = max(1, -(-len(payload) // int(frames_as.removeprefix("split:"))))
        elif frames_as in ("reversed", "missing"):
            size = max(1, -(-len(payload) // 3))
        parts = [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]
        made = [
            frames.Frame(
                seq_id=next(self._seq_ids),
                log_id=self._world.rng.getrandbits(60),
                service=SERVICE_ID,
                method=frames.DATA,
                headers={
                    "type": "event",
                    "message_id": message_id,
                    "sum": str(len(parts)),
                    "seq": str(number),
                    "trace_id": event.event_id,
                },
                payload=part,
            )
            for number, part in enumerate(parts)
        ]
        if frames_as == "reversed":
            made.reverse()
        return made[:-1] if frames_as == "missing" else made

    def _acked(self, frame: frames.Frame) -> None:
        waiting = self._waiting.get(frame.headers.get("message_id", ""))
        if waiting is None:
            return
        try:
            answer = msgspec.json.decode(frame.payload)
            code = answer.get("code")
            data = answer.get("data")
            waiting.data = msgspec.json.decode(base64.b64decode(data)) if data else None
        except (msgspec.DecodeError, ValueError, AttributeError, TypeError):
            code = -1
        waiting.code = code
        waiting.answered.set()


async def _reject(request: ws.WebSocketRequest, refusal: HandshakeRefusal) -> None:
    headers = [
        (b"Handshake-Status", str(refusal.handshake_status).encode()),
        (b"Handshake-Msg", refusal.message.encode()),
    ]
    if refusal.autherrcode is not None:
        headers.append((b"Handshake-Autherrcode", str(refusal.autherrcode).encode()))
    await request.reject(refusal.status, extra_headers=headers)

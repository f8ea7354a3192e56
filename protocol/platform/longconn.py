"""The long connection to the platform, sans I/O: frames in, decisions out.

:class:`Receiver` decides what a frame is and joins events that came in fragments.
:func:`ping` and :func:`ack` build what goes back. :func:`reconnect_delay_s`,
:func:`handshake_refused` and :func:`close_refused` hold what the platform's answers
mean for the next try. The time is an argument, in seconds of any one steady clock.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import parse_qs, urlsplit

import msgspec
from msgspec import Struct

from protocol.platform.outcomes import ClientConfig

CONTROL: Final = 0
DATA: Final = 1

FRAGMENTS_MAX: Final = 1_024
"""Of one event. The platform cuts at hundreds of KiB; the event is far smaller."""
INCOMPLETE_SETS_MAX: Final = 64
INCOMPLETE_BYTES_MAX: Final = 16 * 1024 * 1024
"""Over all incomplete events together; past it the oldest are forgotten."""
FRAGMENT_KEPT_S: Final = 10.0
"""Since its last fragment; the platform's own clients keep 5 to 20 s."""

PING_INTERVAL_MAX_S: Final = 600
"""Also how late a dead link may be found, so the platform's figure has an end."""
RECONNECT_MAX_S: Final = 3_600
RETRY_MIN_S: Final = 0.5
"""A server that asks for 0 s and refuses must not be asked in a tight loop."""
GIVEN_UP_RETRY_S: Final = 300.0
"""After the platform's reconnect count is used up. A daemon never gives up."""

_INT32_MAX: Final = 2**31 - 1
CREDENTIALS_STATUS: Final = 403
REFUSED_STATUS: Final = 514
CONNECTION_LIMIT_CODE: Final = 1000040350
CONNECTION_LIMIT_CLOSE: Final = 3001


class Frame(Struct, frozen=True, kw_only=True):
    """One binary WebSocket message, with the fields of the platform's protobuf."""

    seq_id: int = 0
    log_id: int = 0
    service: int
    method: int
    headers: tuple[tuple[str, str], ...] = ()
    payload_encoding: str | None = None
    payload_type: str | None = None
    payload: bytes | None = None
    log_id_new: str | None = None


# ── what a frame is ─────────────────────────────────────────────────────────


class PongFrame(Struct, frozen=True, kw_only=True):
    """The link is alive; from now on it is to behave like *client_config*."""

    client_config: ClientConfig


class Complete(Struct, frozen=True, kw_only=True):
    """An event or callback is complete. *frame* is the one to be acked."""

    payload: bytes
    frame: Frame


class Incomplete(Struct, frozen=True, kw_only=True):
    """A fragment was kept; nothing to do or to ack yet."""

    message_id: str


class Ignored(Struct, frozen=True, kw_only=True):
    """Nothing to do, and no ack. *expected* ones are routine."""

    reason: str
    expected: bool = False


ReceivedFrame = PongFrame | Complete | Incomplete | Ignored


class Receiver:
    """What the frames of one connection mean, in order of receipt."""

    __slots__ = ("_config", "_fragments")

    def __init__(self, client_config: ClientConfig) -> None:
        self._config = bounded(client_config)
        self._fragments = Fragments()

    @property
    def client_config(self) -> ClientConfig:
        """The endpoint's, or the last pong's."""
        return self._config

    def receive(self, frame: Frame, *, now: float) -> ReceivedFrame:
        headers = dict(frame.headers)
        kind = headers.get("type")
        if frame.method == CONTROL:
            if kind != "pong":
                return Ignored(reason=f"control frame {kind!r}", expected=kind == "ping")
            self._config = client_config_of(frame.payload, self._config)
            return PongFrame(client_config=self._config)
        if frame.method != DATA:
            return Ignored(reason=f"method {frame.method}")
        if kind != "event":
            # "card" is the callback of old cards, which ours are not.
            return Ignored(reason=f"data frame {kind!r}")
        return self._fragments.add(frame, headers, now=now)


class _Incomplete:
    """Fragments of one event so far."""

    __slots__ = ("parts", "seen_at", "size", "total")

    def __init__(self, total: int) -> None:
        self.total = total
        self.parts: dict[int, bytes] = {}
        self.size = 0
        self.seen_at = 0.0


class Fragments:
    """Joins the frames that carry one event, whatever their order.

    Holds at most :data:`INCOMPLETE_SETS_MAX` events and :data:`INCOMPLETE_BYTES_MAX`
    bytes, each for :data:`FRAGMENT_KEPT_S` since its last fragment. What is forgotten
    was never acked, so the platform sends it again.
    """

    __slots__ = ("_bytes", "_sets")

    def __init__(self) -> None:
        # In order of the last fragment, so that what is oldest stands first.
        self._sets: dict[str, _Incomplete] = {}
        self._bytes = 0

    def add(self, frame: Frame, headers: Mapping[str, str], *, now: float) -> ReceivedFrame:
        self._forget_old(now)
        payload = frame.payload or b""
        total = _count(headers.get("sum", "1"))
        seq = _count(headers.get("seq", "0"))
        if total is None or seq is None or not seq < total <= FRAGMENTS_MAX:
            sizes = f"sum={headers.get('sum', '')[:20]!r} seq={headers.get('seq', '')[:20]!r}"
            return Ignored(reason=f"no fragment can have {sizes}")
        if total == 1:
            return Complete(payload=payload, frame=frame)
        message_id = headers.get("message_id")
        if not message_id:
            return Ignored(reason="a fragment without message_id")
        if len(payload) > INCOMPLETE_BYTES_MAX:
            return Ignored(reason=f"a fragment of {len(payload)} bytes")
        waiting = self._keep(message_id, total, seq, payload, now)
        if len(waiting.parts) < total:
            self._drop_oldest()
            return Incomplete(message_id=message_id)
        self._drop(message_id)
        return Complete(payload=b"".join(waiting.parts[each] for each in range(total)), frame=frame)

    def _keep(
        self, message_id: str, total: int, seq: int, payload: bytes, now: float
    ) -> _Incomplete:
        waiting = self._sets.pop(message_id, None)
        if waiting is None or waiting.total != total:
            # Another total is another push under the same id: the newer one counts.
            self._bytes -= waiting.size if waiting else 0
            waiting = _Incomplete(total)
        self._sets[message_id] = waiting
        growth = len(payload) - len(waiting.parts.get(seq, b""))
        waiting.parts[seq] = payload
        waiting.size += growth
        self._bytes += growth
        waiting.seen_at = now
        return waiting

    def _forget_old(self, now: float) -> None:
        while self._sets:
            message_id, oldest = next(iter(self._sets.items()))
            if now - oldest.seen_at < FRAGMENT_KEPT_S:
                return
            self._drop(message_id)

    def _drop_oldest(self) -> None:
        while len(self._sets) > INCOMPLETE_SETS_MAX or self._bytes > INCOMPLETE_BYTES_MAX:
            self._drop(next(iter(self._sets)))

    def _drop(self, message_id: str) -> None:
        self._bytes -= self._sets.pop(message_id).size


# ── what goes back ──────────────────────────────────────────────────────────


def ping(service: int) -> Frame:
    """Build the ping of a connection whose address named *service*."""
    return Frame(service=service, method=CONTROL, headers=(("type", "ping"),))


def ack(frame: Frame, *, took_ms: int, code: int = 200, data: bytes | None = None) -> Frame:
    """Answer *frame*: 200 done, 500 send it again; *data* answers a callback."""
    body: dict[str, int | str] = {"code": code}
    if data is not None:
        body["data"] = base64.b64encode(data).decode()
    headers = tuple(each for each in frame.headers if each[0] != "biz_rt")
    return Frame(
        seq_id=frame.seq_id,
        log_id=frame.log_id,
        service=frame.service,
        method=frame.method,
        headers=(*headers, ("biz_rt", str(took_ms))),
        payload_encoding=frame.payload_encoding,
        payload_type=frame.payload_type,
        payload=msgspec.json.encode(body),
        log_id_new=frame.log_id_new,
    )


# ── how the connection is to behave ─────────────────────────────────────────


class _WireConfig(Struct, frozen=True, rename="pascal"):
    reconnect_count: int | None = None
    reconnect_interval: int | None = None
    reconnect_nonce: int | None = None
    ping_interval: int | None = None


_wire_configs: Final = msgspec.json.Decoder(_WireConfig)


def client_config_of(payload: bytes | None, current: ClientConfig) -> ClientConfig:
    """Read a pong's payload. What it does not name, or names badly, stays as it is."""
    try:
        wire = _wire_configs.decode(payload or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return current

    def given(value: int | None, otherwise: int) -> int:
        return otherwise if value is None else value

    return bounded(
        ClientConfig(
            reconnect_count=given(wire.reconnect_count, current.reconnect_count),
            reconnect_interval_s=given(wire.reconnect_interval, current.reconnect_interval_s),
            reconnect_nonce_s=given(wire.reconnect_nonce, current.reconnect_nonce_s),
            ping_interval_s=given(wire.ping_interval, current.ping_interval_s),
        )
    )


def bounded(config: ClientConfig) -> ClientConfig:
    """Keep the platform's numbers within what a daemon can work with."""
    return ClientConfig(
        reconnect_count=config.reconnect_count,
        reconnect_interval_s=min(max(config.reconnect_interval_s, 0), RECONNECT_MAX_S),
        reconnect_nonce_s=min(max(config.reconnect_nonce_s, 0), RECONNECT_MAX_S),
        ping_interval_s=min(max(config.ping_interval_s, 1), PING_INTERVAL_MAX_S),
    )


def reconnect_delay_s(config: ClientConfig, *, failures: int, fraction: float) -> float:
    """How long to wait before the next try.

    *failures* counts tries that failed since the link last worked: the first wait is a
    random *fraction* (0 to 1) of the nonce, so that not all clients come back at once.
    """
    if failures == 0:
        return fraction * config.reconnect_nonce_s
    wait = max(RETRY_MIN_S, float(config.reconnect_interval_s))
    if 0 <= config.reconnect_count < failures:
        return max(wait, GIVEN_UP_RETRY_S)
    return wait


# ── refusals ────────────────────────────────────────────────────────────────


class Refusal(Struct, frozen=True, kw_only=True):
    """Why the platform does not want this connection.

    ``credentials`` and ``connection_limit`` need a human; ``busy`` passes, with a new
    address (a ticket is good for one try).
    """

    kind: Literal["credentials", "connection_limit", "busy"]
    reason: str


def handshake_refused(http_status: int, headers: Mapping[str, str]) -> Refusal:
    """Read an answer to the handshake other than 101. Header names are lower case."""
    status = headers.get("handshake-status", "")
    code = headers.get("handshake-autherrcode", "")
    message = headers.get("handshake-msg", "")[:200]
    reason = f"HTTP {http_status}, status {status or '-'}, code {code or '-'}: {message or '-'}"
    if _count(status) == REFUSED_STATUS and _count(code) == CONNECTION_LIMIT_CODE:
        return Refusal(kind="connection_limit", reason=reason)
    if _count(status) == CREDENTIALS_STATUS:
        return Refusal(kind="credentials", reason=reason)
    return Refusal(kind="busy", reason=reason)


def close_refused(code: int, reason: str) -> Refusal | None:
    """Return whether a WebSocket close is a refusal rather than routine."""
    if code == CONNECTION_LIMIT_CLOSE:
        return Refusal(kind="connection_limit", reason=f"closed with {code}: {reason[:200]}")
    return None


def service_of(url: str) -> int:
    """Return the ``service_id`` of an address, which every ping repeats; 0 without one."""
    values = parse_qs(urlsplit(url).query).get("service_id", ["0"])
    return _count(values[0]) or 0


def _count(text: str) -> int | None:
    """Read a decimal number as the platform writes it in headers; None if it is none."""
    if not text.isascii() or not text.isdigit() or len(text) > len(str(_INT32_MAX)):
        return None
    number = int(text)
    return number if number <= _INT32_MAX else None

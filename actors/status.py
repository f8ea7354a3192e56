"""``larkd status``: asks the daemon of a state directory how it is, and shows it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

import msgspec
import trio

from actors.state_dir import read_daemon_info
from actors.tokens import read_token
from protocol import __version__
from protocol.auth import proof
from protocol.errors import RemoteProtocolError
from protocol.framing import FrameReader, frame
from protocol.places import DaemonInfo, StateDir
from protocol.wire import (
    PROTOCOL_VERSION,
    Bye,
    Error,
    FromDaemon,
    Hello,
    Refused,
    Register,
    Registered,
    Tool,
    ToolResult,
    decode_from_daemon,
)

STATUS_TOOL: Final = "feishu_channel_status"
ANSWER_WITHIN_S: Final = 5.0
_READ_BYTES: Final = 64 * 1024
_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # not bound, connected to
_MS: Final = 1000

MessageT = TypeVar("MessageT", Hello, Registered, ToolResult)


class Unavailable(Exception):
    """There is no status to show; the text says why, and what to do."""


def fetch(state: StateDir) -> dict[str, Any]:
    """Return the map of ``feishu_channel_status``.

    Raises:
        Unavailable: no daemon serves the directory, or it does not answer.
        ConfigurationError: the observer's token can't be used.
    """
    info = read_daemon_info(state)
    if info is None:
        raise Unavailable(f"larkd is not running on {state.root}; start it with: larkd daemon")
    key = read_token(state.token("observer"))
    where = f"larkd (pid {info.pid}) at {info.host}:{info.port}"
    try:
        return trio.run(_ask, info, key)
    except trio.TooSlowError:
        late = f"{where} did not answer within {ANSWER_WITHIN_S:g} s; look into {state.log}"
        raise Unavailable(late) from None
    except OSError as lost:
        reason = lost.strerror or str(lost)
        gone = f"{where} can't be reached ({reason}); if it crashed, start it: larkd daemon"
        raise Unavailable(gone) from None
    except RemoteProtocolError:
        other = f"something else than larkd answers at {info.host}:{info.port}"
        raise Unavailable(f"{other}; if larkd crashed, start it: larkd daemon") from None
    except (trio.BrokenResourceError, EOFError):
        raise Unavailable(f"{where} closed the connection; look into {state.log}") from None


async def _ask(info: DaemonInfo, key: bytes) -> dict[str, Any]:
    host = _ANYWHERE.get(info.host, info.host)
    with trio.fail_after(ANSWER_WITHIN_S):
        async with await trio.open_tcp_stream(host, info.port) as stream:
            daemon = _Daemon(stream)
            session_id = f"observer:status:{os.getpid()}"
            hello = await daemon.next(Hello)
            await daemon.say(
                Register(
                    protocol=PROTOCOL_VERSION,
                    session_id=session_id,
                    role="observer",
                    proof=proof(key, hello.nonce, session_id, "observer"),
                    pid=os.getpid(),
                    proxy_version=__version__,
                )
            )
            await daemon.next(Registered)
            await daemon.say(Tool(id=1, name=STATUS_TOOL))
            answer = await daemon.next(ToolResult)
    if not answer.ok or not isinstance(answer.result, dict):
        raise Unavailable(f"larkd refused to tell its status: {answer.error or 'no map'}")
    return answer.result


class _Daemon:
    """The daemon as seen over one connection: what is said to it, what it says next."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._frames = FrameReader()
        self._said: list[FromDaemon] = []

    async def say(self, message: Register | Tool) -> None:
        await self._stream.send_all(frame(message))

    async def next(self, kind: type[MessageT]) -> MessageT:
        """Wait for the next message of *kind*; what else may come is skipped.

        Raises:
            Unavailable: the daemon refused.
            EOFError: it closed the connection.
        """
        while True:
            while self._said:
                message = self._said.pop(0)
                if isinstance(message, kind):
                    return message
                if isinstance(message, Refused | Error):
                    raise Unavailable(f"larkd refused: {message.message} ({message.code})")
                if isinstance(message, Bye):
                    raise Unavailable(f"larkd is leaving ({message.reason})")
            data = await self._stream.receive_some(_READ_BYTES)
            if not data:
                raise EOFError
            self._frames.feed(data)
            self._said += map(decode_from_daemon, self._frames)


# ── for people ──────────────────────────────────────────────────────────────


def as_json(status: Mapping[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(status), indent=2).decode()


def as_text(status: Mapping[str, Any], now_ms: int | None = None) -> str:
    """The status as lines for a terminal."""
    now = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    return "\n".join(map(_printable, _lines(status, now)))


def _lines(status: Mapping[str, Any], now_ms: int) -> Iterator[str]:
    daemon = _map(status.get("daemon"))
    since = _ago(daemon.get("started_at"), now_ms)
    yield (
        f"larkd {daemon.get('version', '?')}   pid {daemon.get('pid', '?')},"
        f" start {daemon.get('generation', '?')}, up {since}"
    )
    yield "connections"
    for account, state in _map(status.get("connection")).items():
        about = _map(state)
        line = f"  {account}: {about.get('state', '?')}"
        if about.get("last_event_at") is not None:
            line += f", last event {_ago(about['last_event_at'], now_ms)} ago"
        if about.get("last_error"):
            line += f", last error: {about['last_error']}"
        yield line
    yield "channel"
    yield f"  owner       {status.get('owner_session_id') or '-'}"
    yield f"  dispatcher  {status.get('dispatcher_session_id') or '-'}"
    yield f"  granted     {status.get('granted_session_id') or '-'}"
    target = status.get("effective_target_session_id")
    yield f"  hears now   {target or '- (nobody; messages wait)'}"
    yield f"  epoch       {status.get('lease_epoch', '?')}"
    yield from _queue_lines(_map(status.get("queue")))
    yield from _session_lines(status, now_ms)


def _queue_lines(queue: Mapping[str, Any]) -> Iterator[str]:
    if queue.get("error"):
        yield f"queue         unknown: {queue['error']}"
        return
    oldest = queue.get("oldest_pending_ms")
    waiting = f", the oldest for {_duration(oldest)}" if isinstance(oldest, int) else ""
    yield f"queue         {queue.get('pending', 0)} waiting{waiting}"
    yield f"              {queue.get('in_flight', 0)} offered and not yet taken"
    if queue.get("damaged"):
        yield f"              {queue['damaged']} damaged and set aside; see larkd.log"


def _session_lines(status: Mapping[str, Any], now_ms: int) -> Iterator[str]:
    listed = status.get("sessions")
    sessions = [_map(session) for session in listed] if isinstance(listed, list) else []
    if not sessions:
        yield "sessions      none"
        return
    rows = [("ALIAS", "ROLE", "SESSION", "PID", "UP", "WHERE")]
    rows += [
        (
            str(session.get("alias", "")),
            str(session.get("role", "")),
            str(session.get("sessionId", "")),
            str(session.get("pid", "")),
            _ago(session.get("connected_at"), now_ms),
            str(_map(session.get("metadata")).get("cwd", "")),
        )
        for session in sessions
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    yield "sessions"
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"  {'  '.join(cells)}".rstrip()
    bindings = _map(status.get("bindings"))
    if bindings:
        yield "chats bound to a session"
        yield from (f"  {chat} → {session}" for chat, session in bindings.items())


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _ago(moment_ms: object, now_ms: int) -> str:
    return _duration(max(0, now_ms - moment_ms)) if isinstance(moment_ms, int) else "?"


def _duration(milliseconds: int) -> str:
    seconds = milliseconds // _MS
    for size, unit, smaller, smaller_unit in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "m"),
        (60, "m", 1, "s"),
    ):
        if seconds >= size:
            return f"{seconds // size}{unit} {seconds % size // smaller}{smaller_unit}"
    return f"{seconds}s"


def _printable(line: str) -> str:
    """What proxies say of themselves must not move the cursor."""
    return "".join(c if c.isprintable() else "�" for c in line)

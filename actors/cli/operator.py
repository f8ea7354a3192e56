"""One question of the command line to the running daemon, over the wire like any proxy's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar

import trio

from actors.cli.output import CommandFailed
from actors.host.advice import command_for
from actors.host.state_dir import read_daemon_info
from actors.host.tokens import read_token
from protocol import __version__
from protocol.config.places import DaemonInfo, StateDir
from protocol.errors import RemoteProtocolError
from protocol.wire import codec
from protocol.wire import messages as wire
from protocol.wire.auth import is_daemon, proof
from protocol.wire.framing import FrameReader, frame

ANSWER_WITHIN_S: Final = 10.0
"""Beyond what the daemon itself waits for its journal, so that its own error comes first."""
_READ_BYTES: Final = 64 * 1024
_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # not bound, connected to

MessageT = TypeVar("MessageT", wire.Hello, wire.Registered, wire.ToolResult)
OperatorRole = Literal["observer", "dispatcher"]


class Unavailable(CommandFailed):
    """There is no answer to show; the text gives the reason and the remedy."""


class Declined(CommandFailed):
    """The daemon declined, with its own text; nothing has changed."""


def ask(
    state: StateDir,
    tool: str,
    args: Mapping[str, Any] | None = None,
    *,
    role: OperatorRole,
) -> wire.ToolResult:
    """Call one tool of the daemon that serves *state*: to look, or with a dispatcher's rights.

    Either way the caller is no session: nothing is delivered to it and nothing moves to
    it, so asking changes nothing by itself.

    Raises:
        Unavailable: no daemon serves the directory, or it does not answer.
        ConfigurationError: the role's token can't be used.
    """
    info = read_daemon_info(state)
    if info is None:
        raise Unavailable(not_running(state))
    key = read_token(state.token(role))
    start = command_for(state, "daemon")
    where = f"larkd (pid {info.pid}) at {info.host}:{info.port}"
    try:
        return trio.run(_ask, info, key, role, wire.Tool(id=1, name=tool, args=dict(args or {})))
    except trio.TooSlowError:
        late = f"{where} did not answer within {ANSWER_WITHIN_S:g} s; look into {state.log}"
        raise Unavailable(late) from None
    except OSError as lost:
        reason = lost.strerror or str(lost)
        gone = f"{where} can't be reached ({reason}); if it crashed, start it: {start}"
        raise Unavailable(gone) from None
    except RemoteProtocolError:
        other = not_the_daemon(info)
        raise Unavailable(f"{other}; if larkd crashed, start it: {start}") from None
    except (trio.BrokenResourceError, EOFError):
        raise Unavailable(f"{where} closed the connection; look into {state.log}") from None


def not_running(state: StateDir) -> str:
    """Nobody serves *state*: the error, with what to do about it."""
    start = command_for(state, "daemon")
    if not state.root.is_dir():
        return (
            f"there is no state directory {state.root}: no larkd ever ran with it;"
            f" name another one with --state-dir, or start one with: {start}"
        )
    return f"larkd is not running on {state.root}; start it with: {start}"


def not_the_daemon(info: DaemonInfo) -> str:
    """Whoever answers has no proof of being the daemon: the error."""
    return (
        f"something else answers at {info.host}:{info.port}; it does not know this state"
        " directory's token"
    )


async def _ask(
    info: DaemonInfo, key: bytes, role: OperatorRole, tool: wire.Tool
) -> wire.ToolResult:
    host = _ANYWHERE.get(info.host, info.host)
    with trio.fail_after(ANSWER_WITHIN_S):
        async with await trio.open_tcp_stream(host, info.port) as stream:
            daemon = _Daemon(stream)
            session_id = f"operator:{os.getpid()}"
            hello = await daemon.next(wire.Hello)
            register = wire.Register(
                protocol=wire.PROTOCOL_VERSION,
                session_id=session_id,
                role=role,
                proof=proof(key, hello.nonce, session_id, role),
                nonce=os.urandom(wire.NONCE_BYTES),
                pid=os.getpid(),
                proxy_version=__version__,
                capabilities=[wire.CAPABILITY_OPERATOR],
            )
            await daemon.send(register)
            registered = await daemon.next(wire.Registered)
            if not is_daemon(key, registered.proof, register, hello.nonce):
                raise Unavailable(not_the_daemon(info))
            await daemon.send(tool)
            return await daemon.next(wire.ToolResult)


class _Daemon:
    """The daemon as seen over one connection: what is sent to it, what it sends next."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._frames = FrameReader()
        self._received: list[wire.FromDaemon] = []

    async def send(self, message: wire.Register | wire.Tool) -> None:
        await self._stream.send_all(frame(message))

    async def next(self, kind: type[MessageT]) -> MessageT:
        """Wait for the next message of *kind*; what else may come is skipped.

        Raises:
            Unavailable: the daemon refused.
            EOFError: it closed the connection.
        """
        while True:
            while self._received:
                message = self._received.pop(0)
                if isinstance(message, kind):
                    return message
                if isinstance(message, wire.Refused | wire.Error):
                    raise Unavailable(f"larkd refused: {message.message} ({message.code})")
                if isinstance(message, wire.Bye):
                    raise Unavailable(f"larkd is leaving ({message.reason})")
            data = await self._stream.receive_some(_READ_BYTES)
            if not data:
                raise EOFError
            self._frames.feed(data)
            self._received += map(codec.decode_from_daemon, self._frames)

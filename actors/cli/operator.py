"""One question of the command line to the running daemon, over the wire like any proxy's."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar

import msgspec
import trio

from actors.cli.output import CommandFailed
from actors.host.advice import command_for, start_of
from actors.host.state_dir import read_daemon_info
from actors.host.tokens import read_token
from actors.kit.plain import plain_part
from actors.kit.tls import OF_THEIR_AUTHORITY, CertificateUnusable
from actors.proxies.endpoint import Endpoint, Route, connect
from actors.proxies.errors import NotTheDaemon, ProxyError, StandingBy, explained
from actors.proxies.settings import ProxySettings, of_environment
from protocol import __version__
from protocol.config import places
from protocol.config.places import DaemonInfo, StateDir
from protocol.errors import RemoteProtocolError
from protocol.wire import codec, vocabulary
from protocol.wire import messages as wire
from protocol.wire.auth import is_daemon, proof
from protocol.wire.framing import FrameReader, frame

ANSWER_WITHIN_S: Final = 10.0
"""Beyond what the daemon itself waits for its journal, so that its own error comes first."""
NODE_WITHIN_S: Final = 3.0
"""For one of several nodes to let us in, so that the next is tried in time."""
CLAIMED_WITHIN_S: Final = 5.0
"""What a cluster takes to be served again; so long standbys are asked once more."""
ROUND_EVERY_S: Final = 0.5
_READ_BYTES: Final = 64 * 1024
_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # not bound, connected to

_UNREACHED: Final = (
    OSError,
    EOFError,
    trio.BrokenResourceError,
    RemoteProtocolError,
    NotTheDaemon,
    CertificateUnusable,
)
"""How a node fails to let us in, so that another one is tried."""

MessageT = TypeVar("MessageT", wire.Hello, wire.Registered, wire.ToolResult)
OperatorRole = Literal["observer", "dispatcher"]


class Unavailable(CommandFailed):
    """There is no answer to show; the text gives the reason and the remedy."""


class NotRunning(Unavailable):
    """No daemon serves the state directory."""


class NoPlace(Unavailable):
    """As many connections of this role are open as the daemon takes."""


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

    With ``LARKD_ADDRESS`` it is the holder among those nodes, found as proxies find it. A
    node that stands by is left for where it sees the holder. Once the call is sent, it is
    sent to no other node.

    Either way the caller is no session: nothing is delivered to it and nothing moves to
    it, so asking changes nothing by itself.

    Raises:
        Unavailable: no daemon serves the directory, or it does not answer.
        ConfigurationError: the role's token or ``LARKD_ADDRESS`` can't be used.
    """
    call = wire.Tool(id=1, name=tool, args=dict(args or {}))
    settings = of_environment(
        ProxySettings(session_id=f"operator:{os.getpid()}", state_dir=state.root, role=role),
        os.environ,
    )
    if settings.addresses:
        return _ask_cluster(_with_token_of_role(settings), call)
    info = read_daemon_info(state)
    if info is None:
        raise NotRunning(not_running(state))
    settings = msgspec.structs.replace(
        settings,
        address=(_ANYWHERE.get(info.host, info.host), info.port),
        token=read_token(state.token(role)),
    )
    start = start_of(state)
    where = f"larkd (pid {info.pid}) at {info.host}:{info.port}"
    try:
        return _ask_with_a_place(state, settings, call)
    except trio.TooSlowError:
        late = f"{where} did not answer within {ANSWER_WITHIN_S:g} s; look into {state.log}"
        raise Unavailable(late) from None
    except OSError as lost:
        reason = lost.strerror or str(lost)
        gone = f"{where} can't be reached ({reason}); if it crashed, start it: {start}"
        raise Unavailable(gone) from None
    except (RemoteProtocolError, NotTheDaemon):
        other = not_the_daemon(info)
        raise Unavailable(f"{other}; if larkd crashed, start it: {start}") from None
    except (trio.BrokenResourceError, EOFError):
        raise Unavailable(f"{where} closed the connection; look into {state.log}") from None
    except StandingBy as away:
        at = f"the holder is at {', '.join(away.at)}" if away.at else "nobody holds it now"
        holders = command_for(state, "clusters")
        raise StandsBy(f"{where} stands by for its cluster; {at}: {holders}") from None


def _ask_with_a_place(state: StateDir, settings: ProxySettings, call: wire.Tool) -> wire.ToolResult:
    """Ask; who looks and finds all places taken asks again with the dispatcher's token.

    That has places of its own, so that observers keep nobody out who can read it.
    """
    try:
        return trio.run(_ask, settings, call)
    except NoPlace:
        dispatchers = state.token("dispatcher")
        if settings.role != "observer" or not os.access(dispatchers, os.R_OK):
            raise
    return trio.run(_ask, msgspec.structs.replace(settings, token=read_token(dispatchers)), call)


def _with_token_of_role(settings: ProxySettings) -> ProxySettings:
    """Take the role's own token where a node's tokens lie together, else the named file."""
    named = settings.token_file
    if named is None:
        return settings
    own = named.with_name(f"{settings.role}.token")
    return msgspec.structs.replace(settings, token_file=own if own.exists() else named)


def _ask_cluster(settings: ProxySettings, call: wire.Tool) -> wire.ToolResult:
    where = f"LARKD_ADDRESS ({', '.join(map(str, settings.addresses))})"
    try:
        return trio.run(_ask, settings, call)
    except trio.TooSlowError:
        late = f"larkd at {where} did not answer within {ANSWER_WITHIN_S:g} s"
        raise Unavailable(f"{late}; look into its log on the node that holds the cluster") from None
    except StandingBy as standby:
        raise Unavailable(
            f"every node that answers at {where} stands by ({standby}); name the holder's"
            " address too, or set LARKD_CA_FILE so that it is followed"
        ) from None
    except _UNREACHED as failed:
        reason = str(failed) or f"the connection was closed; {OF_THEIR_AUTHORITY}"
        raise Unavailable(f"no node at {where} serves: {reason}") from None
    except (ProxyError, CertificateUnusable) as unusable:
        raise Unavailable(str(unusable)) from None


def not_running(state: StateDir) -> str:
    """Nobody serves *state*: the error, with what to do about it."""
    start = start_of(state)
    if other := sandbox_beside(state):
        return f"{nobody_serves(state)}; {other}, or start a daemon with: {start}"
    if not state.root.is_dir():
        return (
            f"{nobody_serves(state)}; name another one with --state-dir,"
            f" or set larkd up with: {command_for(state, 'init')}, or start it with: {start}"
        )
    return f"{nobody_serves(state)}; start it with: {start}"


def nobody_serves(state: StateDir) -> str:
    if not state.root.is_dir():
        return f"there is no state directory {state.root}: no larkd ever ran with it"
    return f"larkd is not running on {state.root}"


def sandbox_beside(state: StateDir) -> str | None:
    """Print that the daemon of the sandbox is meant, where that one runs."""
    sandbox = places.sandbox_of(state)
    if read_daemon_info(sandbox) is None:
        return None
    return f"that of the sandbox is named by --state-dir {shlex.quote(str(sandbox.root))}"


def not_the_daemon(info: DaemonInfo) -> str:
    """Whoever answers has no proof of being the daemon: the error."""
    return (
        f"something else answers at {info.host}:{info.port}; it does not know this state"
        " directory's token"
    )


async def _ask(settings: ProxySettings, call: wire.Tool) -> wire.ToolResult:
    with trio.fail_after(ANSWER_WITHIN_S):
        route = Route(settings)
        until = trio.current_time() + CLAIMED_WITHIN_S
        while True:
            try:
                daemon = await _registered(route, settings)
            except StandingBy:
                if not route.clustered or trio.current_time() > until:
                    raise
                await trio.sleep(ROUND_EVERY_S)
                continue
            async with daemon:
                await daemon.send(call)
                return await daemon.next(wire.ToolResult)


async def _registered(route: Route, settings: ProxySettings) -> _Daemon:
    """Return the first node of a round that lets us in.

    Raises:
        StandingBy: nodes answer, and none of them serves now.
        Unavailable: a node refused; another one would, too.
        Exception: one of ``_UNREACHED``, of the node that was tried last.
    """
    failure: Exception = OSError("no address is known")
    standby: StandingBy | None = None
    for endpoint in route.round():
        # Of several nodes one that is stopped still accepts: the others are tried in time.
        within_s = NODE_WITHIN_S if route.clustered else ANSWER_WITHIN_S
        try:
            with trio.fail_after(within_s):
                return await _register(endpoint, settings)
        except StandingBy as away:
            standby = away
            route.named(away.at)
        except trio.TooSlowError:
            failure = OSError(f"{endpoint.address} did not answer within {within_s:g} s")
            if not route.clustered:
                raise
        except _UNREACHED as failed:
            failure = failed
    raise standby or failure


async def _register(endpoint: Endpoint, settings: ProxySettings) -> _Daemon:
    daemon = _Daemon(await connect(endpoint, settings), settings)
    try:
        hello = await daemon.next(wire.Hello)
        register = wire.Register(
            protocol=vocabulary.PROTOCOL_VERSION,
            session_id=settings.session_id,
            role=settings.role,
            proof=proof(endpoint.token, hello.nonce, settings.session_id, settings.role),
            nonce=os.urandom(vocabulary.NONCE_BYTES),
            pid=os.getpid(),
            proxy_version=__version__,
            capabilities=[vocabulary.CAPABILITY_OPERATOR],
        )
        await daemon.send(register)
        registered = await daemon.next(wire.Registered)
        if not is_daemon(endpoint.token, registered.proof, register, hello.nonce):
            raise NotTheDaemon(endpoint.address.host, endpoint.address.port)
    except BaseException:
        await trio.aclose_forcefully(daemon)
        raise
    return daemon


class StandsBy(Unavailable):
    """The daemon that was asked runs, and another node serves its cluster."""


class _Daemon(trio.abc.AsyncResource):
    """The daemon as seen over one connection: what is sent to it, what it sends next."""

    def __init__(self, stream: trio.abc.Stream, settings: ProxySettings) -> None:
        self._stream = stream
        self._settings = settings
        self._frames = FrameReader()
        self._received: list[wire.FromDaemon] = []

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def send(self, message: wire.Register | wire.Tool) -> None:
        await self._stream.send_all(frame(message))

    async def next(self, kind: type[MessageT]) -> MessageT:
        """Wait for the next message of *kind*; what else may come is skipped.

        Raises:
            StandingBy: another node serves the cluster.
            Unavailable: the daemon refused.
            EOFError: it closed the connection.
        """
        while True:
            while self._received:
                message = self._received.pop(0)
                if isinstance(message, kind):
                    return message
                if isinstance(message, wire.Refused) and message.code == "standby":
                    raise StandingBy(
                        plain_part(message.message), tuple(message.at), message.retry_after_ms
                    )
                if isinstance(message, wire.Refused | wire.Error):
                    why, remedy = explained(
                        message.code,
                        message.message,
                        self._settings.role,
                        self._settings.proves_with,
                    )
                    failed = NoPlace if message.code == "too_many_sessions" else Unavailable
                    raise failed(
                        f"larkd refused: {why} ({plain_part(message.code)})"
                        + (f"; {remedy}" if remedy else "")
                    )
                if isinstance(message, wire.Bye):
                    raise Unavailable(f"larkd is leaving ({plain_part(message.reason)})")
            data = await self._stream.receive_some(_READ_BYTES)
            if not data:
                raise EOFError
            self._frames.feed(data)
            self._received += map(codec.decode_from_daemon, self._frames)

"""The claim this process holds: what its parts may ask of it, and who watches over it."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Literal

import msgspec
import structlog
import trio

from actors.app.database import ClusterStore, boot_time
from actors.journal.postgres import ClaimTaken, Standby, Target
from actors.kit.mailbox import offer
from actors.kit.tls import TlsStream
from actors.messages import shutdown
from protocol.errors import RemoteProtocolError
from protocol.routing.claim import Hold, Phase
from protocol.wire import codec
from protocol.wire import messages as wire
from protocol.wire.addresses import Address, parse_address
from protocol.wire.framing import FrameReader

LOOK_EVERY_S: Final = 0.05
DIAL_WITHIN_S: Final = 0.8
"""Below the second between two rounds of questions."""
NO_STANDBY_AFTER_S: Final = 30.0
LOST_BUDGET_S: Final = 1.0
"""A process that lost its cluster leaves within 2 s; no card is touched in them."""
READ_BYTES: Final = 16 * 1024

log = structlog.get_logger()


class HoldingSettings(msgspec.Struct, frozen=True, kw_only=True):
    addresses: tuple[str, ...] = ()
    """Where proxies find this node, as ``tls://host:port``."""
    write_tokens: Callable[[Mapping[str, str]], None] = lambda _keys: None
    """Puts the role tokens where this node's own commands find them."""
    connect: Callable[[Address], Awaitable[trio.abc.Stream]]
    """Opens the stream on which a standby is asked."""
    now: Callable[[], float] = boot_time


class Holding:
    """One claim, from its commit to its end. Made for one run of the daemon."""

    def __init__(
        self,
        target: Target,
        store: ClusterStore,
        claimed: ClaimTaken,
        settings: HoldingSettings,
        *,
        by_silence: bool = False,
    ) -> None:
        now = settings.now
        self.cluster: str | None = target.cluster
        self.node: str | None = target.node
        self.term = claimed.term
        self.addresses = settings.addresses
        self.by_silence = by_silence
        self.ended: Literal["lost", "moved"] | None = None
        """Why the daemon was asked to leave, where the claim is the reason."""
        self._store = store
        self._hold = Hold(target.node, claimed.sent_at)
        self._now = now
        self._settings = settings
        self._tokens = claimed.tokens
        self._standby_seen_at = now()
        self._standby_missed_logged = False
        self._follower: tuple[str, ...] = ()
        self._given_up = trio.Event()

    # ── what the daemon's parts ask ─────────────────────────────────────────

    def open_store(self) -> ClusterStore:
        return self._store

    def fresh(self) -> bool:
        """Whether calls may be started: nobody else can hold the cluster."""
        return self._hold.fresh(self._now())

    @property
    def careful(self) -> bool:
        """Whether another process may have used up the platform's budgets just before."""
        return self.term > 1

    @property
    def freshness(self) -> Callable[[], bool] | None:
        return self.fresh

    @property
    def wait_given_up(self) -> Callable[[], Awaitable[None]]:
        return self._given_up.wait

    def status(self) -> dict[str, Any]:
        """Return cluster, node, term and hold of the daemon, and the standbys last known."""
        hold = "holding" if self._hold.phase(self._now()) is Phase.HOLDING else "frozen"
        return {
            "cluster": self.cluster,
            "node": self.node,
            "term": self.term,
            "hold": hold,
            "standbys": [
                {"node": one.node, "version": one.version, "seen_ms": one.seen_ms}
                for one in self._store.standing().standbys
            ],
        }

    def successor(self) -> tuple[str, ...]:
        """Return where proxies find who holds the cluster next, as far as that is known.

        Of a cluster that was lost to nobody knows whom, those are all who may have claimed it.
        """
        standing = self._store.standing()
        if standing.successor or self._follower:
            return standing.successor or self._follower
        lost = self._hold.lost_because is not None
        return tuple(
            address
            for one in standing.standbys
            if lost or one.node == standing.wanted
            for address in one.addresses
        )

    def after_batch(self) -> None:
        """Take what the journal's thread learned with its last batch."""
        standing = self._store.standing()
        self._hold.confirm(standing.confirmed_at)
        if standing.lost:
            self._hold.lose("another process has claimed the cluster")
        if standing.keys is not None and standing.keys_of != self._tokens:
            self._tokens = standing.keys_of
            self._settings.write_tokens(standing.keys)
            log.info("cluster.tokens_changed", cluster=self.cluster)

    # ── watching over it ────────────────────────────────────────────────────

    async def watch(
        self,
        shutdown_tx: trio.MemorySendChannel[shutdown.ShutdownMessage],
        leave_quickly: Callable[[float], None],
    ) -> None:
        """Freeze, thaw, and ask the daemon to leave when the cluster is lost or wanted."""
        frozen = False
        async with trio.open_nursery() as nursery:
            while self.ended is None:
                await trio.sleep(LOOK_EVERY_S)
                now = self._now()
                match self._hold.phase(now):
                    case Phase.LOST:
                        self._lost(leave_quickly, shutdown_tx)
                    case Phase.FROZEN if not frozen:
                        frozen = True
                        log.warning("cluster.frozen", cluster=self.cluster, node=self.node)
                        self._store.hang_up()
                    case Phase.HOLDING if frozen:
                        frozen = False
                        log.info("cluster.thawed", cluster=self.cluster, node=self.node)
                if self._hold.must_ask(now):
                    nursery.start_soon(self._ask_standbys)
                self._look_at_wishes(now, shutdown_tx)
            nursery.cancel_scope.cancel(reason="the claim is over")

    def _lost(
        self,
        leave_quickly: Callable[[float], None],
        shutdown_tx: trio.MemorySendChannel[shutdown.ShutdownMessage],
    ) -> None:
        reason = self._hold.lost_because or "lost"
        log.error("cluster.lost", cluster=self.cluster, node=self.node, reason=reason)
        self.ended = "lost"
        self._store.abandon()
        self._given_up.set()
        leave_quickly(LOST_BUDGET_S)
        leave = shutdown.Leave(exit_status=0, reason=f"cluster lost: {reason}", lost=True)
        offer(shutdown_tx, leave)

    def _look_at_wishes(
        self, now: float, shutdown_tx: trio.MemorySendChannel[shutdown.ShutdownMessage]
    ) -> None:
        standing = self._store.standing()
        if standing.standbys:
            self._standby_seen_at, self._standby_missed_logged = now, False
        elif now - self._standby_seen_at >= NO_STANDBY_AFTER_S and not self._standby_missed_logged:
            self._standby_missed_logged = True
            log.warning("cluster.no_standby", cluster=self.cluster, node=self.node)
        if self.ended is None and standing.wanted not in (None, self.node):
            self.ended = "moved"
            reason = f"node {standing.wanted} is to take the cluster"
            offer(shutdown_tx, shutdown.Leave(exit_status=0, reason=reason))

    async def _ask_standbys(self) -> None:
        """Ask each standby last known whom it sees holding the cluster, at all its addresses."""
        known = self._store.standing().standbys
        named: list[str | None] = []

        async def ask(one: Standby, address: str, others: trio.CancelScope) -> None:
            answer = await dial_standby(address, self._settings.connect)
            if answer is None:
                return
            if isinstance(answer, wire.Refused):
                node, at = answer.node, tuple(answer.at)
            else:  # only who has claimed the cluster greets
                node, at = one.node, one.addresses
            named.append(node)
            if node not in (None, self.node):
                self._follower = at
                others.cancel(reason="another node holds the cluster")

        with trio.move_on_after(DIAL_WITHIN_S):
            async with trio.open_nursery() as nursery:
                for one in known:
                    for address in one.addresses:
                        nursery.start_soon(ask, one, address, nursery.cancel_scope)
        self._hold.answered(len(known), named)


async def dial_standby(
    address: str, connect: Callable[[Address], Awaitable[trio.abc.Stream]]
) -> wire.Refused | wire.Hello | None:
    """Return the first message of who listens there; None where nobody answers.

    One that stands by refuses, and names who it sees holding the cluster; one that has claimed
    it meanwhile greets. Whether it is who it claims to be is not verified: an answer can only
    make the holder leave, as whoever can forge one could by cutting it off.
    """
    at: Address | None = parse_address(address)
    if at is None:
        return None
    with trio.move_on_after(DIAL_WITHIN_S):
        try:
            async with await connect(at) as stream:
                reader = FrameReader()
                while data := await stream.receive_some(READ_BYTES):
                    reader.feed(data)
                    for body in reader:
                        message = codec.decode_from_daemon(body)
                        if isinstance(message, wire.Refused | wire.Hello):
                            return message
        except (OSError, trio.BrokenResourceError, RemoteProtocolError):
            return None
    return None


async def connect_to_node(
    certificate: tuple[str | None, str | None], at: Address
) -> trio.abc.Stream:
    """Connect to another node, whoever it is; *certificate* is our own and its key, or neither.

    Raises:
        OSError: nobody answers, or the certificate can't be used.
    """
    plain = await trio.open_tcp_stream(at.host, at.port)
    if not at.tls:
        return plain
    try:
        return TlsStream(plain, _anybody(*certificate), server_hostname=at.host)
    except BaseException:
        await trio.aclose_forcefully(plain)
        raise


def _anybody(cert_file: str | None, key_file: str | None) -> ssl.SSLContext:
    """Return a context that verifies nobody, with our own certificate where there is one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if cert_file is not None:
        context.load_cert_chain(cert_file, key_file)
    return context

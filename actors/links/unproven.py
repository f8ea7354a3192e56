"""Connections that have proved nothing: held without a task until something whole has come.

They may come in floods, and most of them send nothing. One task waits for all of them, and
each costs what the system asks for a socket. A proof that holds is taken at once; whatever
else is whole is taken in turn, so that a flood of it takes a part of the loop only.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Self

import structlog
import trio

from actors.kit.peer_user import PeerUsers
from actors.links.capacity import Places
from actors.links.settings import LinkSettings
from protocol.errors import RemoteProtocolError
from protocol.ids import ConnectionId
from protocol.wire import messages as wire
from protocol.wire import vocabulary
from protocol.wire.auth import Verified
from protocol.wire.codec import decode_from_proxy
from protocol.wire.framing import EARLY_BODY_BYTES_MAX, HEADER_BYTES, frame
from protocol.wire.weighing import WEIGHED_FROM_BYTES

REGISTER_WITHIN_S: Final = 10.0
EARLY_READ_BYTES: Final = 8 * 1024
"""A buffer for each read is what strangers could make us hold. The answers to what it holds,
of 15 bytes each at least, wait together."""
ACCEPTED_AT_ONCE: Final = 16
"""Then others have their turn."""
AT_ONCE: Final = 64
PER_S: Final = 200.0
"""What is whole and no proof: so many are begun at once, and then each second. Each takes some
0.5 ms of the loop."""
OUT_OF_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
ACCEPT_AGAIN_S: Final = 0.1

log = structlog.get_logger()

Begin = Callable[[trio.SocketStream, "Opened"], None]


class Opened:
    """A connection before its proof: what it was sent, and what has come of its first frame."""

    def __init__(self, settings: LinkSettings, places: Places) -> None:
        self.connection_id = settings.next_connection_id()
        self.nonce = settings.random_bytes(vocabulary.NONCE_BYTES)
        self._verify = settings.verify
        self._places = places
        self._checked: tuple[wire.Register, Verified | None] | None = None
        self.register_by = trio.current_time() + REGISTER_WITHIN_S
        self.received = bytearray()
        self.greeted = False
        """Whether it was sent its ``hello``."""
        self.scope = trio.CancelScope()
        """Of its link, where there is one."""
        self.socket: socket.socket | None = None
        """While it has no link."""

    @property
    def is_whole(self) -> bool:
        """Whether its first frame is here, or can't be one."""
        if len(self.received) < HEADER_BYTES:
            return False
        size = int.from_bytes(self.received[:HEADER_BYTES], "big")
        return not 0 < size <= EARLY_BODY_BYTES_MAX or len(self.received) >= HEADER_BYTES + size

    def take_received(self) -> bytearray:
        """Give away what has come."""
        taken, self.received = self.received, bytearray()
        return taken

    def register(self) -> wire.Register | None:
        """Return its first message, where it is a registration."""
        end = HEADER_BYTES + int.from_bytes(self.received[:HEADER_BYTES], "big")
        if end > min(WEIGHED_FROM_BYTES, len(self.received)):
            return None
        try:
            message = decode_from_proxy(self.received[HEADER_BYTES:end])
        except RemoteProtocolError:
            return None
        return message if isinstance(message, wire.Register) else None

    def verified(self, register: wire.Register) -> Verified | None:
        """Return what its proof shows: checked once, however often this is asked.

        With a wrong one it waits for its refusal from now on, and keeps no other's place.
        """
        if self._checked is None or self._checked[0] != register:
            self._checked = register, self._verify(self.nonce, register)
            if self._checked[1] is None:
                self._places.refuse(self.connection_id)
        return self._checked[1]


class Rate:
    """Lets so many through at once, and then so many each second."""

    def __init__(self, at_once: int, per_s: float) -> None:
        self._at_once = at_once
        self._per_s = per_s
        self._left = float(at_once)
        self._at = trio.current_time()

    def takes_one_more(self) -> bool:
        now = trio.current_time()
        self._left = min(self._at_once, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Unproven:
    """Accepts connections of TCP, and begins the link of each whose first frame is whole.

    A context manager: at its end all that have no link are closed.
    """

    def __init__(
        self,
        settings: LinkSettings,
        places: Places,
        users: PeerUsers,
        foreign: Rate,
    ) -> None:
        """*foreign* is of connections of other users, and of other machines."""
        self._settings = settings
        self._places = places
        self._users = users
        self._foreign = foreign
        self._selector = selectors.DefaultSelector()
        self._held: OrderedDict[ConnectionId, Opened] = OrderedDict()
        """Those without a link, in the order in which they came."""
        self._whole: OrderedDict[ConnectionId, Opened] = OrderedDict()
        """Of those, whose first frame is here and waits for its turn."""
        self._rate = Rate(AT_ONCE, PER_S)
        self._work = trio.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        for one in tuple(self._held.values()):
            self._close(one)
        self._selector.close()

    # ── they come ───────────────────────────────────────────────────────────

    async def accept(self, listener: trio.SocketListener) -> None:
        """Accept until cancelled; the listener stays open."""
        with socket.socket(fileno=os.dup(listener.socket.fileno())) as listening:
            listening.setblocking(False)
            while True:
                await trio.lowlevel.wait_readable(listening)
                for _ in range(ACCEPTED_AT_ONCE):
                    try:
                        accepted, _address = listening.accept()
                    except BlockingIOError:
                        break
                    except OSError as failed:
                        if failed.errno not in OUT_OF_DESCRIPTORS:
                            continue  # its connection was gone before it was taken (accept(2))
                        log.exception("links.no_descriptors", exc_info=failed)
                        await trio.sleep(ACCEPT_AGAIN_S)
                        break
                    await self._take(accepted)

    async def _take(self, accepted: socket.socket) -> None:
        own = self._users.is_own(accepted)
        try:
            if not own and not self._foreign.takes_one_more():
                accepted.close()
                return
            await self._places.wait_free(own=own)
        except trio.Cancelled:
            accepted.close()
            raise
        self._enter(accepted, own=own)

    def _enter(self, accepted: socket.socket, *, own: bool) -> None:
        accepted.setblocking(False)
        one = Opened(self._settings, self._places)
        one.socket = accepted
        self._held[one.connection_id] = one
        self._places.enter(one.connection_id, lambda: self._drop(one), own=own)
        try:
            accepted.send(frame(wire.Hello(nonce=one.nonce)))  # a new socket has capacity for it
            one.greeted = True
            self._selector.register(accepted, selectors.EVENT_READ, one)
        except OSError:  # it is gone already
            self._leave(one)

    # ── what they send ──────────────────────────────────────────────────────

    async def run(self, begin: Begin) -> None:
        """Read what they send until cancelled; *begin* the links."""
        self._begin = begin
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._time_out)
            nursery.start_soon(self._begin_in_turn)
            while True:
                await trio.lowlevel.wait_readable(self._selector.fileno())
                for key, _ in self._selector.select(0):
                    self._read(key.data)

    def _read(self, one: Opened) -> None:
        if one.socket is None:
            return
        try:
            data = one.socket.recv(EARLY_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._leave(one)
            return
        one.received += data
        if not one.is_whole:
            return
        register = one.register()
        if register is not None and one.verified(register) is not None:
            self._hand_over(one)
            return
        self._selector.unregister(one.socket)
        self._whole[one.connection_id] = one
        self._work.set()

    async def _begin_in_turn(self) -> None:
        while True:
            while self._whole:
                if self._rate.takes_one_more():
                    self._hand_over(next(iter(self._whole.values())))
                else:
                    await trio.sleep(1 / PER_S)
            self._work = trio.Event()
            await self._work.wait()

    async def _time_out(self) -> None:
        """Begin the links of those whose time is up: they refuse."""
        while True:
            oldest = next(iter(self._held.values()), None)
            now = trio.current_time()
            if oldest is not None and oldest.register_by <= now:
                self._hand_over(oldest)
            else:  # nobody who comes meanwhile is due before
                due = now + REGISTER_WITHIN_S if oldest is None else oldest.register_by
                await trio.sleep_until(due)

    # ── they go ─────────────────────────────────────────────────────────────

    def _hand_over(self, one: Opened) -> None:
        """Begin its link."""
        taken = self._release(one)
        if taken is not None:
            self._begin(trio.SocketStream(trio.socket.from_stdlib_socket(taken)), one)

    def _drop(self, one: Opened) -> None:
        """A newer connection needs its place."""
        one.scope.cancel(reason="a newer connection")
        self._close(one)

    def _leave(self, one: Opened) -> None:
        self._close(one)
        self._places.leave(one.connection_id)

    def _close(self, one: Opened) -> None:
        left = self._release(one)
        if left is not None:
            left.close()

    def _release(self, one: Opened) -> socket.socket | None:
        """Let go of its socket, where it has no link."""
        released, one.socket = one.socket, None
        self._held.pop(one.connection_id, None)
        self._whole.pop(one.connection_id, None)
        if released is not None:
            with suppress(KeyError):
                self._selector.unregister(released)
        return released

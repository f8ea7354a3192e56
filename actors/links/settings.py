"""What every link is given."""

from __future__ import annotations

import os
from collections.abc import Callable

import msgspec
import trio

from actors.kit.heavy import Heavy
from actors.links.capacity import ConnectionLimits
from actors.links.conversations import Notify, notify_nobody
from actors.links.frame_memory import FrameMemory
from actors.links.tools import Tools
from actors.messages import approvals
from protocol.ids import ConnectionId
from protocol.wire import messages as wire
from protocol.wire.auth import Verified

VerifyProof = Callable[[bytes, wire.Register], Verified | None]
"""``verify(nonce, register)``: None where the proof does not hold."""


class LinkSettings(msgspec.Struct, frozen=True, kw_only=True):
    daemon_version: str
    generation: int
    verify: VerifyProof
    next_connection_id: Callable[[], ConnectionId]
    """Never the same twice, over restarts of the links."""
    tools: Tools = Tools()
    notify: Notify = notify_nobody
    random_bytes: Callable[[int], bytes] = os.urandom
    capacity: ConnectionLimits | None = None
    """None: what the descriptors of the process allow, whose limit is raised."""
    approvals_tx: trio.MemorySendChannel[approvals.ApprovalsMessage] | None = None
    """None where nobody can be asked: every question is then answered ``cancelled``."""
    heavy: Heavy = msgspec.field(default_factory=Heavy)
    """Where the decoding of large frames waits for each other."""
    memory: FrameMemory = msgspec.field(default_factory=FrameMemory)
    """For large frames of all links."""
    cluster: str | None = None
    node: str | None = None
    successor: Callable[[], tuple[str, ...]] = lambda: ()
    """Where sessions are served next when this daemon leaves, as far as it knows."""

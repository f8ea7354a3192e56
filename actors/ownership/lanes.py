"""What lanes are to know, merged per session and sent beside ownership's loop.

Part of the ownership actor, which alone writes to it. However slowly the lanes' host
reads, what is kept is a few values for each session: the connection that speaks for it,
the rows taken from it, and that there is something for it.
"""

from __future__ import annotations

import trio

from actors.kit.mailbox import put
from actors.messages import lane
from protocol.ids import RowId, SessionId


class _Notices:
    """What one session's lane was not sent yet."""

    __slots__ = ("closed", "connection", "revoked", "wake")

    def __init__(self) -> None:
        self.connection: lane.Attached | lane.Detached | None = None
        self.revoked: dict[RowId, None] = {}
        self.closed: dict[RowId, None] = {}
        self.wake = False


class Lanes:
    """Notices to lanes. Adding one never waits."""

    def __init__(self, lanes_tx: trio.MemorySendChannel[lane.LaneMessage]) -> None:
        self._lanes_tx = lanes_tx
        self._unsent: dict[SessionId, _Notices] = {}
        self._work = trio.Event()

    def attach(self, message: lane.Attached) -> None:
        """A connection speaks for the session: all that was to be sent before is void."""
        notices = self._unsent[message.session_id] = _Notices()
        notices.connection = message
        self._work.set()

    def detach(self, message: lane.Detached) -> None:
        """That connection is over, and with it every older one."""
        notices = self._unsent[message.session_id] = _Notices()
        notices.connection = message
        self._work.set()

    def wake(self, session_id: SessionId) -> None:
        self._of(session_id).wake = True

    def revoke(self, session_id: SessionId, row_id: RowId) -> None:
        self._of(session_id).revoked[row_id] = None

    def row_closed(self, session_id: SessionId, row_id: RowId) -> None:
        self._of(session_id).closed[row_id] = None

    async def run(self) -> None:
        """Send until cancelled: session by session, in the order in which each had news."""
        while True:
            while self._unsent:
                session_id = next(iter(self._unsent))
                # Taken out before the first wait: what comes meanwhile is sent after it.
                for message in _messages(session_id, self._unsent.pop(session_id)):
                    await put(self._lanes_tx, message)
            self._work = trio.Event()
            await self._work.wait()

    def _of(self, session_id: SessionId) -> _Notices:
        self._work.set()
        return self._unsent.setdefault(session_id, _Notices())


def _messages(session_id: SessionId, notices: _Notices) -> list[lane.LaneMessage]:
    messages: list[lane.LaneMessage] = []
    if notices.connection is not None:
        messages.append(notices.connection)
    messages += [lane.RowRevoked(session_id=session_id, row_id=one) for one in notices.revoked]
    messages += [lane.RowClosed(session_id=session_id, row_id=one) for one in notices.closed]
    if notices.wake:
        messages.append(lane.Wake(session_id=session_id))
    return messages

"""What people in chats ask of ownership.

Part of the ownership actor: it alone changes the state, through the journal_client it gives here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from actors.messages import ownership
from actors.ownership.sessions import Sessions
from protocol.ids import SessionId
from protocol.routing import lease, targets

CommitChange = Callable[[lease.OwnershipState, targets.Moved], Awaitable[bool]]
"""``change(new, moved)``: let the new state stand, and the rows of moved chats follow."""


_CHANGES: Final = (ownership.Bind, ownership.SetReplyMode, ownership.Expect, ownership.Remove)


class People:
    def __init__(
        self, sessions: Sessions, state: Callable[[], lease.OwnershipState], change: CommitChange
    ) -> None:
        self._sessions = sessions
        self._state = state
        self._change = change

    async def handle(self, message: ownership.OwnershipMessage) -> None:
        if isinstance(message, _CHANGES) and message.reply.abandoned:
            message.reply.close()  # its asker has answered that nothing has changed
            return
        match message:
            case ownership.FindTarget(place=place):
                with message.reply:
                    message.reply.send(self._sessions.target(self._state(), place))
            case ownership.FindRunning(place=place):
                with message.reply:
                    message.reply.send(self._sessions.running(self._state(), place))
            case ownership.LookUp(place=place):
                with message.reply:
                    message.reply.send(self._sessions.chat_state(self._state(), place))
            case ownership.TurnShown(session_id=session_id, place=place):
                with message.reply:
                    background = targets.assigned(self._state(), place) != session_id
                    message.reply.send(background)
                    if background:
                        await self._sessions.mark(session_id, place, unread=True)
            case ownership.Bind():
                with message.reply:
                    message.reply.send(ownership.Stored(done=await self._bind(message)))
            case ownership.SetReplyMode(session_id=session_id, mode=mode):
                with message.reply:
                    done = await self._sessions.set_reply_mode(session_id, mode)
                    message.reply.send(ownership.Stored(done=done))
            case ownership.Expect(session_id=session_id, started=started):
                with message.reply:
                    done = await self._sessions.expect(session_id, started)
                    message.reply.send(ownership.Stored(done=done))
            case ownership.OwnTurnAt():
                self._sessions.own_turn(message)
            case ownership.FindStarted():
                with message.reply:
                    message.reply.send(self._sessions.started())
            case ownership.Remove(session_id=session_id):
                with message.reply:
                    message.reply.send(ownership.Stored(done=await self._remove(session_id)))

    async def _bind(self, wish: ownership.Bind) -> bool:
        """Bind the chat; what the session has done here counts as read then."""
        if wish.session_id is not None and not self._sessions.knows(wish.session_id):
            return False
        state = self._state()
        new = lease.bind(state, wish.place, wish.session_id)
        if not await self._change(new, targets.moved_chats(state, new, all_of_them=False)):
            return False
        session_id = targets.assigned(new, wish.place)
        if session_id is not None:
            await self._sessions.mark(session_id, wish.place, unread=False)
        return True

    async def _remove(self, session_id: SessionId) -> bool:
        state = self._state()
        new = lease.unbind_all(state, session_id)
        if not await self._change(new, targets.moved_chats(state, new, all_of_them=True)):
            return False
        await self._sessions.remove(session_id)
        return True

"""Who was here, who is at work, and what is unread: the part people see of sessions.

Part of the ownership actor, which alone uses it. What people are shown survives a
restart; which turns are in flight does not, and neither do the turns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from actors.messages import journal, ownership
from actors.ownership.journal_client import JournalClient
from protocol.ids import PlaceKey, RowId, SessionId, place_key
from protocol.routing import lease, roster, targets
from protocol.routing.delivery import Offer
from protocol.routing.roster import KnownSession, ReplyMode, SessionView, StartedAgent
from protocol.wire import vocabulary
from protocol.wire.vocabulary import Role

FORGET_EVERY_MS: Final = 1_000

log = structlog.get_logger()


class _InFlight(msgspec.Struct, frozen=True):
    row_id: RowId
    place: PlaceKey


class Sessions:
    """The roster of everybody known, and the turn in flight of each."""

    def __init__(self, journal_client: JournalClient, now_ms: Callable[[], int]) -> None:
        self._journal = journal_client
        self._now_ms = now_ms
        self._known: dict[SessionId, KnownSession] = {}
        self._forget_from_ms = 0
        self._unread: set[tuple[SessionId, PlaceKey]] = set()
        self._in_flight: dict[SessionId, _InFlight] = {}
        self._own_turns: dict[SessionId, tuple[int, PlaceKey | None]] = {}
        self._asking: set[SessionId] = set()  # for their next row, which may leave the queue now

    async def load(self) -> str | None:
        """Take what the journal keeps; return why it could not be read."""
        answer: roster.Roster | journal.Failed = await self._journal.ask(
            lambda reply: journal.LoadRoster(reply=reply)
        )
        if isinstance(answer, journal.Failed):
            return answer.reason
        self._known = {one.session_id: one for one in answer.sessions}
        self._unread = set(answer.unread)
        return None

    # ── who is known ────────────────────────────────────────────────────────

    def role(self, session_id: SessionId) -> Role | None:
        """Return the role the id belongs to; None: it was never registered."""
        known = self._known.get(session_id)
        return known.role if known else None

    def known(self, session: lease.Session) -> tuple[KnownSession, bool]:
        """Return what is to be remembered of a session that registers, and whether to wait.

        Its role, where it is new, is stored before anybody learns that the session is there.
        """
        before = self._known.get(session.session_id) or KnownSession(
            session_id=session.session_id, alias=session.alias
        )
        agent, cwd = roster.remembered(session.metadata)
        # A conversation is of an agent in a directory: elsewhere there is none to go on with.
        same = (agent, cwd) == (before.agent, before.cwd)
        known = msgspec.structs.replace(
            before,
            alias=session.alias,
            agent=agent,
            cwd=cwd,
            conversation=before.conversation if same else None,
            role=session.role,
            seen_at_ms=self._now_ms(),
        )
        return known, before.role != session.role

    async def came(
        self, session: lease.Session, known: KnownSession, live: lease.OwnershipState
    ) -> None:
        """Remember a session that registered, and forget who was away too long."""
        await self._save(known)
        self._in_flight.pop(session.session_id, None)
        self._own_turns.pop(session.session_id, None)
        now_ms = self._now_ms()
        if now_ms < self._forget_from_ms:
            return  # a thousand that come at once look through a thousand once
        self._forget_from_ms = now_ms + FORGET_EVERY_MS
        held = live.lease
        named = (held.owner, held.dispatcher, held.granted, *held.bindings.values())
        kept = {*live.sessions, *filter(None, named)}
        for gone in roster.forgotten(self._known.values(), kept, now_ms):
            await self._forget(gone)

    async def expect(self, session_id: SessionId, started: StartedAgent) -> bool:
        """Remember how a session's agent was started; return whether that is stored."""
        before = self._known.get(session_id) or KnownSession(
            session_id=session_id,
            alias=started.alias,
            agent=started.agent,
            cwd=started.cwd,
            seen_at_ms=self._now_ms(),
        )
        return await self._stored(msgspec.structs.replace(before, started=started))

    def started(self) -> tuple[KnownSession, ...]:
        """Return the sessions whose agents were started from a chat."""
        return tuple(one for one in self._known.values() if one.started is not None)

    async def remove(self, session_id: SessionId) -> None:
        """Forget a session, and what it left unread."""
        self._unread = {key for key in self._unread if key[0] != session_id}
        if session_id in self._known:
            await self._forget(session_id)

    async def left(self, session_id: SessionId) -> None:
        self._in_flight.pop(session_id, None)
        self._own_turns.pop(session_id, None)
        known = self._known.get(session_id)
        if known is not None:
            await self._save(msgspec.structs.replace(known, seen_at_ms=self._now_ms()))

    async def set_reply_mode(self, session_id: SessionId, mode: ReplyMode | None) -> bool:
        """Store how much of its turns a session shows; return whether that stands."""
        known = self._known.get(session_id)
        if known is None:
            return False
        return await self._stored(msgspec.structs.replace(known, reply_mode=mode))

    async def _stored(self, changed: KnownSession) -> bool:
        answer: journal.Done | journal.Failed = await self._journal.ask(
            lambda reply: journal.SaveSession(session=changed, reply=reply)
        )
        if isinstance(answer, journal.Failed):
            return False
        self._known[changed.session_id] = changed
        return True

    async def chose(self, session_id: SessionId, option: str, choice: str) -> None:
        """Remember what was chosen of a session's agent."""
        known = self._known.get(session_id)
        if known is not None:
            choices = {**known.choices, option: choice}
            await self._save(msgspec.structs.replace(known, choices=choices))

    async def conversed(self, report: ownership.ConversationReported) -> None:
        """Remember which conversation of its agent a session is in; not waited for."""
        before = self._known.get(report.session_id)
        if before is None:
            return
        now_ms = self._now_ms()
        conversation = None if report.lost else report.conversation
        known = msgspec.structs.replace(before, conversation=conversation)
        self._known[report.session_id] = known
        await self._journal.send(
            lambda reply: journal.NoteConversation(
                session=known, title=report.title, at_ms=now_ms, reply=reply
            )
        )

    def reply_mode(self, session_id: SessionId) -> ReplyMode | None:
        known = self._known.get(session_id)
        return known.reply_mode if known else None

    def knows(self, session_id: SessionId) -> bool:
        return session_id in self._known

    def alias(self, session_id: SessionId) -> str | None:
        known = self._known.get(session_id)
        return known.alias if known else None

    async def _forget(self, session_id: SessionId) -> None:
        del self._known[session_id]
        await self._journal.send(
            lambda reply: journal.ForgetSession(session_id=session_id, reply=reply)
        )

    async def _save(self, session: KnownSession) -> None:
        # Not waited for: if it is not stored, it is a name that is missing from a list.
        self._known[session.session_id] = session
        await self._journal.send(lambda reply: journal.SaveSession(session=session, reply=reply))

    # ── who is at work ──────────────────────────────────────────────────────

    def asks(self, session_id: SessionId) -> None:
        """The lane asks for its next row: what was in flight is over."""
        self._in_flight.pop(session_id, None)
        self._asking.add(session_id)

    def answered(self, session_id: SessionId) -> None:
        """It has its row, or there is none."""
        self._asking.discard(session_id)

    def began(self, session_id: SessionId, offer: Offer) -> None:
        self._in_flight[session_id] = _InFlight(
            offer.row_id,
            place_key(offer.account, offer.prompt.chat_id, offer.prompt.topic),
        )

    def own_turn(self, report: ownership.OwnTurnAt) -> None:
        """It has opened a turn of its own, or ended it; what was overtaken is dropped."""
        if report.number > self._own_turns.get(report.session_id, (0, None))[0]:
            self._own_turns[report.session_id] = report.number, report.place

    def running(self, state: lease.OwnershipState, place: PlaceKey) -> SessionId | None:
        """Return the session with a turn in flight of this chat; the one the chat is on is first.

        It is also the answer where there is none: it may be at a turn of its own.
        """
        found = [key for key, turn in self._in_flight.items() if turn.place == place]
        current = targets.assigned(state, place)
        return current if current in found else next(iter(found), current)

    def ended(self, row_id: RowId) -> None:
        for session_id, turn in list(self._in_flight.items()):
            if turn.row_id == row_id:
                del self._in_flight[session_id]

    # ── what is unread ──────────────────────────────────────────────────────

    async def mark(self, session_id: SessionId, place: PlaceKey, *, unread: bool) -> None:
        key = (session_id, place)
        if (key in self._unread) is unread or not self.knows(session_id):
            return
        (self._unread.add if unread else self._unread.discard)(key)
        await self._journal.send(
            lambda reply: journal.SaveUnread(
                session_id=session_id, place=place, unread=unread, reply=reply
            )
        )

    # ── what a chat sees ────────────────────────────────────────────────────

    def target(self, state: lease.OwnershipState, place: PlaceKey) -> ownership.ChatTarget:
        """Return the session the chat is on, and whether a prompt has to wait for it."""
        session_id = targets.assigned(state, place)
        live = state.sessions.get(session_id) if session_id else None
        if live is None:
            return ownership.ChatTarget(session_id=session_id, alias=None, live=False)
        busy = live.session_id in self._in_flight
        capacity = journal.Capacity(
            session_id=live.session_id,
            takes_unbound=targets.effective_target(state) == live.session_id,
            # One more while none is on its way yet, or about to be.
            waiting_max=ownership.WAITING_ROWS_MAX
            + (0 if busy or live.session_id in self._asking else 1),
        )
        takes_turns = vocabulary.CAPABILITY_TURNS in live.capabilities
        return ownership.ChatTarget(
            session_id=session_id,
            alias=live.alias,
            live=True,
            capacity=capacity if takes_turns else None,
            busy=busy,
        )

    def chat_state(self, state: lease.OwnershipState, place: PlaceKey) -> ownership.ChatState:
        current = targets.assigned(state, place)
        away = [
            one
            for one in sorted(self._known.values(), key=lambda one: -one.seen_at_ms)
            if one.session_id not in state.sessions
        ]
        here = [
            self._known.get(live.session_id)
            or KnownSession(session_id=live.session_id, alias=live.alias)
            for live in state.sessions.values()
        ]
        return ownership.ChatState(
            sessions=tuple(self._view(one, state, place, current) for one in (*here, *away)),
            current=current,
            bound=place in state.lease.bindings,
            owner=state.lease.owner or state.lease.dispatcher,
            unbound=targets.without_own(state, place),
            lease_epoch=state.lease.epoch,
        )

    def _view(
        self,
        known: KnownSession,
        state: lease.OwnershipState,
        place: PlaceKey,
        current: SessionId | None,
    ) -> SessionView:
        session_id = known.session_id
        live = state.sessions.get(session_id)
        turn = self._in_flight.get(session_id)
        _, own_place = self._own_turns.get(session_id, (0, None))
        shown_here = place in (own_place, None if turn is None else turn.place)
        return SessionView(
            session=known,
            live=live is not None,
            takes_turns=live is not None and vocabulary.CAPABILITY_TURNS in live.capabilities,
            busy=turn is not None,
            has_own_turn=own_place is not None,
            asks=session_id in self._asking,
            marked=(shown_here and session_id != current) or (session_id, place) in self._unread,
        )

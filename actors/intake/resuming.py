"""``/resume``: the earlier conversations of an agent in its directory, and taking one up."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from actors.intake.peers import COMMAND_WITHIN_S, Peers
from actors.intake.stop import Stopper
from actors.kit.clock import local_date_and_clock
from actors.kit.mailbox import ask_or
from actors.messages import journal, ownership
from protocol.agents.acp_sessions import CANNOT_RESUME
from protocol.ids import PlaceKey, SessionId
from protocol.platform.events import MessageReceived
from protocol.quoted import quoted
from protocol.routing.roster import SessionView
from protocol.strings import Text, about_agents, in_chat
from protocol.wire import messages as wire

LIST_WITHIN_S: Final = 70.0
"""The agent may have to be started for it."""
RESUME_WITHIN_S: Final = 110.0
LISTED_MAX: Final = 20
SHOWN_MAX: Final = 256
"""Places of which it is kept what was listed there last."""
TITLE_CHARACTERS_MAX: Final = 80

Earlier = list[wire.EarlierConversation]
Noted = tuple[wire.EarlierConversation, ...] | journal.Failed


class Resuming:
    def __init__(self, peers: Peers, stopper: Stopper) -> None:
        self._to = peers
        self._stopper = stopper
        self._shown: OrderedDict[tuple[PlaceKey, SessionId], Earlier] = OrderedDict()

    async def resume(
        self,
        message: MessageReceived,
        state: ownership.ChatState,
        args: tuple[str, ...],
        *,
        after_prompt: bool,
    ) -> Text:
        """List them, or go over to the one of that number, as it was listed here last.

        *after_prompt*: a prompt that came before is not on its way yet. What came before this
        belongs to the conversation that it came in.
        """
        current = _current(state)
        if current is None:
            return in_chat.NO_CURRENT_SESSION
        if not self._may(message, current):
            return about_agents.RESUME_NOT_ALLOWED
        if not current.live:
            return about_agents.SESSION_AWAY.format(alias=current.session.alias)
        if len(args) > 1 or not all(one.isdecimal() for one in args):
            return about_agents.RESUME_USAGE
        key = (self._to.place(message), current.session.session_id)
        if not args:
            found = await self._list(current)
            if isinstance(found, Text):
                return found
            self._remember(key, found)
            return _listing(current, found)
        earlier = self._shown.get(key) or await self._list(current)
        if isinstance(earlier, Text):
            return earlier
        at = int(args[0][:9])
        if not 1 <= at <= len(earlier):
            return about_agents.NO_CONVERSATION.format(number=at)
        if after_prompt or await self._at_work(key[0], state):
            running = in_chat.STILL_RUNNING.format(alias=current.session.alias)
            return Text(running.en.strip(), running.zh.strip())
        return await self._resume(current, earlier[at - 1])

    def _may(self, message: MessageReceived, current: SessionView) -> bool:
        """In a group, titles show what others wrote, and everybody is on the same conversation."""
        started = current.session.started
        return (
            message.chat_type == "p2p"
            or self._stopper.is_admin(message.sender_id)
            or (started is not None and started.by == message.sender_id)
        )

    async def _at_work(self, place: PlaceKey, state: ownership.ChatState) -> bool:
        """Whether the session has, or is about to have, a row that came before this."""
        current = state.current
        assert current is not None
        waiting: tuple[journal.WaitingRow, ...] | journal.Failed = await journal.ask_journal(
            self._to.journal_tx,
            lambda reply: journal.FindWaiting(
                session_id=current, takes_unbound=current == state.owner, limit=1, reply=reply
            ),
            within_s=COMMAND_WITHIN_S,
        )
        # In this order: what waits no more is in flight by now.
        now = await self._to.look_up(place)
        view = None if now is None or now.current != current else _current(now)
        return view is None or view.busy or view.asks or bool(waiting)

    async def _resume(self, current: SessionView, wanted: wire.EarlierConversation) -> Text:
        answer = await self._ask(current, wanted.id, RESUME_WITHIN_S)
        if not answer.ok:
            return _why_not(current, answer)
        return about_agents.RESUMED.format(title=_title(wanted))

    async def _list(self, current: SessionView) -> Earlier | Text:
        """Return what the agent lists, or else what was noted of it; or what to answer."""
        session = current.session
        answer = await self._ask(current, None, LIST_WITHIN_S)
        if not answer.ok:
            return _why_not(current, answer)
        found = answer.conversations
        if found is None:
            noted: Noted = await journal.ask_journal(
                self._to.journal_tx,
                lambda reply: journal.FindConversations(
                    agent=session.agent, cwd=session.cwd, limit=LISTED_MAX + 1, reply=reply
                ),
                within_s=COMMAND_WITHIN_S,
            )
            if isinstance(noted, journal.Failed):
                return in_chat.WHY_NOT_READ
            found = [one for one in noted if one.id != session.conversation]
        return found[:LISTED_MAX] or about_agents.NO_CONVERSATIONS.format(alias=session.alias)

    async def _ask(
        self, current: SessionView, conversation: str | None, within_s: float
    ) -> wire.Resumed:
        return await ask_or(
            self._to.ownership_tx,
            lambda reply: ownership.PassResume(
                session_id=current.session.session_id, conversation=conversation, reply=reply
            ),
            within_s=within_s,
            otherwise=lambda reason: wire.Resumed(n=0, ok=False, error=reason),
        )

    def _remember(self, key: tuple[PlaceKey, SessionId], shown: Earlier) -> None:
        self._shown.pop(key, None)
        self._shown[key] = shown
        if len(self._shown) > SHOWN_MAX:
            self._shown.popitem(last=False)


def _current(state: ownership.ChatState) -> SessionView | None:
    return next((one for one in state.sessions if one.session.session_id == state.current), None)


def _why_not(current: SessionView, answer: wire.Resumed) -> Text:
    if answer.error == CANNOT_RESUME:
        return about_agents.CONVERSATIONS_NOT_KEPT.format(alias=current.session.alias)
    return about_agents.RESUME_FAILED.format(reason=answer.error or "?")


def _title(one: wire.EarlierConversation) -> str:
    return quoted(one.title or one.id, TITLE_CHARACTERS_MAX)


def _listing(current: SessionView, found: Earlier) -> Text:
    text = about_agents.CONVERSATIONS.format(alias=current.session.alias, cwd=current.session.cwd)
    for at, one in enumerate(found, 1):
        when = "" if one.used_at is None else f" ({local_date_and_clock(one.used_at)})"
        text = text.plus(f"\n{at}. {_title(one)}{when}")
    return text.joined(about_agents.CONVERSATIONS_HOW)

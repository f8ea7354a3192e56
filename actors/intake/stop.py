"""Stopping a turn, as asked by a word, a command, or the button of a card."""

from __future__ import annotations

from collections.abc import Callable

from actors.intake.answers import Answers, ShownByCard
from actors.intake.peers import ASK_WITHIN_S, COMMAND_WITHIN_S, Peers
from actors.kit.mailbox import ask_or
from actors.messages import approvals, intake, journal, lane, ownership
from protocol.cards.approval import ApprovalPress, read_press
from protocol.ids import ChatId, OpenId, PlaceKey, SessionId, TurnId
from protocol.platform.events import CardAction, MessageReceived
from protocol.routing import access
from protocol.strings import Text, in_chat, on_card


class Stopper:
    """Asks lanes to stop, and answers people."""

    def __init__(
        self,
        peers: Peers,
        answers: Answers,
        policy: Callable[[], access.Policy],
    ) -> None:
        self._to = peers
        self._policy = policy
        self._answers = answers

    def is_stranger(self, message: MessageReceived) -> bool:
        return access.is_stranger(self._policy(), message.sender_id, message.chat_type)

    def may_choose(self, by: OpenId, chat_id: ChatId, chat_type: str) -> bool:
        """Whether the gate lets somebody use commands there at this moment."""
        policy = self._policy()
        admitted = chat_type in access.admitted_in(policy, by, chat_id)
        return admitted and not access.is_stranger(policy, by, chat_type)

    def is_admin(self, open_id: OpenId) -> bool:
        return open_id in self._policy().admins

    async def word(self, message: MessageReceived) -> Text | ShownByCard:
        """As :meth:`command`, but where a card shows Stopped that is the answer."""
        answer = await self._stop(message, answered=False)
        if isinstance(answer, lane.Stopped) and answer.mode == "streaming":
            return ShownByCard(session_id=answer.session_id, turn_id=answer.turn_id)
        return _text_of(answer)

    async def command(self, message: MessageReceived) -> Text:
        """Stop what runs in the chat, or the turn of the card that is quoted; return the answer."""
        return _text_of(await self._stop(message, answered=True))

    async def _stop(self, message: MessageReceived, *, answered: bool) -> lane.StopAnswer:
        place = self._to.place(message)
        quoted = await self._quoted_turn(message)
        if quoted is None:
            return await self._stop_in(place, message, answered=answered)
        return await self._ask_to_stop(
            quoted.session_id,
            quoted.turn_id,
            message.chat_id,
            message.sender_id,
            answered=answered,
        )

    async def _stop_in(
        self, place: PlaceKey, message: MessageReceived, *, answered: bool
    ) -> lane.StopAnswer:
        """Stop one turn that is shown there: of its session, else one of another's own."""
        answer: lane.StopAnswer = lane.NothingRunning()
        nobody: tuple[SessionId, ...] = ()
        for session_id in (
            await self._running(place),
            *await ask_or(
                self._to.lanes_tx,
                lambda reply: lane.FindOwnTurns(place=place, reply=reply),
                within_s=ASK_WITHIN_S,
                otherwise=lambda _reason: nobody,
            ),
        ):
            answer = await self._ask_to_stop(
                session_id,
                None,
                message.chat_id,
                message.sender_id,
                place=place,
                answered=answered,
            )
            if not isinstance(answer, lane.NothingRunning):
                break
        return answer

    async def _running(self, place: PlaceKey) -> SessionId | None:
        """Return the session with a turn in flight that was started from this place."""
        nobody: SessionId | None = None
        found: SessionId | None = await ask_or(
            self._to.ownership_tx,
            lambda reply: ownership.FindRunning(place=place, reply=reply),
            within_s=COMMAND_WITHIN_S,
            otherwise=lambda _reason: nobody,
        )
        return found

    async def _quoted_turn(self, message: MessageReceived) -> journal.CardTurn | None:
        quoted = message.parent_id
        if quoted is None:
            return None
        answer: journal.CardTurn | journal.Failed | None = await journal.ask_journal(
            self._to.journal_tx,
            lambda reply: journal.WhoseCard(message_id=quoted, reply=reply),
            within_s=ASK_WITHIN_S,
        )
        return None if isinstance(answer, journal.Failed) else answer

    async def session(self, message: MessageReceived, session_id: SessionId, alias: str) -> Text:
        """Stop what runs in the named session; return the answer."""
        answer = await self._ask_to_stop(
            session_id, None, message.chat_id, message.sender_id, answered=True
        )
        match answer:
            case lane.Stopped():
                return in_chat.STOPPED_NAMED.format(alias=alias)
            case lane.NotAllowed():
                return in_chat.NOT_ALLOWED_TO_STOP
        return in_chat.NOTHING_RUNNING

    async def press(self, action: CardAction) -> intake.Toast:
        """Somebody pressed a button of a card: answer at once what it did."""
        press = read_press(action.value, action.operator_id, action.chat_id)
        if press is not None:
            return await self._decide(press)
        session_id, turn_id = action.value.get("session"), action.value.get("turn")
        if (
            action.value.get("larkd") != "stop"
            or not isinstance(session_id, str)
            or not isinstance(turn_id, str)
            or action.chat_id is None
        ):
            return toast("warning", on_card.TOAST_UNKNOWN)
        answer = await self._ask_to_stop(
            SessionId(session_id), TurnId(turn_id), action.chat_id, action.operator_id
        )
        match answer:
            case lane.Stopped():
                return toast("success", on_card.TOAST_STOPPED)
            case lane.NotAllowed():
                return toast("warning", in_chat.NOT_ALLOWED_TO_STOP)
            case _:
                return toast("info", in_chat.NOTHING_RUNNING)

    async def _decide(self, press: ApprovalPress) -> intake.Toast:
        too_late = toast("info", on_card.TOAST_TOO_LATE)
        answer: intake.Toast = await ask_or(
            self._to.approvals_tx,
            lambda reply: approvals.Pressed(press=press, policy=self._policy(), reply=reply),
            within_s=ASK_WITHIN_S,
            otherwise=lambda _reason: too_late,
        )
        return answer

    async def _ask_to_stop(
        self,
        session_id: SessionId | None,
        turn_id: TurnId | None,
        chat_id: ChatId,
        by: OpenId,
        *,
        place: PlaceKey | None = None,
        answered: bool = False,
    ) -> lane.StopAnswer:
        if session_id is None:
            return lane.NothingRunning()
        return await ask_or(
            self._to.lanes_tx,
            lambda reply: lane.StopTurn(
                session_id=session_id,
                turn_id=turn_id,
                chat_id=chat_id,
                by=by,
                by_admin=self.is_admin(by),
                place=place,
                admitted_in=access.admitted_in(self._policy(), by, chat_id),
                reason="user",
                answered=answered,
                reply=reply,
            ),
            within_s=ASK_WITHIN_S,
            otherwise=lambda _reason: lane.NothingRunning(),
        )


def _text_of(answer: lane.StopAnswer) -> Text:
    match answer:
        case lane.Stopped():
            return in_chat.STOPPED_TASK
        case lane.NotAllowed():
            return in_chat.NOT_ALLOWED_TO_STOP
    return in_chat.NOTHING_RUNNING


def toast(kind: str, text: Text) -> intake.Toast:
    return intake.Toast(kind=kind, en=text.en, zh=text.zh)

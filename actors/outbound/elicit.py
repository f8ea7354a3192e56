"""``elicit`` and ``withdraw``: what an agent asks by its own protocol, on the card of ``ask``.

Tools of proxies, not of models: ``larkd acp`` calls them for its agent. The answer goes to the
proxy as a message of the link (``answer``), for the agent waits for it in its turn, and a turn is
given nothing else meanwhile. Once nobody waits for it, it is a message to the session.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from actors.messages import gateway, journal
from actors.messages.outbound import Caller
from actors.outbound.ask import OPEN_MAX, OPEN_MS_MAX
from actors.outbound.files import Sendable
from actors.outbound.peers import Peers, text_argument
from actors.outbound.reply import Messages, ReplyTarget, target
from protocol.agents.elicitation import FIELDS_MAX, web_address
from protocol.agents.form_fields import CannotAsk
from protocol.cards.question import BadQuestions, Elicitation
from protocol.cards.question_card import closed_card, elicited_card
from protocol.ids import AccountId, ChatId, MessageId
from protocol.platform.comments import place_of
from protocol.platform.outcomes import NoAnswer, RateLimited
from protocol.routing.channel_tools import ToolError
from protocol.strings import on_card

_QUESTION_ID: Final = re.compile(r"q_[0-9a-f]{24}", re.ASCII)
ELICITATION_BYTES_MAX: Final = 64 * 1024
"""A card holds less than half of it."""
NOWHERE: Final = "the session was never given a message; there is nobody to ask"


class _Place(msgspec.Struct, frozen=True):
    """Where the card goes."""

    account: AccountId
    chat_id: ChatId
    to: ReplyTarget | None
    topic: str | None


async def elicit(peers: Peers, caller: Caller, args: Mapping[str, Any]) -> str:
    """Send the card; return once it is out.

    Raises:
        ToolError: refused, or the card was not sent; nothing is open then.
    """
    question_id = _question_id(args)
    elicited = _elicited(args.get("elicitation"))
    try:
        card_json = elicited_card(question_id, elicited)
    except BadQuestions as wrong:
        raise ToolError(str(wrong)) from wrong
    place = await _place(peers, caller, args)
    if place_of(place.chat_id) is not None:
        raise ToolError("a document's comments show no cards")
    peers.eliciting[question_id] = False
    try:
        await _enter(peers, caller, place, question_id, elicited)
        await _send(peers, place, question_id, elicited, card_json)
    finally:
        peers.eliciting.pop(question_id, None)
    return f"Asked as {question_id}."


async def _send(
    peers: Peers, place: _Place, question_id: str, elicited: Elicitation, card_json: str
) -> None:
    card = Sendable(msg_type="interactive", content_json=card_json)
    messages = Messages(peers, place.account, place.chat_id, place.to)
    sent: MessageId | ToolError
    try:
        sent = await messages.send(card)
    except ToolError as refused:
        sent = refused
    if isinstance(sent, ToolError):
        await peers.ask_journal(
            lambda reply: journal.ForgetQuestion(question_id=question_id, reply=reply)
        )
        raise sent
    card_id = sent
    noted: journal.Done = await peers.ask_journal(
        lambda reply: journal.NoteQuestionCard(
            question_id=question_id, card_id=card_id, reply=reply
        )
    )
    # It may have been answered already, too: then the card shows that.
    if not noted.changed and peers.eliciting[question_id]:
        await _show_withdrawn(peers, place.account, card_id, elicited)


async def withdraw(peers: Peers, caller: Caller, args: Mapping[str, Any]) -> str:
    """Close a question that its agent does not ask any more; one that is closed stays as it is.

    Raises:
        ToolError: the journal does not answer.
    """
    question_id = _question_id(args)
    asked: journal.OpenQuestion | None = await peers.ask_journal(
        lambda reply: journal.FindQuestion(question_id=question_id, reply=reply)
    )
    if asked is None or asked.session_id != caller.session_id or asked.elicited is None:
        return "Nothing was open."
    elicited = asked.elicited
    done: journal.QuestionClosed = await peers.ask_journal(
        lambda reply: journal.CloseQuestion(
            question_id=question_id,
            card_id=None,
            last_card=closed_card(elicited, on_card.QUESTION_WITHDRAWN),
            reply=reply,
        )
    )
    if done.card_id is not None:  # it may have been noted since it was looked for
        await _show_withdrawn(peers, asked.account, done.card_id, elicited)
    elif done.changed and question_id in peers.eliciting:
        peers.eliciting[question_id] = True
    return "Withdrawn."


def _question_id(args: Mapping[str, Any]) -> str:
    question_id = text_argument(args, "question")
    if _QUESTION_ID.fullmatch(question_id) is None:
        raise ToolError("question must be q_ and 24 hexadecimal digits")
    return question_id


def _elicited(given: object) -> Elicitation:
    try:
        elicited = msgspec.convert(given, Elicitation)
        if elicited.url is not None:
            web_address(elicited.url)
    except (msgspec.ValidationError, CannotAsk) as wrong:
        raise ToolError(f"elicitation: {wrong}") from wrong
    if len(elicited.questions) > FIELDS_MAX:
        raise ToolError(f"elicitation: {FIELDS_MAX} questions at most")
    # Looked at before a card is built of it: that takes its time over each of many options.
    if len(msgspec.msgpack.encode(elicited)) > ELICITATION_BYTES_MAX:
        raise ToolError("elicitation: too long for one card")
    return elicited


async def _place(peers: Peers, caller: Caller, args: Mapping[str, Any]) -> _Place:
    """Return where the turn is shown: its own chat, or where the session's last one was."""
    if args.get("chat_id"):
        chat_id = ChatId(text_argument(args, "chat_id"))
        to = await target(peers, caller.session_id, chat_id, args.get("message_id"))
        account = await peers.account_of(caller.session_id, chat_id)
        return _Place(account, chat_id, to, None if to is None else to.topic)
    last: journal.TurnPlace | None = await peers.ask_journal(
        lambda reply: journal.FindTurnPlace(
            session_id=caller.session_id, account=None, chat_id=None, thread_id=None, reply=reply
        )
    )
    if last is None:
        raise ToolError(NOWHERE)
    # In a topic the card is a reply into it; elsewhere nobody has asked for it.
    to = ReplyTarget(last.message_id, last.topic) if last.thread_id is not None else None
    return _Place(last.account, last.chat_id, to, last.topic)


async def _enter(
    peers: Peers, caller: Caller, place: _Place, question_id: str, elicited: Elicitation
) -> None:
    known: journal.ChatKnownAs | None = await peers.ask_journal(
        lambda reply: journal.FindChat(chat_id=place.chat_id, reply=reply)
    )
    now_ms = peers.now_ms()
    stored: journal.Done = await peers.ask_journal(
        lambda reply: journal.EnterQuestion(
            question=journal.OpenQuestion(
                question_id=question_id,
                session_id=caller.session_id,
                account=place.account,
                chat_id=place.chat_id,
                chat_type="group" if known is None else known.chat.chat_type,
                questions=elicited.questions,
                asked_at_ms=now_ms,
                topic=place.topic,
                elicited=elicited,
            ),
            forget_before_ms=now_ms - OPEN_MS_MAX,
            open_max=OPEN_MAX,
            reply=reply,
        )
    )
    if not stored.changed:
        raise ToolError(f"{OPEN_MAX} questions of this session are open; wait for an answer")


async def _show_withdrawn(
    peers: Peers, account: AccountId, card_id: MessageId, elicited: Elicitation
) -> None:
    """Take the form off the card; where that fails, the ledger keeps it for the next start."""
    last_card = closed_card(elicited, on_card.QUESTION_WITHDRAWN)
    outcome = await peers.call(
        account, gateway.PatchMessage(message_id=card_id, content_json=last_card)
    )
    if not isinstance(outcome, NoAnswer | RateLimited):
        await peers.ask_journal(lambda reply: journal.ForgetApproval(entry_id=card_id, reply=reply))

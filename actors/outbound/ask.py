"""``ask``: questions on a card. It returns once the card is out; the answer is a message.

A question is in the journal before its card is sent, so that no press can come too early,
and it stays there, over restarts, until somebody answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from actors.messages import journal
from actors.messages.outbound import Caller
from actors.outbound.files import Sendable
from actors.outbound.peers import Peers, text_argument
from actors.outbound.reply import Messages, target
from protocol.cards.question import BadQuestions, read_questions
from protocol.cards.question_card import open_card
from protocol.ids import ChatId
from protocol.platform.comments import place_of
from protocol.routing.channel_tools import ToolError

QUESTION_ID_BYTES: Final = 12
OPEN_MAX: Final = 64
"""Of one session at once; one more is refused."""
OPEN_MS_MAX: Final = 14 * 24 * 3_600 * 1_000
"""As long as the platform lets a card be changed."""


async def ask(peers: Peers, caller: Caller, args: Mapping[str, Any]) -> str:
    """Send the card; return the id under which the answer will come.

    Raises:
        ToolError: refused, or the card was not sent; nothing is open then.
    """
    chat_id = ChatId(text_argument(args, "chat_id"))
    question_id = f"q_{peers.random_bytes(QUESTION_ID_BYTES).hex()}"
    try:
        questions = read_questions(args.get("questions"))
        card = Sendable(msg_type="interactive", content_json=open_card(question_id, questions))
    except BadQuestions as wrong:
        raise ToolError(str(wrong)) from wrong
    to = await target(peers, caller.session_id, chat_id, args.get("message_id"))
    account = await peers.account_of(caller.session_id, chat_id)
    if place_of(chat_id) is not None:
        raise ToolError("a document's comments show no cards; ask with reply instead")
    known: journal.ChatKnownAs | None = await peers.ask_journal(
        lambda reply: journal.FindChat(chat_id=chat_id, reply=reply)
    )
    now_ms = peers.now_ms()
    stored: journal.Done = await peers.ask_journal(
        lambda reply: journal.EnterQuestion(
            question=journal.OpenQuestion(
                question_id=question_id,
                session_id=caller.session_id,
                account=account,
                chat_id=chat_id,
                chat_type="group" if known is None else known.chat.chat_type,
                questions=questions,
                asked_at_ms=now_ms,
                topic=None if to is None else to.topic,
            ),
            forget_before_ms=now_ms - OPEN_MS_MAX,
            open_max=OPEN_MAX,
            reply=reply,
        )
    )
    if not stored.changed:
        raise ToolError(f"{OPEN_MAX} questions of this session are open; wait for an answer")
    failed: ToolError | None = None
    try:
        await Messages(peers, account, chat_id, to).send(card)
    except ToolError as refused:
        failed = refused
    if failed is not None:
        await peers.ask_journal(
            lambda reply: journal.ForgetQuestion(question_id=question_id, reply=reply)
        )
        raise failed
    return f"Asked as {question_id}."

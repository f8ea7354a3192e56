"""One line of ours to where a session was given its last message by a person."""

from __future__ import annotations

import msgspec
import structlog
import trio

from actors.messages import gateway, journal
from actors.outbound.peers import Peers, ToolError
from protocol import strings
from protocol.ids import SessionId, idempotency_key
from protocol.platform.outcomes import MessageSent, Outcome

NOTICE_WITHIN_S = 60.0

log = structlog.get_logger()


async def notify(
    peers: Peers, language: strings.Language, session_id: SessionId, text: strings.Text
) -> None:
    """Send *text* there, into the topic if it was one; a failure is logged, and no more.

    Nobody who has not written to the session is written to.
    """
    outcome: Outcome | str = "not in time"
    with trio.move_on_after(NOTICE_WITHIN_S):
        try:
            outcome = await _send(peers, language, session_id, text)
        except ToolError as failed:
            outcome = str(failed)
    if not isinstance(outcome, MessageSent):
        log.warning("session.notice_not_sent", session=session_id, outcome=str(outcome)[:500])


async def _send(
    peers: Peers, language: strings.Language, session_id: SessionId, text: strings.Text
) -> Outcome | str:
    place: journal.TurnPlace | None = await peers.ask_journal(
        lambda reply: journal.FindTurnPlace(
            session_id=session_id, account=None, chat_id=None, thread_id=None, reply=reply
        )
    )
    if place is None or place.account not in peers.gateways:
        return "it was never given a message"
    content = msgspec.json.encode({"text": text.speak(language)}).decode()
    uuid = idempotency_key("notice", session_id, peers.random_bytes(16).hex())
    operation: gateway.Operation = gateway.CreateMessage(
        chat_id=place.chat_id, msg_type="text", content_json=content, uuid=uuid
    )
    if place.thread_id is not None:
        operation = gateway.ReplyMessage(
            message_id=place.message_id,
            chat_id=place.chat_id,
            in_thread=True,
            msg_type="text",
            content_json=content,
            uuid=uuid,
        )
    return await peers.call(place.account, operation)

"""One line of ours to where a session was given its last message by a person."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import msgspec
import structlog
import trio

from actors.messages import gateway, journal
from actors.outbound.peers import Peers
from protocol.ids import SessionId, idempotency_key
from protocol.platform.outcomes import MessageSent, Outcome
from protocol.routing.channel_tools import ToolError
from protocol.strings import Language, Text

NOTICE_WITHIN_S: Final = 60.0
AGAIN_AFTER_S: Final = 300.0
REMEMBERED_MAX: Final = 1_024

log = structlog.get_logger()


class Notices:
    """Sends them; the same one to the same session once in a while only."""

    def __init__(self, peers: Peers, language: Language) -> None:
        self._peers = peers
        self._language = language
        self._sent_at: OrderedDict[tuple[SessionId, str], float] = OrderedDict()

    async def notify(self, session_id: SessionId, text: Text) -> None:
        """Send *text* there, into the topic if it was one; a failure is logged, and no more.

        Nobody who has not written to the session is written to. The same text is sent again
        after ``AGAIN_AFTER_S`` at the earliest: an agent may keep ending.
        """
        key, now = (session_id, text.en), trio.current_time()
        before = self._sent_at.pop(key, None)
        self._sent_at[key] = now if before is None or now - before >= AGAIN_AFTER_S else before
        if len(self._sent_at) > REMEMBERED_MAX:
            self._sent_at.popitem(last=False)
        if self._sent_at[key] != now:
            await trio.lowlevel.checkpoint()
            return
        outcome: Outcome | str = "not in time"
        with trio.move_on_after(NOTICE_WITHIN_S):
            try:
                outcome = await _send(self._peers, self._language, session_id, text)
            except ToolError as failed:
                outcome = str(failed)
        if not isinstance(outcome, MessageSent):
            log.warning("session.notice_not_sent", session=session_id, outcome=str(outcome)[:500])


async def _send(
    peers: Peers, language: Language, session_id: SessionId, text: Text
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

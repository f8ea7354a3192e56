"""``reply``: Markdown and files to a chat, as messages of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import structlog
import trio

from actors.messages import gateway, journal, ownership
from actors.messages.outbound import Caller
from actors.outbound.files import LocalFile, Sendable, read_files, upload
from actors.outbound.peers import JOURNAL_WITHIN_S, Peers, text_argument
from protocol.cards.reply import message_card, split
from protocol.ids import AccountId, ChatId, MessageId, SessionId, idempotency_key
from protocol.platform.outcomes import Gone, MessageSent, Outcome, Rejected
from protocol.routing.channel_tools import ToolError

REPLY_WITHIN_S: Final = 50.0
"""Of a whole reply: clients of MCP give a call a minute."""
CALL_ID_BYTES: Final = 16
UNANSWERED_ROWS_MAX: Final = 1_000

log = structlog.get_logger()


async def reply(peers: Peers, caller: Caller, args: Mapping[str, Any]) -> str:
    """Send, and mark what it answers as answered; return the result for the model.

    Raises:
        ToolError: refused, or a part was not sent; the text names what was.
    """
    session_id = caller.session_id
    chat_id = ChatId(text_argument(args, "chat_id"))
    text = text_argument(args, "text")
    to = await target(peers, session_id, chat_id, args.get("message_id"))
    account = await peers.account_of(session_id, chat_id)
    files = await read_files(peers, caller, args)
    messages = Messages(peers, account, chat_id, to)
    await messages.send_all(text, files)
    await _answered(peers, session_id, chat_id, None if to is None else to.message_id)
    return messages.done()


class ReplyTarget(msgspec.Struct, frozen=True):
    """The message that is replied to, and its topic where that is a place of its own."""

    message_id: MessageId
    topic: str | None = None


async def target(
    peers: Peers, session_id: SessionId, chat_id: ChatId, message_id: object
) -> ReplyTarget | None:
    """Return the message to reply to. One of another chat would be a way around the gate."""
    if message_id is None or message_id == "":
        return None
    if not isinstance(message_id, str):
        raise ToolError("message_id must be a string")
    found = await peers.message_at(session_id, MessageId(message_id))
    if found.chat_id != chat_id:
        raise ToolError(f"message {message_id} is in chat {found.chat_id}, not {chat_id}")
    return ReplyTarget(MessageId(message_id), found.topic)


class Messages:
    """The messages of one call, sent one after the other.

    *chat_id* may be the id or email address of a person: the platform finds their chat.
    """

    def __init__(
        self, peers: Peers, account: AccountId, chat_id: ChatId, to: ReplyTarget | None
    ) -> None:
        self._peers = peers
        self._account = account
        self._chat_id = chat_id
        self._to = to
        self._call_id = peers.random_bytes(CALL_ID_BYTES).hex()
        self._sent: list[MessageId] = []
        self._landed_in = chat_id

    async def send_all(self, text: str, files: tuple[LocalFile, ...]) -> None:
        """Send the text, in as many messages as it takes, then the files.

        Raises:
            ToolError: a part was not taken, or not in time; the text names what was before.
        """
        with trio.move_on_after(REPLY_WITHIN_S) as deadline:
            for part in split(text):
                card = message_card(part)
                await self.send(Sendable(msg_type="interactive", content_json=card))
            for file in files:
                await self.send(await upload(self._peers, self._account, file))
        if deadline.cancelled_caught:
            raise ToolError(f"not all was sent within {REPLY_WITHIN_S:g} s; {self.sent_before()}")

    async def send(self, content: Sendable) -> MessageId:
        """Send one message; return its id.

        Raises:
            ToolError: the platform did not take it; the text names what it took before.
        """
        outcome = await self._send(content)
        if not isinstance(outcome, MessageSent):
            reason = f"{outcome.message} ({outcome.code})" if isinstance(outcome, Rejected) else ""
            raise ToolError(
                f"part {len(self._sent) + 1} was not sent: {reason}; {self.sent_before()}"
            )
        self._sent.append(outcome.message_id)
        self._landed_in = outcome.chat_id or self._chat_id
        await self._note(outcome.message_id)
        return outcome.message_id

    async def _note(self, message_id: MessageId) -> None:
        """Note where it is, for those who quote it. It is sent, whatever the journal answers."""
        noted: journal.Done | journal.Failed = await journal.ask_journal(
            self._peers.journal_tx,
            lambda reply: journal.NoteSent(
                message_id=message_id,
                account=self._account,
                chat_id=self._landed_in,
                at_ms=self._peers.now_ms(),
                topic=None if self._to is None else self._to.topic,
                reply=reply,
            ),
            within_s=JOURNAL_WITHIN_S,
        )
        if isinstance(noted, journal.Failed):
            log.warning("message.not_noted", message=message_id, reason=noted.reason)

    async def _send(self, content: Sendable) -> Outcome:
        number = len(self._sent)
        if self._to is not None:
            outcome = await self._peers.call(
                self._account,
                gateway.ReplyMessage(
                    message_id=self._to.message_id,
                    chat_id=self._chat_id,
                    in_thread=self._to.topic is not None,
                    msg_type=content.msg_type,
                    content_json=content.content_json,
                    uuid=idempotency_key("reply", self._call_id, number),
                ),
            )
            if not isinstance(outcome, Gone):
                return outcome
        return await self._peers.call(
            self._account,
            gateway.CreateMessage(
                chat_id=self._chat_id,
                msg_type=content.msg_type,
                content_json=content.content_json,
                uuid=idempotency_key("post", self._call_id, number),
            ),
        )

    def done(self) -> str:
        """Return that all was sent, in the contract's words."""
        if len(self._sent) == 1:
            return f"Sent to {self._landed_in} as {self._sent[0]}."
        return f"Sent to {self._landed_in} in {len(self._sent)} messages."

    def sent_before(self) -> str:
        """Return what was sent before it failed."""
        if not self._sent:
            return "nothing was sent"
        return f"sent before to {self._landed_in}: {', '.join(self._sent)}"


async def _answered(
    peers: Peers, session_id: SessionId, chat_id: ChatId, to: MessageId | None
) -> None:
    """Close the row the reply names, or all that this session has of the chat.

    A journal that fails leaves them open: the caller is not notified, for it would send again.
    """
    rows: tuple[journal.UnansweredRow, ...] | journal.Failed = await journal.ask_journal(
        peers.journal_tx,
        lambda reply: journal.Unanswered(
            session_id=session_id,
            chat_id=chat_id,
            message_id=to,
            limit=UNANSWERED_ROWS_MAX,
            reply=reply,
        ),
        within_s=JOURNAL_WITHIN_S,
    )
    if isinstance(rows, journal.Failed):
        log.warning("rows.not_closed", session=session_id, chat=chat_id, reason=rows.reason)
        return
    for row in rows:
        await peers.ownership_tx.send(ownership.RowAnswered(row_id=row.row_id, by=session_id))

"""One turn's questions to the gateway and to the ledger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import msgspec
import structlog
import trio

from actors.kit.mailbox import Reply, ask_or
from actors.kit.retry import Pauses, Tries, while_it_helps
from actors.messages import gateway, journal
from actors.messages.turn import TurnOpening
from actors.turns.peers import Peers
from protocol.cards.card import Style
from protocol.cards.kept import Rest
from protocol.ids import CardId, idempotency_key
from protocol.platform.outcomes import MissingScope, Outcome, Rejected, again_after_s
from protocol.strings import Text, in_chat

PERMIT_WITHIN_S: Final = 300.0
CALL_WITHIN_S: Final = 20.0
"""The gateway's own deadline is 10 s, and the call may wait for its turn before."""
LEDGER_WITHIN_S: Final = 4.0
LINE_ANSWER_WITHIN_S: Final = 2.5
_LINE_TRIES: Final = Tries(
    again_after_s=again_after_s, pauses=Pauses(first_s=0.5, max_s=2.0), within_s=4.0
)

log = structlog.get_logger()


class TurnClient:
    """Asks gateway and journal for one turn. Nothing here raises but a cancellation."""

    def __init__(self, opening: TurnOpening, peers: Peers) -> None:
        self.opening = opening
        self.peers = peers
        self.gateway_tx = peers.gateways[opening.account]
        self.intake_tx = peers.intakes[opening.account]
        self.settle_pictures: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
        """Waits for the pictures of what is about to be sent for good."""
        self.note_unsent: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
        """Writes into the ledger what is still to be sent as messages, before each of them."""
        self.stop_is_answered = False
        """Whether the person who stopped the turn gets a message about it in any case."""
        self.shows_card: Callable[[], None] = lambda: None
        """Notifies the lane: people see a card of the turn."""
        self.shows_no_card: Callable[[], None] = lambda: None
        """Notifies the lane: a stop from now on is answered by a message."""

    def let_go(self) -> None:
        """Let go of who shows the turn: each holds the other, and all of the turn's text."""
        self.settle_pictures = self.note_unsent = trio.lowlevel.checkpoint
        self.shows_card = self.shows_no_card = lambda: None

    def ids(self) -> dict[str, str]:
        """Return what log lines about this turn name."""
        opening = self.opening
        return {
            "account": opening.account,
            "chat": opening.chat_id,
            "turn": opening.turn_id,
            "session": opening.session_id,
        }

    def style(self) -> Style:
        return Style(
            session_id=self.opening.session_id,
            turn_id=self.opening.turn_id,
            language=self.peers.language,
            tools=self.opening.reply_mode == "verbose",
            live=self.opening.reply_mode != "final",
            title=self.opening.title or "",
            stall_s=self.peers.stall_notice_s.get(self.opening.account, 0.0),
        )

    def addressed(self, rest: Rest, style: Style) -> Rest:
        """Return *rest* with where it goes, under which title."""
        return msgspec.structs.replace(
            rest,
            message_id=self.opening.message_id,
            topic=self.opening.topic,
            nonce=self.opening.nonce,
            title=style.title,
        )

    async def call(
        self,
        operation: gateway.Operation,
        priority: gateway.Priority,
        permit: int | None = None,
        *,
        answer_within_s: float | None = None,
    ) -> Outcome:
        waits_s = 0.0 if permit is not None else PERMIT_WITHIN_S
        return await gateway.call(
            self.gateway_tx,
            operation,
            priority,
            permit=permit,
            answer_within_s=answer_within_s,
            within_s=CALL_WITHIN_S + waits_s,
        )

    async def permit(
        self,
        apis: tuple[gateway.Api, ...],
        priority: gateway.Priority,
        card_id: CardId | None = None,
    ) -> gateway.Granted | None:
        """Wait for the right to make one call to one of *apis*; None: ask again."""
        return await ask_or(
            self.gateway_tx,
            lambda reply: gateway.Permit(
                apis=apis, priority=priority, card_id=card_id, reply=reply
            ),
            within_s=PERMIT_WITHIN_S,
            otherwise=_no_permit,
        )

    def reply(
        self, msg_type: gateway.MessageType, content_json: str, *names: str | int
    ) -> tuple[gateway.Operation, ...]:
        """Return the ways to send a message of this turn, the best first.

        A reply to the message that began the turn; into the chat where there is none, or
        it is recalled. *names* make the uuid of each, so that it can be sent again.
        """
        opening = self.opening
        chat = gateway.CreateMessage(
            chat_id=opening.chat_id,
            msg_type=msg_type,
            content_json=content_json,
            uuid=idempotency_key(opening.key, "chat", *names),
        )
        if opening.message_id is None:
            return (chat,)
        reply = gateway.ReplyMessage(
            message_id=opening.message_id,
            chat_id=opening.chat_id,
            msg_type=msg_type,
            content_json=content_json,
            uuid=idempotency_key(opening.key, *names),
            in_thread=opening.topic is not None,
        )
        return reply, chat

    async def send_text(self, text: Text, name: str) -> None:
        """Send one line to the person; what is refused as a reply goes to the chat.

        Tried for a few seconds: the rest of the turn waits for it. Once, or not at all.
        """
        content = msgspec.json.encode({"text": text.speak(self.peers.language)}).decode()
        for way in self.reply("text", content, name):
            send = partial(
                self.call, way, gateway.Priority.CREATE, answer_within_s=LINE_ANSWER_WITHIN_S
            )
            outcome = await while_it_helps(send, _LINE_TRIES)
            if not isinstance(outcome, Rejected) or again_after_s(outcome, 0.0) is not None:
                return

    async def ledger(
        self,
        build: Callable[[Reply[journal.Done | journal.Failed]], journal.JournalMessage],
    ) -> bool:
        """Write to the card ledger; return whether it was committed."""
        answer: journal.Done | journal.Failed = await journal.ask_journal(
            self.peers.journal_tx, build, within_s=LEDGER_WITHIN_S
        )
        if isinstance(answer, journal.Failed):
            log.error("feishu.card.ledger_failed", turn=self.opening.turn_id, reason=answer.reason)
            return False
        return True

    async def send_grant_notice(self, missing: MissingScope) -> None:
        """Send the page that grants a missing scope to the chat, once in a while."""
        opening = self.opening
        key = (opening.account, opening.chat_id, missing.scopes)
        if missing.grant_url is None or not self.peers.grants.due(key, self.peers.now_ms()):
            return
        await self.send_text(in_chat.GRANT_NEEDED.format(url=missing.grant_url), "grant")


def _no_permit(_reason: str) -> gateway.Granted | None:
    return None

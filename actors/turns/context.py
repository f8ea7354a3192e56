"""What every turn's actor is given, and its questions to gateway and journal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog
import trio

from actors.kit.cleanup import CleanupBudget
from actors.kit.mailbox import Reply, ask_or
from actors.messages import gateway, intake, journal, ownership, pictures
from actors.messages.turn import TurnOpening
from protocol.cards.card import Style
from protocol.ids import AccountId, idempotency_key
from protocol.platform.outcomes import MissingScope, NoAnswer, Outcome
from protocol.strings import GRANT_NEEDED, Language

PERMIT_WITHIN_S: Final = 300.0
CALL_WITHIN_S: Final = 20.0
"""The gateway's own deadline is 10 s, and the call may wait for its turn before."""
LEDGER_WITHIN_S: Final = 4.0

log = structlog.get_logger()


class GrantNotices(msgspec.Struct):
    """When the grant page was last told, by account, chat and scopes; one a daemon.

    Read and written in one step, so that it needs no owner of its own.
    """

    cooldown_ms: int
    told_at_ms: dict[tuple[str, str, tuple[str, ...]], int] = {}

    def due(self, key: tuple[str, str, tuple[str, ...]], now_ms: int) -> bool:
        """Say whether to tell now; if so it counts as told."""
        self.told_at_ms = {
            known: at for known, at in self.told_at_ms.items() if now_ms - at < self.cooldown_ms
        }
        if key in self.told_at_ms:
            return False
        self.told_at_ms[key] = now_ms
        return True


class TurnContext(msgspec.Struct, frozen=True, kw_only=True):
    gateways: dict[AccountId, trio.MemorySendChannel[gateway.GatewayMessage]]
    intakes: dict[AccountId, trio.MemorySendChannel[intake.IntakeMessage]]
    journal_tx: trio.MemorySendChannel[journal.JournalMessage]
    ownership_tx: trio.MemorySendChannel[ownership.OwnershipMessage]
    pictures_tx: trio.MemorySendChannel[pictures.PicturesMessage]
    picture_wait_s: float
    """How long plain replies wait for a picture before they are sent with a link."""
    cleanup: CleanupBudget
    language: Language
    now_ms: Callable[[], int]
    grants: GrantNotices


class TurnDoors:
    """One turn's way to the platform and to the ledger. Nothing here raises."""

    def __init__(self, opening: TurnOpening, context: TurnContext) -> None:
        self.opening = opening
        self.context = context
        self.gateway_tx = context.gateways[opening.account]
        self.intake_tx = context.intakes[opening.account]
        self.settle_pictures: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
        """Waits for the pictures of what is about to be sent for good."""

    def style(self) -> Style:
        return Style(
            session_id=self.opening.session_id,
            turn_id=self.opening.turn_id,
            language=self.context.language,
            tools=self.opening.reply_mode == "verbose",
            live=self.opening.reply_mode != "final",
        )

    async def call(
        self, operation: gateway.Operation, priority: gateway.Priority, permit: int | None = None
    ) -> Outcome:
        return await ask_or(
            self.gateway_tx,
            lambda reply: gateway.Call(
                operation=operation, priority=priority, permit=permit, reply=reply
            ),
            within_s=CALL_WITHIN_S if permit is not None else CALL_WITHIN_S + PERMIT_WITHIN_S,
            otherwise=lambda reason: NoAnswer(reason=reason),
        )

    async def permit(self, want: Callable[[Reply[gateway.Granted]], gateway.Permit]) -> int | None:
        """Wait for the right to make one call; None: ask again."""
        granted: gateway.Granted | None = await ask_or(
            self.gateway_tx, want, within_s=PERMIT_WITHIN_S, otherwise=_no_permit
        )
        return granted.permit if granted is not None else None

    async def ledger(
        self,
        build: Callable[[Reply[journal.Done | journal.Failed]], journal.JournalMessage],
    ) -> bool:
        """Write to the card ledger; say whether it was committed."""
        answer: journal.Done | journal.Failed = await ask_or(
            self.context.journal_tx,
            build,
            within_s=LEDGER_WITHIN_S,
            otherwise=lambda reason: journal.Failed(reason=reason),
        )
        if isinstance(answer, journal.Failed):
            log.error("feishu.card.ledger_failed", turn=self.opening.turn_id, reason=answer.reason)
            return False
        return True

    async def tell_grant(self, missing: MissingScope) -> None:
        """Send the page that grants a missing scope to the chat, once in a while."""
        opening = self.opening
        key = (opening.account, opening.chat_id, missing.scopes)
        if missing.grant_url is None or not self.context.grants.due(key, self.context.now_ms()):
            return
        text = GRANT_NEEDED.format(url=missing.grant_url).speak(self.context.language)
        await self.call(
            gateway.ReplyMessage(
                message_id=opening.message_id,
                chat_id=opening.chat_id,
                msg_type="text",
                content_json=msgspec.json.encode({"text": text}).decode(),
                uuid=idempotency_key(opening.turn_id, "grant"),
            ),
            gateway.Priority.FINAL,
        )


def _no_permit(_reason: str) -> gateway.Granted | None:
    return None

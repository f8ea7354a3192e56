"""Closing a card's entry in the ledger: the next start shows one left open as interrupted."""

from __future__ import annotations

from typing import Final

import structlog

from actors.kit.retry import Pauses, until_done, while_it_helps
from actors.messages import journal
from actors.turns.peers import Peers
from protocol.ids import CardId

CLOSE_TRY_WITHIN_S: Final = 4.0
_PAUSES: Final = Pauses(first_s=0.5, max_s=10.0)

log = structlog.get_logger()


async def close_entry(
    peers: Peers,
    card_id: CardId,
    outcome: journal.CardOutcome,
    *,
    within_s: float,
    instead_of: tuple[CardId, ...] = (),
) -> bool:
    """Close an entry, once; tried for *within_s* seconds. Return whether it is closed.

    *instead_of* are the entries whose content it had, closed in the same commit.
    """

    async def attempt() -> bool:
        answer: journal.Done | journal.Failed = await journal.ask_journal(
            peers.journal_tx,
            lambda reply: journal.CloseCard(
                card_id=card_id,
                outcome=outcome,
                instead_of=instead_of,
                at_ms=peers.now_ms(),
                reply=reply,
            ),
            within_s=CLOSE_TRY_WITHIN_S,
        )
        if isinstance(answer, journal.Failed):
            log.error("feishu.card.ledger_failed", card=card_id, reason=answer.reason)
        return isinstance(answer, journal.Done)

    closed = await while_it_helps(attempt, until_done(_PAUSES, within_s))
    if not closed:
        log.warning("feishu.card.not_closed", card=card_id, outcome=outcome)
    return closed

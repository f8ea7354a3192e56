"""Cards of requests brought to their last state by what the ledger knows of them.

An entry is made before its card is sent. So one whose message nobody knows may stand in
its chat with its buttons, or may never have left: the same call again answers which message
it is, and sends it at most once.
"""

from __future__ import annotations

from typing import Final

import structlog
import trio
from msgspec import Struct
from msgspec.structs import replace

from actors.approvals.peers import Peers
from actors.kit.retry import Pauses, Tries, until_done, while_it_helps
from actors.messages import gateway, journal
from protocol.ids import AccountId, MessageId, idempotency_key
from protocol.platform.outcomes import (
    Gone,
    MessageSent,
    NoAnswer,
    Outcome,
    Rejected,
    again_after_s,
)

CALL_WITHIN_S: Final = 30.0
LEDGER_WITHIN_S: Final = 4.0
AT_ONCE_MAX: Final = 16
GIVE_UP_AFTER_S: Final = 3_600.0
"""Then the ledger keeps the card for the next start."""
SAME_MESSAGE_FOR_MS: Final = 55 * 60 * 1000
"""The platform knows a uuid for an hour; after that the same call sends another message."""
_TRIES: Final = Tries(
    again_after_s=again_after_s, pauses=Pauses(first_s=0.5, max_s=15.0), within_s=300.0
)
_CLOSE_TRIES: Final = until_done(Pauses(first_s=1.0, max_s=60.0), GIVE_UP_AFTER_S)

log = structlog.get_logger()


class Sent(Struct, frozen=True, kw_only=True):
    """How a sending ended; *in_doubt*: the message may be there, whatever was answered last."""

    outcome: Outcome
    in_doubt: bool


async def send_opening(
    peers: Peers, entry: journal.ApprovalLeft, opening: journal.ApprovalOpening
) -> Sent:
    """Send the card of an entry; done twice within an hour, it is one message."""
    return await send(
        peers,
        entry.account,
        opening,
        msg_type="interactive",
        names=("approval", entry.entry_id),
    )


async def send(
    peers: Peers,
    account: AccountId,
    opening: journal.ApprovalOpening,
    *,
    msg_type: gateway.MessageType,
    names: tuple[str, str],
) -> Sent:
    """Reply to the message the agent works on; where that is gone, post to its chat.

    *names* make the uuid of each.
    """
    purpose, key = names
    sent = Sent(outcome=Gone(code=0, message="no message to reply to"), in_doubt=False)
    if opening.reply_to:
        reply = gateway.ReplyMessage(
            message_id=opening.reply_to,
            chat_id=opening.chat_id,
            in_thread=opening.in_thread,
            msg_type=msg_type,
            content_json=opening.content_json,
            uuid=idempotency_key(purpose, key),
        )
        sent = await _send(peers, account, reply)
    if isinstance(sent.outcome, Gone):
        create = gateway.CreateMessage(
            chat_id=opening.chat_id,
            msg_type=msg_type,
            content_json=opening.content_json,
            uuid=idempotency_key(f"{purpose}-chat", key),
        )
        sent = await _send(peers, account, create)
    return sent


async def _send(peers: Peers, account: AccountId, operation: gateway.Operation) -> Sent:
    unanswered = False

    async def attempt() -> Outcome:
        nonlocal unanswered
        outcome = await _call_once(peers, account, operation)
        unanswered = unanswered or isinstance(outcome, NoAnswer)
        return outcome

    outcome = await while_it_helps(attempt, _TRIES)
    return Sent(outcome=outcome, in_doubt=unanswered and not isinstance(outcome, MessageSent))


async def close_what_was_left(peers: Peers) -> None:
    """Close the cards an earlier run left open. What can't be closed stays for the next start."""
    left: tuple[journal.ApprovalLeft, ...] | journal.Failed
    left = await journal.ask_journal_until_stored(
        peers.journal_tx, lambda reply: journal.ApprovalsLeft(reply=reply), within_s=LEDGER_WITHIN_S
    )
    assert not isinstance(left, journal.Failed)  # asked until it was no failure
    at_once = {account: trio.CapacityLimiter(AT_ONCE_MAX) for account in peers.gateways}
    async with trio.open_nursery() as nursery:
        for entry in left:
            if entry.account in peers.gateways:
                nursery.start_soon(_close_when_free, peers, entry, at_once[entry.account])


async def _close_when_free(
    peers: Peers, entry: journal.ApprovalLeft, at_once: trio.CapacityLimiter
) -> None:
    async with at_once:
        await close_left(peers, entry)


async def close_left(peers: Peers, entry: journal.ApprovalLeft) -> None:
    """Bring a card to its last state, and out of the ledger once it is there.

    Tried for an hour; then the entry stays for the next start.
    """

    async def attempt() -> bool:
        nonlocal entry
        if entry.message_id is None:
            sent = await _find(peers, entry)
            if not isinstance(sent.outcome, MessageSent):
                return again_after_s(sent.outcome, 0.0) is None
            entry = replace(entry, message_id=sent.outcome.message_id)
        assert entry.message_id is not None
        return await _show_last(peers, entry.account, entry.message_id, entry.last_card)

    if await while_it_helps(attempt, _CLOSE_TRIES):
        await forget(peers, entry.entry_id)
    else:
        log.warning("approval.card_left_open", message=entry.message_id, entry=entry.entry_id)


async def _find(peers: Peers, entry: journal.ApprovalLeft) -> Sent:
    """Learn which message the card is, by sending it once more.

    After 55 minutes that would be a second card, and the one that may stand there keeps its
    buttons: a press on it is answered that it is too late. The chat's history has it, but an
    application reads the history of a group only with a scope that larkd does not ask for,
    ``im:message.group_msg``: every message of the group, for one card that does nothing.
    """
    opening = entry.opening
    if opening is None or peers.now_ms() - opening.sent_at_ms > SAME_MESSAGE_FOR_MS:
        log.warning("approval.card_not_found", entry=entry.entry_id)
        return Sent(outcome=Rejected(code=0, message="too long ago"), in_doubt=True)
    return await send_opening(peers, entry, opening)


async def _show_last(
    peers: Peers, account: AccountId, message_id: MessageId, card_json: str
) -> bool:
    """Return whether the card is in its last state, or the platform never takes that."""
    operation = gateway.PatchMessage(message_id=message_id, content_json=card_json)
    outcome = await call(peers, account, operation)
    if again_after_s(outcome, 0.0) is not None:
        return False
    if isinstance(outcome, Rejected) and not isinstance(outcome, Gone):
        log.warning("approval.card_refused", message=message_id, reason=outcome.message)
    return True


async def forget(peers: Peers, entry_id: str) -> None:
    """Take a card out of the ledger; tried for an hour, the next start would close it again."""
    with trio.move_on_after(GIVE_UP_AFTER_S):
        await journal.ask_journal_until_stored(
            peers.journal_tx,
            lambda reply: journal.ForgetApproval(entry_id=entry_id, reply=reply),
            within_s=LEDGER_WITHIN_S,
        )


async def call(peers: Peers, account: AccountId, operation: gateway.Operation) -> Outcome:
    """Make one call, again while that may help; every send has its own ``uuid``."""
    return await while_it_helps(lambda: _call_once(peers, account, operation), _TRIES)


async def _call_once(peers: Peers, account: AccountId, operation: gateway.Operation) -> Outcome:
    return await gateway.call(
        peers.gateways[account], operation, gateway.Priority.FINAL, within_s=CALL_WITHIN_S
    )

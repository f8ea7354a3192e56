"""Cards whose actor is gone, brought to their final state by what the ledger knows."""

from __future__ import annotations

from typing import Final

import structlog
import trio
from msgspec.structs import replace

from actors.messages import gateway, journal
from actors.messages.turn import TurnOpening
from actors.turns.client import CALL_WITHIN_S, LEDGER_WITHIN_S, PERMIT_WITHIN_S, TurnClient
from actors.turns.closing import close_entry
from actors.turns.entity import GONE_AGAIN_S
from actors.turns.peers import Peers
from actors.turns.static import StaticPresenter
from actors.turns.typing_mark import clear_typing
from protocol.cards.card import Style, view_repaired
from protocol.cards.cardplan import SEQUENCE_JUMP, repair_sequence
from protocol.cards.kept import restored, turn_of
from protocol.ids import OpenId, SessionId, idempotency_key
from protocol.platform.outcomes import (
    Accepted,
    Gone,
    Outcome,
    RateLimited,
    SequenceRefused,
    TooLarge,
)

AT_ONCE_MAX: Final = 16
FIRST_PASS_S: Final = 3.0
"""How long the connection waits for repairs before it opens beside them."""
FIRST_PASS_AFTER_ANOTHER_S: Final = 1.0
"""The same in a cluster, where a successor is to ack within 5 s of its holder's end: it claims
after up to 3.4 of them, and the connection itself takes a part of the rest."""
RETRY_FIRST_S: Final = 1.0
RETRY_MAX_S: Final = 60.0
GIVE_UP_AFTER_S: Final = 3_600.0
"""Then the card stays in the ledger for the next start."""

log = structlog.get_logger()


async def repair_cards(
    peers: Peers,
    *,
    first_pass: trio.Event | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Repair every card that an earlier run of the turns left open, and take away its Typing marks.

    Return when all are done or given up.

    Started when it knows them, or after 3 s (1 s in a cluster): neither a disk nor a platform
    that is away keeps the daemon from starting. *first_pass* is set when all are done, or as
    long after the start, so that a chat sees the end of its old card before anything new, where
    that can be had.
    """
    within_s = FIRST_PASS_AFTER_ANOTHER_S if peers.may_be_followed else FIRST_PASS_S
    at_once = trio.CapacityLimiter(AT_ONCE_MAX)
    known = trio.Event()
    passed = trio.Event() if first_pass is None else first_pass
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(clear_typing, peers)
            nursery.start_soon(_start_soon_enough, known, within_s, task_status)
            nursery.start_soon(_pass_soon_enough, passed, within_s)
            async with trio.open_nursery() as repairs:
                entries = await _open_cards(peers)
                known.set()
                for entry in entries:
                    # Also of this daemon: where lanes were cut in the middle of a call that hung.
                    if (entry.session_id, entry.turn_id) not in peers.showing:
                        repairs.start_soon(_repair, entry, peers, at_once)
            passed.set()
    finally:
        passed.set()


async def _start_soon_enough(
    known: trio.Event, within_s: float, task_status: trio.TaskStatus[None]
) -> None:
    with trio.move_on_after(within_s):
        await known.wait()
    task_status.started()


async def _pass_soon_enough(passed: trio.Event, within_s: float) -> None:
    with trio.move_on_after(within_s):
        await passed.wait()
    passed.set()


async def finish_crashed(opening: TurnOpening, peers: Peers) -> None:
    """Bring the cards of a turn whose actor crashed to their end, within the budget."""
    shown = (opening.session_id, opening.turn_id)
    peers.showing.add(shown)
    try:
        with peers.cleanup.shielded():
            at_once = trio.CapacityLimiter(AT_ONCE_MAX)
            async with trio.open_nursery() as nursery:
                for entry in await _open_cards(peers):
                    if (entry.session_id, entry.turn_id) == shown:
                        nursery.start_soon(_repair, entry, peers, at_once)
    finally:
        peers.showing.discard(shown)


async def _open_cards(peers: Peers) -> tuple[journal.LedgerEntry, ...]:
    """Ask until the journal can answer: a card that is not known now is known to nobody."""
    answer: tuple[journal.LedgerEntry, ...] | journal.Failed
    answer = await journal.ask_journal_until_stored(
        peers.journal_tx, lambda reply: journal.OpenCards(reply=reply), within_s=LEDGER_WITHIN_S
    )
    assert not isinstance(answer, journal.Failed)  # asked until it was no failure
    return answer


async def _repair(entry: journal.LedgerEntry, peers: Peers, at_once: trio.CapacityLimiter) -> None:
    gateway_tx = peers.gateways.get(entry.account)
    if gateway_tx is None:
        log.warning("feishu.card.account_gone", card=entry.card_id, account=entry.account)
        return
    # Also a card that may never have been sent: once too often rather than once too few.
    repaired = await _Repair(entry, peers, gateway_tx, at_once).bring_to_end()
    if repaired is None:
        return
    if not await close_entry(peers, entry.card_id, repaired, within_s=GIVE_UP_AFTER_S):
        return  # the next start shows the same once more
    log.info(
        "feishu.card.closed",
        account=entry.account,
        card=entry.card_id,
        turn=entry.turn_id,
        outcome=repaired,
        repaired=True,
    )


class _Repair:
    """One card's: updated until it is accepted, gone or given up; what it lacks as messages."""

    def __init__(
        self,
        entry: journal.LedgerEntry,
        peers: Peers,
        gateway_tx: trio.MemorySendChannel[gateway.GatewayMessage],
        at_once: trio.CapacityLimiter,
    ) -> None:
        self._entry = entry
        self._at_once = at_once
        self._peers = peers
        self._gateway_tx = gateway_tx
        self._seconds = max(0, peers.now_ms() - entry.opened_at_ms) / 1000
        self._text = entry.text
        self._rest = restored(entry.panels)[1]
        self._style = Style(
            session_id=SessionId(""),
            turn_id=entry.turn_id,
            language=peers.language,
            title=self._rest.title,
        )

    async def bring_to_end(self) -> journal.CardOutcome | None:
        """Return how it ended; None: it was given up."""
        outcome = await self._update() if self._entry.is_card else "aborted"
        if outcome is not None and (self._goes_on or not self._entry.is_card):
            await self._send_rest()
        return outcome

    @property
    def _goes_on(self) -> bool:
        return bool(self._rest.waiting or self._rest.texts)

    async def _update(self) -> journal.CardOutcome | None:
        entry, peers = self._entry, self._peers
        sequence = repair_sequence(entry.term, peers.term)
        if sequence is None:
            return "lost"
        pause_s = RETRY_FIRST_S
        gone_again = iter(GONE_AGAIN_S)
        until = trio.current_time() + GIVE_UP_AFTER_S
        while trio.current_time() < until:
            async with self._at_once:
                outcome = await self._call(sequence)
            match outcome:
                case Accepted():
                    return "aborted"
                case Gone():
                    if (again_s := next(gone_again, None)) is None:
                        self._read_nowhere()
                        return "lost"
                    await trio.sleep(again_s)
                case SequenceRefused():
                    sequence += SEQUENCE_JUMP
                case TooLarge() if self._shrink():
                    sequence += 1
                case RateLimited(retry_after_s=seconds):
                    await trio.sleep(seconds)
                case _:
                    log.warning(
                        "feishu.card.not_repaired", card=entry.card_id, outcome=repr(outcome)
                    )
                    await trio.sleep(pause_s)
                    pause_s = min(RETRY_MAX_S, pause_s * 2)
        return None

    def _shrink(self) -> bool:
        """Put less on the card; what was noted after its last update may be too much for one."""
        smaller = self._style.smaller()
        if smaller is not None:
            self._style = smaller
            return True
        kept = len(self._text) * 3 // 4
        more, self._text = self._text[kept:], self._text[:kept]
        if more:
            self._rest = replace(self._rest, texts=(more, *self._rest.texts))
        return bool(more)

    def _read_nowhere(self) -> None:
        """The card is gone; nobody knows how much of its text people have read on it."""
        if self._text and not self._rest.waiting and not self._rest.sent:
            texts = (self._text, *self._rest.texts)
            self._rest = replace(self._rest, texts=texts, sure=False)

    async def _send_rest(self) -> None:
        """Send what stands on no card as replies to the message the card replied to."""
        entry, rest = self._entry, self._rest
        opening = TurnOpening(
            turn_id=entry.turn_id,
            session_id=entry.session_id,
            alias=entry.session_alias,
            account=entry.account,
            chat_id=entry.chat_id,
            message_id=rest.message_id,
            sender_id=OpenId(""),
            chat_type="p2p",
            mode="static",
            topic=rest.topic,
            nonce=rest.nonce,
        )
        client = TurnClient(opening, self._peers)
        messages = StaticPresenter(turn_of(rest, self._seconds), client, sure=rest.sure)
        # Numbered on, where a presenter has numbered its messages; else this entry's own.
        numbered = rest.waiting or rest.sent or not entry.is_card
        messages.resume(rest, "static" if numbered else f"repaired {entry.card_id}")
        await messages.show()

    async def _call(self, sequence: int) -> Outcome:
        turn = restored(self._entry.panels)[0]
        view = view_repaired(self._style, turn, self._text, self._seconds, goes_on=self._goes_on)
        card_id = self._entry.card_id
        operation = gateway.UpdateCard(
            card_id=card_id,
            card_json=view.card_json,
            sequence=sequence,
            uuid=idempotency_key(card_id, sequence),
        )
        return await gateway.call(
            self._gateway_tx,
            operation,
            gateway.Priority.FINAL,
            within_s=CALL_WITHIN_S + PERMIT_WITHIN_S,
        )

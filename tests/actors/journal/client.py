"""What a test asks the store, one message to a batch, in plain calls."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Collection
from typing import Any, Literal, TypedDict, Unpack

from actors.journal import SqliteStore, Store
from actors.journal.postgres import PostgresStore
from actors.kit.mailbox import Answer, Reply
from actors.messages import journal
from protocol.ids import (
    AccountId,
    CardId,
    ChatId,
    ConnectionId,
    EventId,
    MessageId,
    OpenId,
    PlaceKey,
    RowId,
    SessionId,
    TurnId,
)
from protocol.routing.delivery import EventKind, Offer, Prompt, RowState, StoredEvent
from protocol.routing.history import MessageHistory
from protocol.routing.lease import LeaseState
from protocol.routing.targets import Moved

ACCOUNT = AccountId("default")
GROWING_TABLES = frozenset({"inbound", "content", "card", "sent"})
"""Tables whose size grows with the age of the installation."""
NOBODY: Reply[Any] = Reply(Answer())
"""For messages whose answer is what ``Store.apply`` returns."""
_DROPS = itertools.count(1)
"""Questions to drop what waits; a journal that is opened again has those of before."""


def prompt(place: str = "oc_1", content: str = "hello", message: str = "om_1") -> Prompt:
    """Return a message of a chat, or of a topic: ``oc_1#omt_1``."""
    chat, _, topic = place.partition("#")
    return Prompt(
        kind="message",
        chat_id=ChatId(chat),
        topic=topic or None,
        message_id=MessageId(message),
        sender_id=OpenId("ou_1"),
        chat_type="p2p",
        content=content,
    )


def append_message(
    event: str,
    *,
    key: str | None = None,
    account: str = ACCOUNT,
    kind: EventKind = "message",
    payload: bytes = b"{}",
    at_ms: int = 1_000,
    reply: Reply[Any] = NOBODY,
) -> journal.Append:
    return journal.Append(
        account=AccountId(account),
        event_id=EventId(event),
        message_key=key,
        kind=kind,
        payload=payload,
        received_at_ms=at_ms,
        reply=reply,
    )


def entry(card: str = "c1", *, at_ms: int = 1, alias: str = "blue") -> journal.LedgerEntry:
    return journal.LedgerEntry(
        card_id=CardId(card),
        account=ACCOUNT,
        chat_id=ChatId("oc_1"),
        turn_id=TurnId(f"turn_{card}"),
        session_id=SessionId("s"),
        session_alias=alias,
        opened_at_ms=at_ms,
    )


class Offering(TypedDict, total=False):
    """How a row is asked for; without it, as by a session that takes what is bound to nobody."""

    unbound: bool
    epoch: int
    joins: bool


class JournalClient:
    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def db(self) -> sqlite3.Connection:
        """The file's connection, for what only SQLite's store is asked."""
        assert isinstance(self.store, SqliteStore)
        return self.store._db

    def disconnect(self) -> None:
        """Close the connection and nothing else, as a process that dies does."""
        if isinstance(self.store, PostgresStore):
            self.store._connection.close()
            self.store._line.close()
        else:
            self.db.close()

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement of the test's own on the store's connection, and commit it."""
        if isinstance(self.store, PostgresStore):
            cursor = self.store._connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []
        return self.db.execute(statement).fetchall()

    def ask(self, message: journal.JournalMessage) -> Any:
        (answer,) = self.store.apply([message])
        return answer

    def append(self, event: str, **fields: Any) -> journal.Appended:
        answer: journal.Appended = self.ask(append_message(event, **fields))
        assert isinstance(answer, journal.Appended), answer
        return answer

    def ready(self, event: str, chat: str = "oc_1", content: str = "hello") -> RowId:
        """Append a row and prepare it."""
        row_id = self.append(event).row_id
        assert self.prepare(row_id, chat, content=content)
        return row_id

    def prepare(
        self,
        row_id: int,
        chat: str = "oc_1",
        capacity: journal.Capacity | None = None,
        content: str = "hello",
        *,
        joined: Collection[int] = (),
        joined_to: int | None = None,
    ) -> bool | None:
        """Return whether the row, and those *joined*, became ready; None: too many wait."""
        texts = {row_id: content, **{row: f"{content} {row}" for row in joined}}
        message = journal.Prepare(
            rows=tuple(
                journal.PreparedRow(row_id=RowId(row), prompt=prompt(chat, text, f"om_{row}"))
                for row, text in texts.items()
            ),
            joined_to=RowId(joined_to or row_id) if joined else None,
            capacity=capacity,
            reply=NOBODY,
        )
        answer = self.ask(message)
        if isinstance(answer, journal.LaneFull):
            return None
        assert isinstance(answer, journal.Done), answer
        return answer.changed

    def dispatch(self, row_id: int, place: str) -> bool:
        chat, _, topic = place.partition("#")
        return self._changed(
            journal.Dispatch(
                row_id=RowId(row_id), chat_id=ChatId(chat), topic=topic or None, reply=NOBODY
            )
        )

    def waiting(self, session: str, *, unbound: bool, limit: int = 100) -> list[int]:
        rows: tuple[journal.WaitingRow, ...] = self.ask(
            journal.FindWaiting(
                session_id=SessionId(session), takes_unbound=unbound, limit=limit, reply=NOBODY
            )
        )
        return [row.row_id for row in rows]

    def drop_waiting(self, row_ids: Collection[int], at_ms: int | None = None) -> list[int]:
        """Ask for it, each time anew unless *at_ms* names the question of before."""
        dropped: tuple[RowId, ...] = self.ask(
            journal.DropWaiting(
                row_ids=tuple(map(RowId, row_ids)),
                note="dropped",
                at_ms=next(_DROPS) if at_ms is None else at_ms,
                reply=NOBODY,
            )
        )
        return list(dropped)

    def drop_message(self, account: str, key: str) -> bool:
        return self._changed(
            journal.DropMessage(
                account=AccountId(account), message_key=key, note="recalled", at_ms=1, reply=NOBODY
            )
        )

    def history(
        self, key: str | None = None, chat: str = "oc_1", topic: str | None = None
    ) -> MessageHistory | None:
        """Ask what became of a message, or of the chat's latest."""
        found: MessageHistory | None = self.ask(
            journal.FindHistory(
                account=ACCOUNT,
                chat_id=ChatId(chat),
                topic=topic,
                message_id=None if key is None else MessageId(key),
                reply=NOBODY,
            )
        )
        return found

    def unprepared(
        self, *, account: str = ACCOUNT, after: int = 0, limit: int = 100
    ) -> tuple[StoredEvent, ...]:
        answer: tuple[StoredEvent, ...] = self.ask(
            journal.Unprepared(
                account=AccountId(account), after_row=RowId(after), limit=limit, reply=NOBODY
            )
        )
        assert isinstance(answer, tuple), answer
        return answer

    def offer(
        self, session: str = "s", connection: int = 1, **how: Unpack[Offering]
    ) -> Offer | None:
        offers = self.offers(session, connection, **how)
        assert len(offers) < 2, offers
        return offers[0] if offers else None

    def offers(
        self, session: str = "s", connection: int = 1, rows_max: int = 1, **how: Unpack[Offering]
    ) -> tuple[Offer, ...]:
        answer: tuple[Offer, ...] = self.ask(
            journal.OfferNext(
                session_id=SessionId(session),
                takes_unbound=how.get("unbound", True),
                joins=how.get("joins", True),
                connection_id=ConnectionId(connection),
                lease_epoch=how.get("epoch", 1),
                at_ms=2_000,
                rows_max=rows_max,
                reply=NOBODY,
            )
        )
        assert isinstance(answer, tuple), answer
        return answer

    def offered_rows(
        self, session: str = "s", connection: int = 1, **how: Unpack[Offering]
    ) -> list[int]:
        """Take all there is for the session."""
        rows: list[int] = []
        while offer := self.offer(session, connection, **how):
            rows.append(offer.row_id)
        return rows

    def acked(self, event: str, attempt: int = 1, connection: int = 1, at_ms: int = 3_000) -> bool:
        return self._changed(
            journal.Acked(
                event_id=EventId(event),
                attempt=attempt,
                connection_id=ConnectionId(connection),
                at_ms=at_ms,
                reply=NOBODY,
            )
        )

    def release(self, connection: int | None = None, rows: tuple[int, ...] | None = None) -> bool:
        return self._changed(
            journal.Release(
                connection_id=None if connection is None else ConnectionId(connection),
                row_ids=None if rows is None else tuple(RowId(row) for row in rows),
                reply=NOBODY,
            )
        )

    def close(
        self, row_id: int, state: RowState = RowState.ANSWERED, note: str | None = None
    ) -> bool:
        return self._changed(
            journal.Close(row_id=RowId(row_id), state=state, note=note, at_ms=4_000, reply=NOBODY)
        )

    def queue(self) -> journal.QueueState:
        answer: journal.QueueState = self.ask(journal.Queue(reply=NOBODY))
        assert isinstance(answer, journal.QueueState), answer
        return answer

    def prune(self, before_ms: int, limit: int = 100) -> bool:
        return self._changed(journal.Prune(before_ms=before_ms, limit=limit, reply=NOBODY))

    def lease(self) -> LeaseState:
        answer: LeaseState = self.ask(journal.LoadLease(reply=NOBODY))
        assert isinstance(answer, LeaseState), answer
        return answer

    def save_lease(
        self,
        lease: LeaseState,
        moved: Collection[str] = (),
        staying: Collection[SessionId | None] = (),
    ) -> bool:
        which = Moved(frozenset(map(PlaceKey, moved)), frozenset(staying))
        return self._changed(journal.SaveLease(lease=lease, moved=which, reply=NOBODY))

    def bind(
        self,
        bindings: dict[str, str],
        moved: Collection[str] = (),
        staying: Collection[SessionId | None] = (),
    ) -> bool:
        """Replace all bindings of chats to sessions; rows of *moved* chats follow."""
        return self.save_lease(
            LeaseState(
                bindings={PlaceKey(chat): SessionId(session) for chat, session in bindings.items()}
            ),
            moved,
            staying,
        )

    def open_card(self, card: journal.LedgerEntry) -> bool:
        return self._changed(journal.OpenCard(entry=card, reply=NOBODY))

    def note_card(
        self,
        card: str,
        *,
        message: str | None = None,
        text: str | None = None,
        panels: bytes | None = None,
        instead_of: tuple[str, ...] = (),
    ) -> bool:
        return self._changed(
            journal.NoteCard(
                card_id=CardId(card),
                message_id=None if message is None else MessageId(message),
                text=text,
                panels=panels,
                instead_of=tuple(map(CardId, instead_of)),
                at_ms=10,
                reply=NOBODY,
            )
        )

    def enter_typing(self, message: str, reaction: str | None = None, turn: str = "t_1") -> bool:
        mark = journal.TypingEntry(
            message_id=MessageId(message),
            turn_id=TurnId(turn),
            account=ACCOUNT,
            reaction_id=reaction,
            term=1,
        )
        return self._changed(journal.EnterTyping(entry=mark, reply=NOBODY))

    def typing_left(self, *, term: int = 2) -> dict[str, str | None]:
        (answer,) = self.store.apply([journal.TypingLeft(term=term, reply=NOBODY)])
        assert isinstance(answer, tuple)
        return {mark.message_id: mark.reaction_id for mark in answer}

    def forget_typing(self, message: str, turn: str = "t_1") -> None:
        forget = journal.ForgetTyping(
            message_id=MessageId(message), turn_id=TurnId(turn), reply=NOBODY
        )
        self.store.apply([forget])

    def enter_approval(self, entry: journal.ApprovalLeft) -> bool:
        return self._changed(journal.EnterApproval(entry=entry, reply=NOBODY))

    def approvals_left(self) -> tuple[journal.ApprovalLeft, ...]:
        (answer,) = self.store.apply([journal.ApprovalsLeft(reply=NOBODY)])
        assert isinstance(answer, tuple)
        return answer

    def forget_approval(self, entry_id: str) -> bool:
        return self._changed(journal.ForgetApproval(entry_id=entry_id, reply=NOBODY))

    def close_card(
        self,
        card: str,
        outcome: Literal["complete", "aborted", "error", "lost"] = "complete",
        at_ms: int = 10,
        instead_of: tuple[str, ...] = (),
    ) -> bool:
        return self._changed(
            journal.CloseCard(
                card_id=CardId(card),
                outcome=outcome,
                instead_of=tuple(map(CardId, instead_of)),
                at_ms=at_ms,
                reply=NOBODY,
            )
        )

    def open_cards(self) -> tuple[journal.LedgerEntry, ...]:
        answer: tuple[journal.LedgerEntry, ...] = self.ask(journal.OpenCards(reply=NOBODY))
        assert isinstance(answer, tuple), answer
        return answer

    def _changed(self, message: journal.JournalMessage) -> bool:
        answer = self.ask(message)
        assert isinstance(answer, journal.Done), answer
        return answer.changed

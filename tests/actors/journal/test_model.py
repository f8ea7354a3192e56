"""The journal against a naive model of itself: any order of messages, with restarts.

The model is a list of rows and two dictionaries; it knows no indexes, no SQL and no
transactions, only what ``actors.messages.journal`` and the contract state.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from actors.journal import OpenStore, sqlite_store
from actors.messages import journal
from protocol.ids import AccountId, ChatId, PlaceKey, RowId, SessionId, place_key
from protocol.routing.delivery import CLOSED_STATES, RowState
from protocol.routing.lease import LeaseState
from tests.actors.journal.client import JournalClient, append_message
from tests.actors.journal.stores import on_postgres
from tests.kit.postgres import Server
from tests.kit.sizes import examples

EVENTS = st.integers(0, 12).map("e{}".format)
KEYS = st.none() | st.integers(0, 6).map("om_{}".format)
ACCOUNTS = st.sampled_from(("default", "b"))
CHATS = st.sampled_from(("oc_1", "oc_2", "oc_3"))
PLACES = st.builds(place_key, ACCOUNTS.map(AccountId), CHATS.map(ChatId))
SESSIONS = st.sampled_from(("s", "t"))
CONNECTIONS = st.integers(1, 3)
ROWS = st.integers(1, 12)
STAYING = st.none() | SESSIONS.map(SessionId)
SAVED_LEASES = st.builds(
    LeaseState,
    owner=st.none() | SESSIONS.map(SessionId),
    epoch=st.integers(0, 5),
    bindings=st.dictionaries(PLACES, SESSIONS.map(SessionId)),
)


class ModelRow(msgspec.Struct):
    row_id: int
    account: str
    event: str
    key: str | None
    received_at_ms: int
    state: RowState = RowState.RECEIVED
    chat: str = ""
    dispatched: bool = False
    dispatched_to: str | None = None
    attempt: int = 0
    connection: int | None = None
    joined_to: int | None = None
    refused: bool = False
    """By a full lane, once: it stays refused."""

    @property
    def prompt(self) -> int:
        """The same for all rows of one prompt."""
        return self.row_id if self.joined_to is None else -self.joined_to

    @property
    def place(self) -> PlaceKey:
        """What a binding names: the chat as its row's account knows it."""
        return place_key(AccountId(self.account), ChatId(self.chat))


class JournalAgainstModel(RuleBasedStateMachine):
    """*new_journal* makes what opens one and the same new journal again and again."""

    client: JournalClient

    def __init__(self, new_journal: Callable[[Path], OpenStore]) -> None:
        super().__init__()
        self.new_journal = new_journal

    @initialize()
    def open_first(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.open = self.new_journal(Path(self.directory.name) / "larkd.db")
        self.client = JournalClient(self.open())
        self.rows: list[ModelRow] = []
        self.last_row = 0
        self.lease = LeaseState()
        self.generation = 1

    def teardown(self) -> None:
        if hasattr(self, "client"):
            self.client.store.close()
            self.directory.cleanup()

    # ── what the model would do ─────────────────────────────────────────────

    def row(self, row_id: int) -> ModelRow | None:
        return next((row for row in self.rows if row.row_id == row_id), None)

    def stored(self, account: str, event: str, key: str | None) -> journal.Appended:
        same = [row for row in self.rows if row.event == event] or [
            row for row in self.rows if key is not None and (row.account, row.key) == (account, key)
        ]
        if same:
            return journal.Appended(row_id=RowId(same[0].row_id), duplicate=True)
        self.last_row += 1
        at_ms = 1_000 - self.last_row * 10  # so that the oldest is not the first
        self.rows.append(ModelRow(self.last_row, account, event, key, at_ms))
        return journal.Appended(row_id=RowId(self.last_row), duplicate=False)

    def offered_next(self, session: str, *, unbound: bool) -> ModelRow | None:
        return next(iter(self.waiting_for(session, unbound=unbound)), None)

    def together(self, row: ModelRow) -> list[ModelRow]:
        """Return the row, and those joined to it that are in its state."""
        return [one for one in self.rows if one.prompt == row.prompt and one.state is row.state]

    def waiting_for(self, session: str, *, unbound: bool) -> list[ModelRow]:
        sources = (session, None) if unbound else (session,)
        return [
            row for row in self.rows if row.state is RowState.READY and row.dispatched_to in sources
        ]

    def dispatched(self, row: ModelRow, chat: str) -> None:
        row.chat = chat
        if not row.dispatched:
            row.dispatched_to = self.lease.bindings.get(row.place)
        row.dispatched = True

    # ── messages ────────────────────────────────────────────────────────────

    @rule(events=st.lists(st.tuples(ACCOUNTS, EVENTS, KEYS), min_size=1, max_size=4))
    def append_together(self, events: list[tuple[str, str, str | None]]) -> None:
        expected, batch = [], []
        for account, event, key in events:
            expected.append(self.stored(account, event, key))
            batch.append(
                append_message(
                    event,
                    key=key,
                    account=account,
                    at_ms=1_000 - expected[-1].row_id * 10,
                )
            )
        assert self.client.store.apply(batch) == expected

    @rule(row_id=ROWS, chat=CHATS)
    def prepare(self, row_id: int, chat: str) -> None:
        row = self.row(row_id)
        self.prepared(row, chat, self.client.prepare(row_id, chat))

    def prepared(self, row: ModelRow | None, chat: str, changed: bool | None) -> None:
        """A row was to be made ready, and its lane has capacity."""
        can = row is not None and row.state is RowState.RECEIVED
        if row is None or not can:
            assert changed is False
        elif row.refused:
            assert changed is None
        else:
            assert changed is True
            self.dispatched(row, chat)
            row.state = RowState.READY

    @rule(row_ids=st.lists(ROWS, min_size=2, max_size=3, unique=True).map(sorted), chat=CHATS)
    def prepare_joined(self, row_ids: list[int], chat: str) -> None:
        first, *others = row_ids
        known = [row for row_id in row_ids if (row := self.row(row_id)) is not None]
        rows = [row for row in known if row.state is RowState.RECEIVED]
        refused = any(row.refused for row in rows)
        changed = self.client.prepare(first, chat, joined=others)
        assert changed is (None if refused else bool(rows))
        leads = self.row(first)
        for row in rows:
            if row.refused:
                continue
            if leads is not None and leads is not row and leads.dispatched and not row.dispatched:
                row.chat, row.dispatched = chat, True
                row.dispatched_to = leads.dispatched_to
            self.dispatched(row, chat)
            row.state, row.joined_to = RowState.READY, first

    @rule(row_id=ROWS, chat=CHATS)
    def dispatch(self, row_id: int, chat: str) -> None:
        row = self.row(row_id)
        can = row is not None and row.state is RowState.RECEIVED and not row.dispatched
        assert self.client.dispatch(row_id, chat) == can
        if row is not None and can:
            self.dispatched(row, chat)

    @rule(
        row_id=ROWS,
        chat=CHATS,
        session=SESSIONS,
        unbound=st.booleans(),
        waiting_max=st.integers(0, 3),
    )
    def prepare_where_it_fits(
        self, row_id: int, chat: str, session: str, unbound: bool, waiting_max: int
    ) -> None:
        row = self.row(row_id)
        waiting = {row.prompt for row in self.waiting_for(session, unbound=unbound)}
        capacity = journal.Capacity(
            session_id=SessionId(session), takes_unbound=unbound, waiting_max=waiting_max
        )
        if len(waiting) < waiting_max:
            self.prepared(row, chat, self.client.prepare(row_id, chat, capacity))
            return
        is_new = row is not None and row.state is RowState.RECEIVED
        assert self.client.prepare(row_id, chat, capacity) is (None if is_new else False)
        if row is not None and is_new:
            row.refused = True

    @rule(session=SESSIONS, unbound=st.booleans(), limit=st.integers(1, 4))
    def list_waiting(self, session: str, unbound: bool, limit: int) -> None:
        prompts: dict[int, int] = {}
        for row in self.waiting_for(session, unbound=unbound):
            prompts.setdefault(row.prompt, row.row_id)
        expected = list(prompts.values())
        assert self.client.waiting(session, unbound=unbound, limit=limit) == expected[:limit]

    @rule(row_ids=st.lists(ROWS, max_size=3, unique=True))
    def drop_waiting(self, row_ids: list[int]) -> None:
        expected: list[int] = []
        dropped: list[int] = []
        for row_id in row_ids:
            row = self.row(row_id)
            if row is not None and row.state is RowState.READY:
                for one in self.together(row):
                    one.state = RowState.EXPIRED
                    dropped.append(one.row_id)
            expected += [row_id] if row_id in dropped else []
        assert self.client.drop_waiting(row_ids) == expected

    @rule(account=ACCOUNTS, key=KEYS.filter(bool))
    def drop_message(self, account: str, key: str) -> None:
        waiting = [
            row
            for row in self.rows
            if (row.account, row.key) == (account, key)
            and row.state in {RowState.RECEIVED, RowState.READY}
        ]
        assert self.client.drop_message(account, key) == bool(waiting)
        for row in waiting:
            row.state = RowState.EXPIRED

    @rule(session=SESSIONS, connection=CONNECTIONS, unbound=st.booleans(), joins=st.booleans())
    def offer(self, session: str, connection: int, unbound: bool, joins: bool) -> None:
        row = self.offered_next(session, unbound=unbound)
        offer = self.client.offer(session, connection, unbound=unbound, joins=joins)
        assert (offer is None) == (row is None)
        if row is not None and offer is not None:
            rows = self.together(row) if joins else [row]
            rows = [one for one in rows if one.dispatched_to == row.dispatched_to]
            for one in rows:
                one.state, one.connection = RowState.OFFERED, connection
                one.attempt += 1
            if not joins:
                row.joined_to = None
            assert offer.prompt.message_ids == tuple(f"om_{one.row_id}" for one in rows)
            assert (offer.row_id, offer.event_id, offer.account, offer.attempt) == (
                row.row_id,
                row.event,
                row.account,
                row.attempt,
            )
            assert offer.prompt.chat_id == row.chat

    @rule(event=EVENTS, connection=CONNECTIONS, attempt=st.integers(1, 3))
    def ack(self, event: str, connection: int, attempt: int) -> None:
        held = [
            row
            for row in self.rows
            if row.state is RowState.OFFERED
            and (row.event, row.connection, row.attempt) == (event, connection, attempt)
        ]
        assert self.client.acked(event, attempt, connection) == bool(held)
        for row in [one for each in held for one in self.together(each)]:
            if row.connection == connection:
                row.state = RowState.DELIVERED

    @rule(
        connection=st.none() | CONNECTIONS,
        row_ids=st.none() | st.lists(ROWS, max_size=3).map(tuple),
    )
    def release(self, connection: int | None, row_ids: tuple[int, ...] | None) -> None:
        named = {
            one.row_id
            for row in self.rows
            if row_ids is None or row.row_id in row_ids
            for one in self.together(row)
        }
        let_go = [
            row
            for row in self.rows
            if row.state is RowState.OFFERED
            and connection in (None, row.connection)
            and row.row_id in named
        ]
        assert self.client.release(connection, row_ids) == bool(let_go)
        for row in let_go:
            row.state, row.connection = RowState.READY, None

    @rule(row_id=ROWS, state=st.sampled_from(sorted(CLOSED_STATES)))
    def close(self, row_id: int, state: RowState) -> None:
        row = self.row(row_id)
        can = row is not None and row.state not in CLOSED_STATES
        assert self.client.close(row_id, state) == can
        for one in self.together(row) if row is not None and can else ():
            one.state = state

    @rule(before_ms=st.integers(850, 1_000), limit=st.integers(1, 3))
    def prune(self, before_ms: int, limit: int) -> None:
        old = [
            row
            for row in sorted(self.rows, key=lambda row: row.received_at_ms)
            if row.state in CLOSED_STATES and row.received_at_ms < before_ms
        ][:limit]
        assert self.client.prune(before_ms, limit) == bool(old)
        self.rows = [row for row in self.rows if row not in old]

    @rule(lease=SAVED_LEASES, moved=st.frozensets(PLACES), staying=st.frozensets(STAYING))
    def save_lease(
        self,
        lease: LeaseState,
        moved: frozenset[PlaceKey],
        staying: frozenset[SessionId | None],
    ) -> None:
        assert self.client.save_lease(lease, moved, staying) == (lease != self.lease)
        self.lease = lease
        for row in self.rows:
            if row.dispatched and row.place in moved and row.dispatched_to not in staying:
                row.dispatched_to = lease.bindings.get(row.place)

    @rule(account=ACCOUNTS, after=st.integers(0, 5), limit=st.integers(1, 5))
    def list_unprepared(self, account: str, after: int, limit: int) -> None:
        expected = [
            row.row_id
            for row in self.rows
            if row.state is RowState.RECEIVED and row.account == account and row.row_id > after
        ]
        found = self.client.unprepared(account=account, after=after, limit=limit)
        assert [row.row_id for row in found] == expected[:limit]

    @rule(orderly=st.booleans())
    def restart(self, orderly: bool) -> None:
        if orderly:
            self.client.store.close()
            self.client = JournalClient(self.open())
        else:
            # Nothing is closed before the next run opens it, as after a kill.
            killed, self.client = self.client, JournalClient(self.open())
            killed.disconnect()
        self.generation += 1
        for row in self.rows:
            if row.state is RowState.OFFERED:
                row.state, row.connection = RowState.READY, None

    # ── what is always so ───────────────────────────────────────────────────

    @invariant()
    def the_queue_is_as_the_model_counts_it(self) -> None:
        pending = [row for row in self.rows if row.state in {RowState.RECEIVED, RowState.READY}]
        assert self.client.queue() == journal.QueueState(
            pending=len(pending),
            in_flight=sum(row.state is RowState.OFFERED for row in self.rows),
            oldest_pending_at_ms=min((row.received_at_ms for row in pending), default=None),
            damaged=sum(row.state is RowState.DAMAGED for row in self.rows),
        )

    @invariant()
    def lease_and_generation_are_as_saved(self) -> None:
        assert self.client.lease() == self.lease
        assert self.client.store.generation == self.generation


def test_sqlite_against_the_model() -> None:
    check(lambda: JournalAgainstModel(sqlite_store), examples(30))


def test_postgres_against_the_model(server: Server) -> None:
    numbers = itertools.count()

    def new_journal(_path: Path) -> OpenStore:
        return on_postgres(server, f"model_{next(numbers)}")

    check(lambda: JournalAgainstModel(new_journal), examples(6))


def check(machine: Callable[[], RuleBasedStateMachine], max_examples: int) -> None:
    run_state_machine_as_test(
        machine,  # type: ignore[arg-type]  # it only calls it
        settings=settings(
            max_examples=max_examples,
            stateful_step_count=40,
            phases=(Phase.generate,),  # shrinking takes minutes where each step is a commit
        ),
    )

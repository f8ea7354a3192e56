"""The journal's store on PostgreSQL: a batch is one pipeline, and every batch is fenced.

Each transaction begins with an UPDATE of the cluster's claim that only its holder can
make: it is fence, heartbeat and outcome in one. All of it is synchronous and belongs to
one thread at a time, but for :meth:`PostgresStore.hang_up` and what
:meth:`PostgresStore.standing` returns.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import psycopg
import structlog

from actors.journal.db import read
from actors.journal.errors import JournalError
from actors.journal.handlers import HANDLERS, Handler
from actors.journal.postgres.appending import BatchFence, append_all, append_fenced, as_appends
from actors.journal.postgres.claim import look
from actors.journal.postgres.connecting import Connection, Target, connect
from actors.journal.postgres.news import STANDBY_SEEN_MS, Standing, ask_news
from actors.journal.postgres.offering import offer_next
from actors.journal.postgres.outcome import Fenced, InDoubt, read_outcome
from actors.journal.postgres.pipeline import PipelineDb, PipelineRows
from actors.journal.postgres.taking import ClaimTaken
from actors.journal.store import JournalStatistics, Tally
from actors.messages import journal

BEAT_EVERY_S: Final = 0.5
NEWS_EVERY_S: Final = 1.0
"""How often a batch also reads who stands by."""
RESOLVE_AGAIN_S: Final = 0.1
"""Between two tries to learn what became of a COMMIT."""
RESOLVE_WITHIN_S: Final = 60.0
"""A holder that was not confirmed for so long is lost anyway."""

_FENCE: Final = (
    "UPDATE larkd.claim SET batch = ?3, beat_at = clock_timestamp()"
    " WHERE cluster = ?1 AND mark = ?2 RETURNING wanted, tokens"
)
_FREE: Final = "UPDATE larkd.claim SET node = NULL WHERE cluster = ?1"

_HANDLERS: Final[Mapping[type, Handler]] = {**HANDLERS, journal.OfferNext: offer_next}
log = structlog.get_logger()


class PostgresStore:
    """The journal of a cluster this process has claimed."""

    beat_every_s: float | None = BEAT_EVERY_S

    def __init__(
        self,
        target: Target,
        connection: Connection,
        claimed: ClaimTaken,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._target = target
        self._connection = connection
        self._now = now
        self._mark = claimed.mark
        self.generation = claimed.term
        self._batch = 0
        self._standing = Standing(confirmed_at=claimed.sent_at, lost=False, tokens=claimed.tokens)
        self._news_at = now() - NEWS_EVERY_S
        self._abandoned = False
        self._hung_up = False
        self._warned = False
        self._tally = Tally()
        self._settle(connection, replicated=claimed.replicated)

    # ── what the loop may ask while the thread works ────────────────────────

    def standing(self) -> Standing:
        return self._standing

    @property
    def connection(self) -> Connection:
        """The open connection, for what runs between two batches in the same thread."""
        return self._connection

    def statistics(self) -> JournalStatistics:
        return self._tally.statistics()

    def hang_up(self) -> None:
        """Shut the connection down: the thread, if it waits on it, goes on with an error.

        From any thread; it does not wait.
        """
        self._hung_up = True
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)

    def abandon(self) -> None:
        """Commit nothing from now on, and wait for nothing: the cluster is lost."""
        self._abandoned = True
        self._standing = msgspec.structs.replace(self._standing, lost=True)
        self.hang_up()

    # ── batches ─────────────────────────────────────────────────────────────

    def apply(self, batch: Sequence[journal.JournalMessage]) -> list[Any]:
        """Carry out a batch in one commit; return the answers in order.

        An empty batch is a beat. A message that fails is undone alone and answered with
        :class:`journal.Failed`. When the cluster is lost all are, then and later.
        """
        self._tally.begin(batch)
        try:
            answers = self._tried(batch)
        except Fenced as fenced:
            self._standing = msgspec.structs.replace(
                self._standing, lost=True, successor=self._successor()
            )
            answers = [self._tally.failure(fenced)] * len(batch)
        except (psycopg.Error, JournalError, OSError) as failed:
            failure = self._tally.failure(failed)
            answers = [failure] * len(batch)
        return self._tally.finish(answers)

    def close(self) -> None:
        """Give the cluster back, if it is still ours, and disconnect."""
        if not self._standing.lost and not self._connection.closed:
            try:
                self._transaction([], leave=True)
            except (psycopg.Error, Fenced, InDoubt) as failed:
                log.warning("cluster.not_released", reason=str(failed).strip())
            else:
                log.info("cluster.released", cluster=self._target.cluster, term=self.generation)
        with contextlib.suppress(psycopg.Error):
            self._connection.close()
        self._line.close()

    def _tried(self, batch: Sequence[journal.JournalMessage]) -> list[Any]:
        if self._standing.lost or self._abandoned:
            raise Fenced(self._target.cluster)
        self._reconnect_if_closed()
        try:
            # A statement sees nothing that is committed while it waits at its own fence, so a
            # connection's first batch fences apart: an older one's may be under way.
            alone = self._committed_here and not self._wants_news()
            if alone and (appends := as_appends(batch)):
                return self._append(appends)
            return self._transaction(batch)
        except Fenced:
            raise
        except InDoubt as doubt:
            return self._resolved(doubt)
        except Exception as failed:  # one message's fault is not the others'
            if self._connection.closed or not batch:
                raise
            if len(batch) == 1:
                name = type(batch[0]).__name__
                return [self._tally.failure(failed, message=name)]
            return self._one_by_one(batch)

    def _one_by_one(self, batch: Sequence[journal.JournalMessage]) -> list[Any]:
        answers: list[Any] = []
        for message in batch:
            try:
                answers += self._tried([message])
            except (psycopg.Error, JournalError, OSError) as failed:
                rest = [self._tally.failure(failed)] * (len(batch) - len(answers))
                return answers + rest
        return answers

    def _append(self, appends: Sequence[journal.Append]) -> list[Any]:
        """Do appends in a transaction of one statement.

        Raises:
            Fenced: another holds the cluster.
            InDoubt: whether it was committed is not known.
            psycopg.Error: it was rolled back, or we hung up. Then it may yet be committed,
                before our next batch or never, and the platform sends the events again.
        """
        connection, self._batch = self._connection, self._batch + 1
        sent_at, self._hung_up, self._warned = self._now(), False, False
        fence = BatchFence(self._target.cluster, self._mark, self._batch)
        try:
            done = append_fenced(connection, appends, fence)
        except psycopg.Error as failed:
            if self._hung_up or not connection.closed:
                raise
            raise InDoubt(self._batch, None, appends) from failed
        if done is None:
            raise Fenced(self._target.cluster)
        self._require_replicated(done.answers)
        self._confirm(sent_at, wanted=done.wanted, tokens=done.tokens)
        return list(done.answers)

    def _transaction(
        self, batch: Sequence[journal.JournalMessage], *, leave: bool = False
    ) -> list[Any]:
        """Do a batch in one transaction of its own.

        Raises:
            Fenced: another holds the cluster.
            InDoubt: whether it was committed is not known.
            Exception: it was rolled back.
        """
        connection, self._batch = self._connection, self._batch + 1
        sent_at, self._warned = self._now(), False
        surely = bool(batch) or leave or self._replicated
        is_beat = not batch and not leave
        done: PipelineRows | None = None
        try:
            with connection.pipeline() as pipeline:
                db = PipelineDb(connection, pipeline)
                db.execute("BEGIN")
                if not surely:
                    db.execute("SET LOCAL synchronous_commit = off")
                fence = db.execute(_FENCE, self._target.cluster, self._mark, self._batch)
                if leave:
                    db.execute(_FREE, self._target.cluster)
                answers = self._carry_out(db, batch)
                news = None if leave else self._ask_news(db)
                if is_beat:  # its fence is all that it changes: who is fenced commits nothing
                    done = db.execute("COMMIT")
            # The answers are here with the pipeline's end; a look before were a round trip more.
            ours = fence.one()
            if ours is None:
                raise Fenced(self._target.cluster)
            if done is None:
                done = self._read_and_commit(db, answers)
        except BaseException:
            self._roll_back()
            raise
        self._require_replicated(answers, surely=done.status() == "COMMIT")
        wanted, tokens = ours
        self._confirm(sent_at, wanted=wanted, tokens=tokens)
        if news is not None:
            self._standing = msgspec.structs.replace(self._standing, **news(), keys_of=tokens)
        return answers

    def _wants_news(self) -> bool:
        # Cut off before it knows a standby, a holder has nobody to ask who holds the cluster.
        due_s = NEWS_EVERY_S if self._standing.standbys else BEAT_EVERY_S
        return self._now() - self._news_at >= due_s

    def _ask_news(self, db: PipelineDb) -> Callable[[], dict[str, Any]] | None:
        """Ask, when it is time, for what the holder should know; the answer is read later."""
        if not self._wants_news():
            return None
        self._news_at = self._now()
        return ask_news(db, self._target.cluster, seen_ms_max=STANDBY_SEEN_MS)

    def _successor(self) -> tuple[str, ...]:
        """Return where who holds the cluster now is, if the server answers at once."""
        try:
            if self._connection.closed or self._abandoned:
                return ()
            return look(self._connection, self._target.cluster).addresses
        except (psycopg.Error, JournalError):
            return ()

    def _carry_out(self, db: PipelineDb, batch: Sequence[journal.JournalMessage]) -> list[Any]:
        """Send every message's statements; appends that follow one another go as one."""
        answers: list[Any] = []
        appends: list[journal.Append] = []
        for message in batch:
            if isinstance(message, journal.Append):
                appends.append(message)
                continue
            answers += append_all(db, appends)
            appends = []
            answers.append(_HANDLERS[type(message)](db, message))
        answers += append_all(db, appends)
        return answers

    def _read_and_commit(self, db: PipelineDb, answers: list[Any]) -> PipelineRows:
        """Read the answers in place, and commit; what an answer still changes is sent with it."""
        connection, committing = self._connection, False
        try:
            with connection.pipeline() as pipeline:
                db.pipeline = pipeline
                for position, answer in enumerate(answers):
                    answers[position] = read(answer)
                committing = True
                return db.execute("COMMIT")
        except psycopg.Error as failed:
            if committing and connection.closed:
                raise InDoubt(self._batch, answers) from failed
            raise  # the server answered: it was rolled back

    def _require_replicated(self, answers: list[Any], *, surely: bool = True) -> None:
        """Count a commit, unless a wait for a replica was cancelled: it may yet be lost."""
        if self._warned or not surely:
            self._connection.close()
            raise InDoubt(self._batch, answers)
        self._committed_here = True
        self._tally.commits += 1

    def _roll_back(self) -> None:
        with contextlib.suppress(psycopg.Error):
            if not self._connection.closed:
                self._connection.execute("ROLLBACK")

    def _confirm(self, sent_at: float, *, wanted: str | None, tokens: int) -> None:
        self._standing = msgspec.structs.replace(
            self._standing,
            confirmed_at=max(sent_at, self._standing.confirmed_at),
            wanted=wanted,
            tokens=tokens,
        )

    # ── the connection, lost and made again ─────────────────────────────────

    def _settle(self, connection: Connection, *, replicated: bool) -> None:
        self._connection = connection
        self._committed_here = False
        """Over this connection: then no transaction of an older one is under way."""
        self._line = socket.socket(fileno=os.dup(connection.fileno()))
        self._replicated = replicated
        if not self._replicated:
            log.warning("journal.not_replicated", cluster=self._target.cluster)
        connection.add_notice_handler(self._note_warning)

    def _note_warning(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            self._warned = True

    def _reconnect_if_closed(self) -> None:
        if not self._connection.closed:
            return
        opened = connect(self._target)
        if self._abandoned:
            opened.connection.close()
            raise Fenced(self._target.cluster)
        self._line.close()
        self._settle(opened.connection, replicated=opened.replicated)
        self._tally.reopened += 1
        log.warning("journal.reopened", after=self._tally.last_error)

    def _resolved(self, doubt: InDoubt) -> list[Any]:
        """Learn what became of a COMMIT whose answer was lost; return the batch's answers.

        The next connection reads the claim's batch, for which it waits for the old
        transaction to end, and commits a batch of its own: then what it read is
        replicated too.

        Raises:
            Fenced: another holds the cluster, or it was given up meanwhile.
        """
        until = self._now() + RESOLVE_WITHIN_S
        failure = self._tally.failure(doubt.__cause__ or doubt)
        while self._now() < until:
            if self._abandoned:
                raise Fenced(self._target.cluster)
            try:
                self._reconnect_if_closed()
                committed = self._read_outcome(doubt)
            except (psycopg.Error, JournalError, OSError):
                if doubt.answers is None:
                    # Committed or not, what was not acked comes again, and is known then.
                    return [failure] * len(doubt.appends)
                time.sleep(RESOLVE_AGAIN_S)
                continue
            answers = doubt.answers or []
            return answers if committed else [failure] * max(len(answers), len(doubt.appends))
        raise Fenced(self._target.cluster)

    def _read_outcome(self, doubt: InDoubt) -> bool:
        """Return whether the batch in doubt was committed; notes it under our own batch."""
        sent_at, self._batch, self._warned = self._now(), self._batch + 1, False
        found = read_outcome(
            self._connection,
            doubt,
            cluster=self._target.cluster,
            mark=self._mark,
            batch=self._batch,
        )
        if self._warned:
            self._connection.close()
            raise psycopg.OperationalError("the commit was not replicated")
        self._confirm(sent_at, wanted=found.wanted, tokens=found.tokens)
        return found.committed

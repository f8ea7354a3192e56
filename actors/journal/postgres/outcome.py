"""What became of a transaction: fenced, or in doubt until the next connection has read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from actors.journal.postgres.appending import committed_appends
from actors.journal.postgres.connecting import Connection
from actors.messages import journal


class Fenced(Exception):
    """Another process holds the cluster now."""

    def __init__(self, cluster: str) -> None:
        super().__init__(f"cluster {cluster} is held by another process now")


class InDoubt(Exception):
    """The connection was lost in COMMIT, or in appends that are a transaction of their own."""

    def __init__(
        self, batch: int, answers: list[Any] | None, appends: Sequence[journal.Append] = ()
    ) -> None:
        super().__init__("the connection was lost in COMMIT")
        self.batch = batch
        self.answers = answers
        """None: they were lost as well."""
        self.appends = appends
        """What they are read again for."""
        self.happened = {batch: True}
        """By the number of a batch that is the claim's last: whether this one was committed."""


class CommitOutcome(msgspec.Struct, frozen=True, kw_only=True):
    committed: bool
    wanted: str | None
    tokens: int


def read_outcome(
    connection: Connection, doubt: InDoubt, *, cluster: str, mark: int, batch: int
) -> CommitOutcome:
    """Read whether the batch in doubt was committed, and commit *batch*, a new one, over it.

    It waits for the old transaction to end. What was read counts once this has returned and
    no warning came with it: then it is replicated, too.

    Raises:
        Fenced: another holds the cluster.
        psycopg.Error: nothing is known yet.
    """
    with connection.transaction():
        row = connection.execute(
            "SELECT mark, batch, wanted, tokens FROM larkd.claim WHERE cluster = %s FOR UPDATE",
            (cluster,),
        ).fetchone()
        if row is None or row[0] != mark:
            raise Fenced(cluster)
        _, last, wanted, tokens = row
        committed = doubt.happened.get(last, False)
        doubt.happened[batch] = committed
        if committed and doubt.answers is None:
            doubt.answers = committed_appends(connection, doubt.appends, cluster)
        connection.execute(
            "UPDATE larkd.claim SET batch = %s, beat_at = clock_timestamp()"
            " WHERE cluster = %s AND mark = %s",
            (batch, cluster, mark),
        )
    return CommitOutcome(committed=committed, wanted=wanted, tokens=tokens)

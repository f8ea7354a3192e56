"""The journal of a cluster as commands read it, beside whoever holds the cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from actors.journal import history, schema
from actors.journal.errors import JournalNewer, JournalUnavailable
from actors.journal.postgres.connecting import Target, connect
from actors.journal.postgres.pipeline import PipelineDb
from actors.journal.postgres.schema import schema_version
from actors.messages import journal


def what_became_of(target: Target, message: str) -> journal.Explained | None:
    """Return the row of a message_id or an event_id; None where there is none (any more).

    Raises:
        JournalError: the journal can't be read, or is a newer larkd's.
    """
    with _beside_its_holder(target) as db:
        return history.explained(db, message)


def newest(target: Target, limit: int) -> tuple[journal.Explained, ...]:
    """Return what became of the *limit* newest messages, oldest first.

    Raises:
        JournalError: the journal can't be read, or is a newer larkd's.
    """
    with _beside_its_holder(target) as db:
        return history.newest(db, limit)


@contextmanager
def _beside_its_holder(target: Target) -> Iterator[PipelineDb]:
    connection = connect(target).connection
    try:
        version = schema_version(connection, target.cluster)
        if version != len(schema.MIGRATIONS):
            raise JournalNewer(
                f"the journal of cluster {target.cluster} has schema {version}, and this larkd"
                f" knows {len(schema.MIGRATIONS)}; ask with the larkd of its holder"
            )
        with connection.pipeline() as pipeline:
            yield PipelineDb(connection, pipeline)
    except psycopg.Error as failed:
        raise JournalUnavailable(
            f"the journal of cluster {target.cluster} can't be read: {failed}"
        ) from failed
    finally:
        connection.close()

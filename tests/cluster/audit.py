"""What the server itself saw: triggers that note every claim, batch, write and lease.

Writers of one cluster wait for one another at the row of its claim, and everything is noted
while they hold it: so the numbers of the notes are the order of the commits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
import psycopg
from psycopg import sql

_TABLES: Final = """
CREATE SCHEMA audit;
CREATE TABLE audit.batch (number bigserial PRIMARY KEY, at double precision, tx xid8, writer text,
  cluster text, term bigint, mark bigint, batch bigint, node text);
CREATE TABLE audit.written (tx xid8, writer text, tab text);
CREATE TABLE audit.lease (number bigserial PRIMARY KEY, epoch bigint, owner text, writer text);

CREATE FUNCTION audit.note_batch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO audit.batch (at, tx, writer, cluster, term, mark, batch, node)
    VALUES (extract(epoch FROM clock_timestamp()), pg_current_xact_id(),
      current_setting('application_name'), NEW.cluster, NEW.term, NEW.mark, NEW.batch, NEW.node);
  RETURN NULL; END $$;
CREATE FUNCTION audit.note_write() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO audit.written VALUES
    (pg_current_xact_id(), current_setting('application_name'), TG_TABLE_NAME);
  RETURN NULL; END $$;
CREATE FUNCTION audit.note_lease() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO audit.lease (epoch, owner, writer)
    VALUES (NEW.epoch, NEW.owner, current_setting('application_name'));
  RETURN NULL; END $$;
CREATE TRIGGER note AFTER UPDATE OF batch, mark ON larkd.claim
  FOR EACH ROW EXECUTE FUNCTION audit.note_batch();
"""


class Batch(msgspec.Struct, frozen=True):
    """A transaction of a holder, as it was committed."""

    at: float
    """Seconds since 1970."""
    tx: str
    writer: str
    term: int
    mark: int
    batch: int
    node: str | None


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    batches: Sequence[Batch]
    writes: Sequence[tuple[str, str, str]]
    """Transaction, writer, table."""
    leases: Sequence[tuple[int, str | None, str | None]]
    """Epoch, owner and writer, as they were committed."""

    def standing_leases(self) -> list[tuple[int, str | None]]:
        """Epoch and owner, without what its own writer took back.

        A change whose commit came after its asker had been answered that it failed is undone
        by the holder that made it, before another change; that nobody was given its epoch is
        seen by the deliveries.
        """
        standing: list[tuple[int, str | None, str | None]] = []
        for one in self.leases:
            while standing and standing[-1][0] > one[0] and standing[-1][2] == one[2]:
                standing.pop()
            standing.append(one)
        return [(epoch, owner) for epoch, owner, _ in standing]

    def claims(self) -> list[Batch]:
        """The first batch of each term that was seen, in order of commit."""
        found: list[Batch] = []
        for one in self.batches:
            if one.node is not None and (not found or found[-1].mark != one.mark):
                found.append(one)
        return found


def install(url: str, cluster: str) -> None:
    """Note from now on what is committed for a cluster, whose tables are there."""
    with psycopg.connect(url) as admin:
        admin.execute(_TABLES)
        schema = f"larkd_{cluster}"
        tables = admin.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = %s", (schema,)
        ).fetchall()
        for (name,) in tables:
            admin.execute(
                sql.SQL(
                    "CREATE TRIGGER note_write AFTER INSERT OR UPDATE OR DELETE ON {}"
                    # A statement that finds its fence closed, and writes no row, is no write.
                    " FOR EACH ROW EXECUTE FUNCTION audit.note_write()"
                ).format(sql.Identifier(schema, name))
            )
        lease = sql.Identifier(schema, "lease")
        admin.execute(
            sql.SQL(
                "CREATE TRIGGER note_lease AFTER INSERT OR UPDATE ON {}"
                " FOR EACH ROW EXECUTE FUNCTION audit.note_lease()"
            ).format(lease)
        )
        admin.execute(
            sql.SQL("INSERT INTO audit.lease (epoch, owner) SELECT epoch, owner FROM {}").format(
                lease
            )
        )
        # A holder that was there before is noted as it is.
        admin.execute(
            "INSERT INTO audit.batch (at, tx, writer, cluster, term, mark, batch, node)"
            " SELECT extract(epoch FROM clock_timestamp()), pg_current_xact_id(),"
            " format('larkd/%%s@%%s', cluster, node), cluster, term, mark, batch, node"
            " FROM larkd.claim WHERE cluster = %s",
            (cluster,),
        )


def read(url: str) -> Audit:
    with psycopg.connect(url) as admin:
        # One look at all of it: a batch may be committed between two statements.
        admin.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ

        def rows(query: str) -> list[Any]:
            return admin.execute(query.encode()).fetchall()

        return Audit(
            batches=[
                Batch(*row)
                for row in rows(
                    "SELECT at, tx::text, writer, term, mark, batch, node FROM audit.batch"
                    " ORDER BY number"
                )
            ],
            writes=rows("SELECT tx::text, writer, tab FROM audit.written"),
            leases=rows("SELECT epoch, owner, writer FROM audit.lease ORDER BY number"),
        )


def violations(audit: Audit) -> Iterator[str]:
    """Name every commit that nobody should have been able to make."""
    nodes: dict[int, set[str]] = {}
    marks: dict[int, int] = {}
    highest = 0
    holder = ""
    for one in audit.batches:
        if one.term < highest:
            yield f"the term fell from {highest} to {one.term}"
        highest = max(highest, one.term)
        if marks.setdefault(one.term, one.mark) != one.mark:
            yield f"term {one.term} was claimed twice"
        if one.node is not None:
            nodes.setdefault(one.term, set()).add(one.node)
            holder = one.node
        if not one.writer.endswith(f"@{holder}"):
            yield f"{one.writer} committed batch {one.batch} of term {one.term}, held by {holder}"
    for term, of in nodes.items():
        if len(of) > 1:
            yield f"term {term} was held by {sorted(of)}"
    fenced = {one.tx: one.writer for one in audit.batches}
    for tx, writer, table in audit.writes:
        if fenced.get(tx) != writer:
            yield f"{writer} wrote to {table} in transaction {tx} without the claim"

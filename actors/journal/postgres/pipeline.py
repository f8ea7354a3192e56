"""A connection in pipeline mode, for the handlers: statements are sent, answers read later."""

from __future__ import annotations

from typing import Any

import psycopg

from actors.journal.db import ResultRows, SqlValue
from actors.journal.postgres.connecting import Connection


class PipelineDb:
    """The pipelines of one transaction that its store began, one after another."""

    __slots__ = ("_connection", "pipeline")

    def __init__(self, connection: Connection, pipeline: psycopg.Pipeline) -> None:
        self._connection = connection
        self.pipeline = pipeline
        """The one that is open now."""

    def execute(self, sql: str, *values: SqlValue) -> PipelineRows:
        cursor = psycopg.RawCursor(self._connection)
        cursor.execute(sql.replace("?", "$").encode(), values)
        return PipelineRows(cursor, self)


class PipelineRows(ResultRows):
    """The answer of a statement that was sent, and may not have been carried out yet."""

    __slots__ = ("_db", "_sent")

    def __init__(self, cursor: psycopg.RawCursor[Any], db: PipelineDb) -> None:
        super().__init__(cursor)
        self._sent = cursor
        self._db = db

    def count(self) -> int:
        if self._sent.pgresult is None:
            self._db.pipeline.sync()
        return super().count()

    def status(self) -> str | None:
        """Return the command the server has carried out, once the pipeline is over."""
        return self._sent.statusmessage

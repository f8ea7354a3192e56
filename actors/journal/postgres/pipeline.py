"""A connection in pipeline mode, for the handlers: statements are sent, answers read later."""

from __future__ import annotations

from typing import Any

import psycopg

from actors.journal.db import ResultRows, SqlValue
from actors.journal.postgres.connecting import Connection


class PipelineRows(ResultRows):
    """The answer of a statement that was sent, and may not have been carried out yet."""

    __slots__ = ("_pipeline", "_sent")

    def __init__(self, cursor: psycopg.RawCursor[Any], pipeline: psycopg.Pipeline) -> None:
        super().__init__(cursor)
        self._sent = cursor
        self._pipeline = pipeline

    def count(self) -> int:
        if self._sent.pgresult is None:
            self._pipeline.sync()
        return super().count()


class PipelineDb:
    """One pipeline of a connection, inside a transaction that its store began."""

    __slots__ = ("_connection", "_pipeline")

    def __init__(self, connection: Connection, pipeline: psycopg.Pipeline) -> None:
        self._connection = connection
        self._pipeline = pipeline

    def execute(self, sql: str, *values: SqlValue) -> PipelineRows:
        cursor = psycopg.RawCursor(self._connection)
        cursor.execute(sql.replace("?", "$").encode(), values)
        return PipelineRows(cursor, self._pipeline)

"""A connection in pipeline mode, for the handlers: statements are sent, answers read later."""

from __future__ import annotations

from typing import Any

import psycopg

from actors.journal.db import Row, Value
from actors.journal.postgres.connecting import Connection


class PipelineRows:
    """The answer of a statement that was sent; see :class:`actors.journal.db.Rows`."""

    __slots__ = ("_cursor", "_pipeline")

    def __init__(self, cursor: psycopg.RawCursor[Any], pipeline: psycopg.Pipeline) -> None:
        self._cursor = cursor
        self._pipeline = pipeline

    def one(self) -> Row | None:
        row: Row | None = self._cursor.fetchone()
        return row

    def all(self) -> list[Row]:
        return self._cursor.fetchall()

    def count(self) -> int:
        if self._cursor.pgresult is None:
            self._pipeline.sync()
        return self._cursor.rowcount


class PipelineDb:
    """One pipeline of a connection, inside a transaction that its store began."""

    __slots__ = ("_connection", "_pipeline")

    def __init__(self, connection: Connection, pipeline: psycopg.Pipeline) -> None:
        self._connection = connection
        self._pipeline = pipeline

    def execute(self, sql: str, *values: Value) -> PipelineRows:
        cursor = psycopg.RawCursor(self._connection)
        cursor.execute(sql.replace("?", "$").encode(), values)
        return PipelineRows(cursor, self._pipeline)

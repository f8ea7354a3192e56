"""Columns of many rows as PostgreSQL's arrays, in the binary form it reads them in.

psycopg looks at each element for its type; here a column has one. That was half of what a
batch of ten events took of the processor on this side (measured).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

import msgspec
from psycopg import pq
from psycopg.adapt import Dumper

# Source: array_recv in PostgreSQL's arrayfuncs.c. Dimensions, whether there are nulls, the
# elements' type, then length and first index of the one dimension; each element has its length.
_HEAD: Final = struct.Struct("!iiIii")
_LENGTH: Final = struct.Struct("!i")
_BIGINT: Final = struct.Struct("!iq")
_NULL: Final = _LENGTH.pack(-1)
_TEXT_OID: Final = 25
_BYTEA_OID: Final = 17
_BIGINT_OID: Final = 20


class Column(msgspec.Struct, frozen=True):
    """A value of a statement, encoded. The statement casts it: ``?1::text[]``."""

    encoded: bytes


class ColumnDumper(Dumper):
    """How psycopg sends a :class:`Column`."""

    format = pq.Format.BINARY

    def dump(self, obj: Column) -> bytes:
        return obj.encoded


def texts(values: Iterable[str | None]) -> Column:
    """Encode a ``text[]``.

    Raises:
        UnicodeEncodeError: one has half of a surrogate pair.
    """
    return _column(_TEXT_OID, [None if one is None else one.encode() for one in values])


def blobs(values: Iterable[bytes]) -> Column:
    """Encode a ``bytea[]``."""
    return _column(_BYTEA_OID, list(values))


def bigints(values: Iterable[int]) -> Column:
    """Encode a ``bigint[]``.

    Raises:
        struct.error: one takes more than 64 bits.
    """
    items = [_BIGINT.pack(_BIGINT.size - _LENGTH.size, one) for one in values]
    return Column(b"".join((_HEAD.pack(1, 0, _BIGINT_OID, len(items), 1), *items)))


def _column(oid: int, values: list[bytes | None] | list[bytes]) -> Column:
    parts = [_HEAD.pack(1, int(None in values), oid, len(values), 1)]
    for one in values:
        if one is None:
            parts.append(_NULL)
        else:
            parts += (_LENGTH.pack(len(one)), one)
    return Column(b"".join(parts))

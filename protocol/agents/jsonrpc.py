"""JSON-RPC 2.0 over lines: one JSON object a line, as MCP and ACP speak it on stdio."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from protocol.wire.encodable import encodable

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
REQUEST_CANCELLED: Final = -32800
INTERNAL_ERROR: Final = -32603

JsonRpcMessage = dict[str, Any]
Id = int | str


class NotAnObject(ValueError):
    """The line is no JSON object."""


def decode(line: bytes) -> JsonRpcMessage:
    """Read one line.

    Raises:
        NotAnObject: it is no JSON, or JSON of another kind.
    """
    try:
        message = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as unreadable:
        raise NotAnObject(str(unreadable)) from unreadable
    if not isinstance(message, dict):
        raise NotAnObject("not an object")
    return message


def encode(message: JsonRpcMessage) -> bytes:
    """Write one line. Half a surrogate pair, which is no text, becomes a question mark."""
    try:
        return msgspec.json.encode(message) + b"\n"
    except UnicodeEncodeError:
        return msgspec.json.encode(encodable(message)) + b"\n"


def request(number: Id, method: str, params: Any) -> JsonRpcMessage:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def notification(method: str, params: Any) -> JsonRpcMessage:
    return {"jsonrpc": "2.0", "method": method, "params": params}


def result(number: Id, value: Any) -> JsonRpcMessage:
    return {"jsonrpc": "2.0", "id": number, "result": value}


def error(number: Id | None, code: int, message: str) -> JsonRpcMessage:
    return {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message}}


def params_of(message: JsonRpcMessage) -> dict[str, Any]:
    """Return the parameters, which may be absent."""
    params = message.get("params")
    return params if isinstance(params, dict) else {}


class LineTooLong(ValueError):
    """A line passed the limit; it was skipped."""


class LineReader:
    """Cuts a stream of bytes into lines, sans I/O. A line over the limit is skipped whole."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._parts: list[bytes] = []
        self._size = 0
        self._skipping = False

    def feed(self, data: bytes) -> Iterator[bytes | LineTooLong]:
        """Return the lines that *data* completes, without their end; empty ones are left out."""
        *whole, rest = data.split(b"\n")
        for piece in whole:
            line = self._complete(piece)
            if line is not None:
                yield line
        self._keep(rest)

    def _complete(self, piece: bytes) -> bytes | LineTooLong | None:
        self._keep(piece)
        parts, self._parts, self._size = self._parts, [], 0
        if self._skipping:
            self._skipping = False
            return LineTooLong(f"a line of over {self._bytes_max} bytes")
        return b"".join(parts).strip() or None

    def _keep(self, piece: bytes) -> None:
        if self._skipping:
            return
        self._size += len(piece)
        if self._size > self._bytes_max:
            self._parts, self._skipping = [], True
        else:
            self._parts.append(piece)

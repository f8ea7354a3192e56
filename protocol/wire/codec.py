"""Bodies of frames: messages to bytes and back.

``decode_from_proxy`` and ``decode_from_daemon`` are the two ways in. What they raise:
:class:`BadFrame` (not a MessagePack map: the link is over), :class:`UnknownMessage`
and :class:`InvalidMessage` (the link goes on).
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from protocol.errors import RemoteProtocolError
from protocol.wire.messages import FromDaemon, FromProxy


class BadFrame(RemoteProtocolError):
    """The body is not one MessagePack map. The link is over."""


class UnknownMessage(RemoteProtocolError):
    """The type ``t`` is missing or not one of this protocol. The link goes on."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="unknown_message")


class InvalidMessage(RemoteProtocolError):
    """A known type with wrong fields; the text names the type and the field."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="invalid_message")


class _Tag(Struct):
    """Reads only the type, to name which message was wrong."""

    t: Any = None


_encoder = msgspec.msgpack.Encoder()
_from_proxy: msgspec.msgpack.Decoder[FromProxy] = msgspec.msgpack.Decoder(FromProxy)
_from_daemon: msgspec.msgpack.Decoder[FromDaemon] = msgspec.msgpack.Decoder(FromDaemon)
_tag = msgspec.msgpack.Decoder(_Tag)
_FROM_PROXY_TYPES: Final = frozenset(kind.__struct_config__.tag for kind in FromProxy.__args__)
_FROM_DAEMON_TYPES: Final = frozenset(kind.__struct_config__.tag for kind in FromDaemon.__args__)

M = TypeVar("M")


def encode(message: FromProxy | FromDaemon) -> bytes:
    """Return the body of one frame. Framing adds the length (``protocol.wire.framing``)."""
    return _encoder.encode(message)


def decode_from_proxy(body: bytes | bytearray | memoryview) -> FromProxy:
    """Read what a proxy sent.

    Raises:
        BadFrame: not one MessagePack map.
        UnknownMessage: no such message from a proxy.
        InvalidMessage: the message lacks a field or has one of a wrong type.
    """
    return _decode(_from_proxy, _FROM_PROXY_TYPES, body)


def decode_from_daemon(body: bytes | bytearray | memoryview) -> FromDaemon:
    """Read what the daemon sent. Raises the same as :func:`decode_from_proxy`."""
    return _decode(_from_daemon, _FROM_DAEMON_TYPES, body)


def _decode(
    decoder: msgspec.msgpack.Decoder[M],
    known: frozenset[Any],
    body: bytes | bytearray | memoryview,
) -> M:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as wrong:
        reason = str(wrong)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as torn:
        raise BadFrame(f"the body is not a MessagePack map: {torn}") from None
    try:
        kind = _tag.decode(body).t
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise BadFrame("the body is not one MessagePack map") from None
    if not isinstance(kind, str) or kind not in known:
        raise UnknownMessage(f"unknown message type {kind!r}"[:200])
    raise InvalidMessage(f"{kind}: {reason}"[:500])

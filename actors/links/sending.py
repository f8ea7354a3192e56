"""What of a message fits its frame, and what of it a proxy on another machine can use."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from typing import Final

import msgspec
import trio

from actors.kit.tls import TlsStream
from protocol.wire import messages as wire
from protocol.wire.framing import BODY_BYTES_MAX, FrameTooLarge, frame

DELIVER_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of content that would not fit its frame."""
LINGER_BYTES_MAX: Final = 2 * BODY_BYTES_MAX
LINGER_READ_BYTES: Final = 256 * 1024


def peer_of(stream: trio.abc.Stream) -> str:
    if isinstance(stream, TlsStream):
        stream = stream.transport
    return str(stream.socket.getpeername()[0]) if isinstance(stream, trio.SocketStream) else ""


def is_here(stream: trio.abc.Stream) -> bool:
    """Whether the proxy is on this machine for sure, so that files it names are files here."""
    if isinstance(stream, TlsStream):
        return False
    if not isinstance(stream, trio.SocketStream):
        return True
    return ipaddress.ip_address(peer_of(stream).partition("%")[0]).is_loopback


async def linger(stream: trio.abc.Stream) -> None:
    """After the last frame, take what the peer still sends, so that it reads that frame.

    To close a socket with unread input resets the connection, and the peer's system then
    drops what it has received and not read (RFC 1122, section 4.2.2.13). Cancelled from
    outside; ends by itself when the peer closes, or after as much as two large frames.
    """
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        if isinstance(stream, trio.SocketStream):
            await stream.send_eof()
        left = LINGER_BYTES_MAX
        while left > 0:
            data = await stream.receive_some(LINGER_READ_BYTES)
            if not data:
                return
            left -= len(data)


def is_remote(stream: trio.abc.Stream) -> bool:
    """Whether the proxy may be on another machine, where our paths mean nothing."""
    return isinstance(stream, TlsStream)


def without_paths(message: wire.FromDaemon) -> wire.FromDaemon:
    """Return *message* for another machine: what was downloaded is fetched by its key there."""
    if not isinstance(message, wire.Deliver) or not message.attachments:
        return message
    attachments = [msgspec.structs.replace(one, path=None) for one in message.attachments]
    return msgspec.structs.replace(message, attachments=attachments)


def fitting(message: wire.FromDaemon) -> bytes:
    """Return *message* as a frame. One that is too large is an error of its call alone."""
    try:
        return frame(message)
    except FrameTooLarge as large:
        match message:
            case wire.ToolResult(id=number):
                error = f"result too large ({large.size} bytes); ask for less"
                return frame(wire.ToolResult(id=number, ok=False, error=error))
            case wire.Deliver(content=content):
                cut = content.encode()[:DELIVER_BYTES_MAX].decode(errors="ignore")
                note = f"\n\n[{len(content) - len(cut)} more characters do not fit a frame]"
                return frame(msgspec.structs.replace(message, content=cut + note))
        error = f"the answer does not fit a frame ({large.size} bytes)"
        return frame(wire.Error(code="invalid_message", message=error, fatal=False))

"""How many values a MessagePack body holds, counted without making any of them.

A body of 8 MiB may be one text, which is decoded in 15 ms, or eight million empty lists,
which take 16 s that nothing can interrupt. So what is large is counted first, in slices.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from protocol.wire.codec import InvalidMessage
from protocol.wire.framing import FrameBody

WEIGHED_FROM_BYTES: Final = 16 * 1024
"""What is smaller is decoded in a few milliseconds, whatever it holds."""
VALUES_MAX: Final = 20_000
"""Of one message. No message of the contract comes near it; decoding so many takes some 10 ms."""
EARLY_VALUES_MAX: Final = 4_096
"""Before registration: a ``register`` has some 100."""
SLICE_VALUES: Final = 4_096
"""Counted in half a millisecond."""


def _plain() -> list[int]:  # pragma: no mutate block  # runs at import only
    """By first byte: the bytes of a value whose size it states; 0 where a length follows."""
    sizes = [1] * 256
    for byte in range(0xA0, 0xC0):
        sizes[byte] = 1 + (byte & 0x1F)
    for first, widths in ((0xCA, (4, 8)), (0xCC, (1, 2, 4, 8)), (0xD0, (1, 2, 4, 8))):
        for at, width in enumerate(widths):
            sizes[first + at] = 1 + width
    for at, width in enumerate((1, 2, 4, 8, 16)):
        sizes[0xD4 + at] = 2 + width
    for byte in (0xDC, 0xDE):
        sizes[byte] = 3
    for byte in (0xDD, 0xDF):
        sizes[byte] = 5
    for byte in _LENGTHS:
        sizes[byte] = 0
    return sizes


_LENGTHS: Final = {
    **dict(zip((0xC4, 0xC5, 0xC6), ((1, 0), (2, 0), (4, 0)), strict=True)),
    **dict(zip((0xC7, 0xC8, 0xC9), ((1, 1), (2, 1), (4, 1)), strict=True)),
    **dict(zip((0xD9, 0xDA, 0xDB), ((1, 0), (2, 0), (4, 0)), strict=True)),
}
"""First byte of a text, of bytes or of an extension: how wide its length is, and what follows."""
_PLAIN: Final = _plain()


def weigh(body: FrameBody, values_max: int) -> Iterator[int]:
    """Count the values in *body*, keys included; yield after each slice of them.

    A body that is no MessagePack is counted as if it were: its decoder finds that out.

    Raises:
        InvalidMessage: it holds more than *values_max*.
    """
    at, end, count = 0, len(body), 0
    while at < end:
        first = body[at]
        size = _PLAIN[first]
        if not size:
            width, more = _LENGTHS[first]
            size = 1 + width + more + int.from_bytes(body[at + 1 : at + 1 + width], "big")
        at += size
        count += 1
        if count > values_max:
            raise InvalidMessage(f"a message of over {values_max} values; send less in one")
        if not count % SLICE_VALUES:
            yield count

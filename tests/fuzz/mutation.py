"""Inputs made of real ones by seed: values replaced where they are, bytes where they are not."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any, Final

import msgspec

ODD: Final[tuple[Any, ...]] = (
    None,
    True,
    0,
    -1,
    2**31,
    2**63 - 1,
    1.5,
    1e308,
    "",
    " ",
    "x" * 3_000,
    "../../x",
    "\u202e<AT id=all>\n\r\x00",
    "\ud83d\ude00界",
    "{0} %s",
    [],
    {},
    [[[[[]]]]],
    {"": None},
    [None, 1, "x", {}],
    "own-1",
    "turn_1",
    "```\n" * 50,
    "<think>",
)


def mutated(rng: random.Random, seeds: list[bytes]) -> bytes:
    """Return one to three inputs together, each changed in one of several ways."""
    return b"".join(_one(rng, rng.choice(seeds)) for _ in range(rng.choice((1, 1, 2, 3))))


def _one(rng: random.Random, seed: bytes) -> bytes:
    if rng.random() < 0.7:
        for decode, encode in (_JSON, _FRAME):
            try:
                value = decode(seed)
            except (ValueError, UnicodeError):
                continue
            for _ in range(rng.choice((1, 1, 2, 5))):
                value = _changed(rng, value)
            try:
                return encode(value)
            except (ValueError, OverflowError, TypeError, UnicodeError):
                return seed
    data = bytearray(seed)
    for _ in range(rng.choice((1, 2, 8))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(4):
            case 0:
                data[at : at + 1] = rng.randbytes(1)
            case 1:
                data[at:at] = rng.randbytes(rng.randrange(1, 9))
            case 2:
                del data[at : at + rng.randrange(1, 30)]
            case _:
                data[at:at] = data[at : at + 40] * rng.randrange(1, 5)
    return bytes(data)


def _changed(rng: random.Random, value: Any) -> Any:
    match value:
        case dict() if value and rng.random() < 0.9:
            key = rng.choice(list(value))
            match rng.randrange(6):
                case 0:
                    return {name: one for name, one in value.items() if name != key}
                case 1:
                    return {**value, key: rng.choice(ODD)}
                case 2:
                    return {**value, rng.choice(list(value)): value[key]}
                case _:
                    return {**value, key: _changed(rng, value[key])}
        case list() if value and rng.random() < 0.9:
            at = rng.randrange(len(value))
            if rng.random() < 0.2:
                return value * rng.choice((0, 2, 50))
            return [*value[:at], _changed(rng, value[at]), *value[at + 1 :]]
        case str() if value[:1] in ("{", "[") and rng.random() < 0.8:
            try:
                return json.dumps(_changed(rng, json.loads(value)))
            except ValueError:
                return value[::-1]
    return rng.choice(ODD)


def _frame_encoded(value: Any) -> bytes:
    body = msgspec.msgpack.encode(value)
    return len(body).to_bytes(4, "big") + body


_JSON: Final[tuple[Callable[[bytes], Any], Callable[[Any], bytes]]] = (
    json.loads,
    lambda value: json.dumps(value).encode() + b"\n",
)
_FRAME: Final[tuple[Callable[[bytes], Any], Callable[[Any], bytes]]] = (
    lambda seed: msgspec.msgpack.decode(seed[4:]),
    _frame_encoded,
)

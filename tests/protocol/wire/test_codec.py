"""Bodies of frames, both ways, and what is wrong with one."""

from __future__ import annotations

import msgspec
import pytest

from protocol.errors import RemoteProtocolError
from protocol.wire import codec
from protocol.wire import messages as wire


def test_what_one_end_writes_the_other_reads() -> None:
    ack = wire.Ack(event_id="e", attempt=1)
    assert codec.decode_from_proxy(codec.encode(ack)) == ack
    cancel = wire.Cancel(turn_id="t", reason="user")
    assert codec.decode_from_daemon(codec.encode(cancel)) == cancel


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        ({"t": "acK"}, "unknown_message", "unknown message type 'acK'"),
        ({"t": "cancel", "turn_id": "t"}, "unknown_message", "unknown message type 'cancel'"),
        ({"a": 1}, "unknown_message", "unknown message type None"),
        ({"t": "x" * 300}, "unknown_message", f"unknown message type '{'x' * 178}"),
        (
            {"t": "ack", "event_id": "e"},
            "invalid_message",
            "ack: Object missing required field `attempt`",
        ),
        ([1], "bad_frame", "the body is not one MessagePack map"),
    ],
)
def test_what_is_wrong_is_named_by_type_and_field(message: object, code: str, text: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        codec.decode_from_proxy(msgspec.msgpack.encode(message))
    assert (caught.value.code, str(caught.value)) == (code, text)


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x81\xa1t", b"\x91" * 5_000])
def test_what_is_no_message_at_all_ends_the_link(body: bytes) -> None:
    with pytest.raises(codec.BadFrame) as caught:
        codec.decode_from_daemon(body)
    assert caught.value.code == "bad_frame"
    assert str(caught.value).startswith("the body is not ")


def test_a_message_of_the_proxy_is_none_of_the_daemon() -> None:
    ack = codec.encode(wire.Ack(event_id="e", attempt=1))
    with pytest.raises(codec.UnknownMessage, match="unknown message type 'ack'"):
        codec.decode_from_daemon(ack)

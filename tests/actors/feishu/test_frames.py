"""The codec of frames, held against the message that lark-oapi brings."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.internal import api_implementation
from hypothesis import given
from hypothesis import strategies as st
from lark_oapi.ws.pb import pbbp2_pb2

from actors.feishu.frames import decode_frame, encode_frame
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.platform.longconn import Frame

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
frames = st.builds(
    Frame,
    seq_id=st.integers(0, 2**64 - 1),
    log_id=st.integers(0, 2**64 - 1),
    service=st.integers(-(2**31), 2**31 - 1),
    method=st.integers(0, 1),
    headers=st.lists(st.tuples(text, text), max_size=6).map(tuple),
    payload_encoding=st.none() | text,
    payload_type=st.none() | text,
    payload=st.none() | st.binary(max_size=40),
    log_id_new=st.none() | text,
)


@given(frame=frames)
def test_a_frame_comes_back_as_it_went(frame: Frame) -> None:
    assert decode_frame(encode_frame(frame)) == frame


def as_lark_oapi(frame: Frame) -> Any:
    message = pbbp2_pb2.Frame(
        SeqID=frame.seq_id, LogID=frame.log_id, service=frame.service, method=frame.method
    )
    for key, value in frame.headers:
        message.headers.add(key=key, value=value)
    for ours, theirs in (
        ("payload_encoding", "payload_encoding"),
        ("payload_type", "payload_type"),
        ("payload", "payload"),
        ("log_id_new", "LogIDNew"),
    ):
        if getattr(frame, ours) is not None:
            setattr(message, theirs, getattr(frame, ours))
    return message


@given(frame=frames)
def test_lark_oapi_writes_the_same_bytes_and_reads_ours(frame: Frame) -> None:
    theirs = as_lark_oapi(frame)
    assert encode_frame(frame) == theirs.SerializeToString()
    assert pbbp2_pb2.Frame.FromString(encode_frame(frame)) == theirs
    assert decode_frame(theirs.SerializeToString()) == frame


def test_the_runtime_is_the_compiled_one() -> None:
    assert api_implementation.Type() == "upb"


def test_required_fields_are_written_also_when_zero() -> None:
    # Field numbers 1 to 4, as varints: a proto2 reader wants all four.
    assert encode_frame(Frame(service=0, method=0)) == bytes([8, 0, 16, 0, 24, 0, 32, 0])


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"junk",
        b"\x08\x01",
        b"\x2a\x02\xff\xff",
        b"\x53" * 100_000,
        bytes([8, 0, 16, 0, 24, 0, 32, 0, 0x4A, 1, 0xFF]),
    ],
    ids=["nothing", "text", "half", "bad header", "nested groups", "not UTF-8"],
)
def test_junk_is_the_peers_fault(junk: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_frame(junk)


@given(junk=st.binary(max_size=60))
def test_any_bytes_are_a_frame_or_the_peers_fault(junk: bytes) -> None:
    try:
        decode_frame(junk)
    except RemoteProtocolError:
        return


@given(frame=frames, data=st.data())
def test_changed_bytes_are_a_frame_or_the_peers_fault(frame: Frame, data: st.DataObject) -> None:
    raw = bytearray(encode_frame(frame))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode_frame(bytes(raw))
    except RemoteProtocolError:
        return


def test_a_frame_that_cannot_be_written_is_our_fault() -> None:
    with pytest.raises(LocalProtocolError):
        encode_frame(Frame(service=2**31, method=0))

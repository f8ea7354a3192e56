"""The sandbox's frames, held against the message that the official client brings."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2
from hypothesis import given
from hypothesis import strategies as st
from lark_oapi.ws.pb import pbbp2_pb2

from actors.sandbox import frames

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
FRAMES = st.builds(
    frames.Frame,
    seq_id=st.integers(0, 2**64 - 1),
    log_id=st.integers(0, 2**64 - 1),
    service=st.integers(-(2**31), 2**31 - 1),
    method=st.integers(0, 1),
    headers=st.dictionaries(TEXT, TEXT, max_size=6),
    payload=st.binary(max_size=40),
)


def test_the_schema_is_the_official_one() -> None:
    official = descriptor_pb2.FileDescriptorProto.FromString(pbbp2_pb2.DESCRIPTOR.serialized_pb)
    for message in official.message_type:
        for field in message.field:
            field.ClearField("options")  # of the generator for Go
    assert frames.schema().message_type == official.message_type


@given(frame=FRAMES)
def test_the_official_message_reads_and_writes_the_same(frame: frames.Frame) -> None:
    theirs = pbbp2_pb2.Frame.FromString(frames.encode(frame))
    assert theirs.IsInitialized()
    assert {header.key: header.value for header in theirs.headers} == frame.headers
    assert frames.decode(theirs.SerializeToString()) == frame


@given(data=st.binary(max_size=60))
def test_any_bytes_are_a_frame_or_none(data: bytes) -> None:
    try:
        frames.decode(data)
    except frames.NotAFrame:
        return


@pytest.mark.parametrize(
    "data",
    [b"", b"junk", b"\x08\x01", bytes([8, 0, 16, 0, 24, 0, 32, 0, 0x2A, 5, 10, 1, 255, 18, 0])],
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(frames.NotAFrame):
        frames.decode(data)

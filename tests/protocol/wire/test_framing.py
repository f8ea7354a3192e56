"""Frames come out as they went in, however the stream is cut; what is no frame ends it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import RemoteProtocolError
from protocol.wire.codec import decode_from_proxy
from protocol.wire.framing import (
    BODY_BYTES_MAX,
    LARGE_BODY_BYTES,
    FrameBody,
    FrameReader,
    FrameTooLarge,
    frame,
)
from protocol.wire.messages import Delta
from tests.kit.cutting import pieces


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


@given(
    st.lists(st.binary(min_size=1, max_size=300), max_size=6),
    st.lists(st.integers(min_value=0, max_value=2_000), max_size=8),
)
def test_bodies_are_the_same_wherever_the_stream_is_cut(
    bodies: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(map(framed, bodies))
    reader = FrameReader()
    found: list[bytes] = []
    for piece in pieces(stream, cuts):
        reader.feed(piece)
        found += map(bytes, reader)
    assert found == bodies


def test_an_unfinished_body_waits_and_a_finished_one_does_not() -> None:
    reader = FrameReader()
    reader.feed(framed(b"whole") + b"\0\0\0\5hal")
    assert list(reader) == [b"whole"]
    assert list(reader) == []
    reader.feed(b"f!")
    assert list(reader) == [b"half!"]


def test_how_large_a_body_will_be_is_known_from_its_first_bytes() -> None:
    reader = FrameReader()
    for data, size in ((b"", 0), (b"\0\0\1", 0), (b"\2", 258), (b"x" * 257, 258), (b"x", 0)):
        reader.feed(data)
        assert [len(one) for one in reader] == [258] * (data == b"x")
        assert reader.unfinished == size


def test_a_reader_that_stops_early_goes_on_where_it_was() -> None:
    reader = FrameReader()
    reader.feed(framed(b"one") + framed(b"two"))
    bodies = iter(reader)
    assert next(bodies) == b"one"
    bodies.close()  # type: ignore[attr-defined]  # it is a generator
    assert list(reader) == [b"two"]


@pytest.mark.parametrize(
    ("size", "is_frame"), [(0, False), (1, True), (10, True), (11, False), (2**32 - 1, False)]
)
def test_a_length_is_checked_before_its_body_has_come(size: int, is_frame: bool) -> None:
    reader = FrameReader(body_bytes_max=10)
    reader.feed(size.to_bytes(4, "big"))
    if is_frame:
        assert list(reader) == []
        return
    with pytest.raises(RemoteProtocolError, match=f"a frame of {size} bytes; .* 1 to 10 bytes"):
        list(reader)


def test_frames_before_a_bad_one_are_read() -> None:
    reader = FrameReader()
    reader.feed(framed(b"good") + b"\0\0\0\0")
    bodies = iter(reader)
    assert next(bodies) == b"good"
    with pytest.raises(RemoteProtocolError):
        next(bodies)


def test_the_limit_may_be_raised_while_reading() -> None:
    reader = FrameReader(body_bytes_max=4)
    reader.feed(framed(b"hi") + framed(b"longer"))
    bodies = iter(reader)
    assert next(bodies) == b"hi"
    reader.body_bytes_max = 6
    assert next(bodies) == b"longer"


def test_what_is_unfinished_can_be_let_go() -> None:
    reader = FrameReader()
    reader.feed(b"\0\0\0\5hal")
    reader.clear()
    reader.feed(framed(b"new"))
    assert list(reader) == [b"new"]


def test_a_message_is_a_frame_that_reads_back() -> None:
    message = Delta(turn_id="t", text="Grüße 世界")
    reader = FrameReader()
    reader.feed(frame(message))
    (body,) = reader
    assert decode_from_proxy(body) == message


def test_half_a_surrogate_pair_becomes_a_question_mark() -> None:
    reader = FrameReader()
    reader.feed(frame(Delta(turn_id="t", text="a\ud83db")))
    (body,) = reader
    assert decode_from_proxy(body) == Delta(turn_id="t", text="a?b")


def test_a_message_over_eight_mebibytes_is_refused_by_name() -> None:
    with pytest.raises(FrameTooLarge, match=r"a Delta of \d+ bytes does not fit") as refused:
        frame(Delta(turn_id="t", text="x" * BODY_BYTES_MAX))
    assert refused.value.size > BODY_BYTES_MAX
    overhead = len(frame(Delta(turn_id="t", text="x" * 70_000))) - 4 - 70_000
    whole = frame(Delta(turn_id="t", text="x" * (BODY_BYTES_MAX - overhead)))
    assert len(whole) == BODY_BYTES_MAX + 4


@given(
    st.lists(st.sampled_from((1, 100, LARGE_BODY_BYTES - 1, LARGE_BODY_BYTES, 200_000))),
    st.integers(1, 300_000),
)
def test_large_bodies_between_small_ones_are_whole_also_after_more_was_read(
    sizes: list[int], piece: int
) -> None:
    bodies = [bytes((number % 251,)) * size for number, size in enumerate(sizes)]
    stream = b"".join(map(framed, bodies))
    reader = FrameReader()
    found: list[FrameBody] = []
    for at in range(0, len(stream), piece):
        reader.feed(stream[at : at + piece])
        found += reader
    assert found == bodies
    assert all(isinstance(one, memoryview) == (len(one) >= LARGE_BODY_BYTES) for one in found)

"""One JSON object a line, however the bytes arrive."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.agents import jsonrpc
from protocol.agents.jsonrpc import LineReader, LineTooLong, NotAnObject
from tests.kit.cutting import pieces


def fed(lines: LineReader, chunks: list[bytes]) -> list[bytes | None]:
    """What comes out; None where a line was too long."""
    return [
        None if isinstance(line, LineTooLong) else line
        for chunk in chunks
        for line in lines.feed(chunk)
    ]


@given(
    st.lists(st.binary(max_size=12).map(lambda raw: raw.replace(b"\n", b""))),
    st.lists(st.integers(min_value=0, max_value=200), max_size=8),
)
def test_lines_are_the_same_wherever_the_stream_is_cut(lines: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    assert fed(LineReader(bytes_max=12), pieces(stream, cuts)) == [
        stripped for line in lines if (stripped := line.strip())
    ]


@pytest.mark.parametrize(("size", "passes"), [(9, True), (10, True), (11, False)])
@pytest.mark.parametrize("step", [1, 4, 100])
def test_a_line_over_the_limit_is_skipped_whole_and_the_next_is_read(
    size: int, passes: bool, step: int
) -> None:
    stream = b"x" * size + b"\nnext\n"
    chunks = [stream[start : start + step] for start in range(0, len(stream), step)]
    long = b"x" * size if passes else None
    assert fed(LineReader(bytes_max=10), chunks) == [long, b"next"]


def test_what_was_skipped_is_not_kept() -> None:
    lines = LineReader(bytes_max=10)
    assert fed(lines, [b"x" * 6, b"x" * 6, b"x" * 6, b"\nab", b"cd\n"]) == [None, b"abcd"]


def test_an_endless_line_is_named_with_its_limit() -> None:
    (line,) = LineReader(bytes_max=3).feed(b"abcd\n")
    assert isinstance(line, LineTooLong)
    assert str(line) == "a line of over 3 bytes"


def test_lines_end_as_windows_ends_them_too() -> None:
    assert fed(LineReader(bytes_max=100), [b'{"a":1}\r\n\r\n  \n']) == [b'{"a":1}']


@pytest.mark.parametrize("line", [b"[]", b"1", b'"text"', b"null"])
def test_json_of_another_kind_is_no_object(line: bytes) -> None:
    with pytest.raises(NotAnObject, match=r"^not an object$"):
        jsonrpc.decode(line)


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"\xff{}", b'{"a":"\xff"}', b"[" * 100_000, b'{"a":' * 100_000],
)
def test_what_is_no_json_raises_nothing_else(line: bytes) -> None:
    with pytest.raises(NotAnObject) as refused:
        jsonrpc.decode(line)
    assert str(refused.value)


@given(st.text(), st.integers() | st.text())
def test_what_is_written_is_one_line_that_reads_back(text: str, number: int | str) -> None:
    message = jsonrpc.request(number, "a/b", {"text": text})
    line = jsonrpc.encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert jsonrpc.decode(line) == {
        "jsonrpc": "2.0",
        "id": number,
        "method": "a/b",
        "params": {"text": text},
    }


def test_half_a_surrogate_pair_becomes_a_question_mark() -> None:
    line = jsonrpc.encode(jsonrpc.notification("a", {"x": "b\ud83d"}))
    assert line.endswith(b"\n")
    assert msgspec.json.decode(line) == {
        "jsonrpc": "2.0",
        "method": "a",
        "params": {"x": "b?"},
    }


def test_the_shapes_of_answers() -> None:
    assert jsonrpc.result(7, [1]) == {"jsonrpc": "2.0", "id": 7, "result": [1]}
    assert jsonrpc.error(None, jsonrpc.PARSE_ERROR, "what") == {
        "jsonrpc": "2.0",
        "id": None,
        "error": {"code": -32700, "message": "what"},
    }


@pytest.mark.parametrize("params", [None, [], "text", 3])
def test_parameters_may_be_absent_or_odd(params: object) -> None:
    assert jsonrpc.params_of({"params": params}) == {}
    assert jsonrpc.params_of({}) == {}
    assert jsonrpc.params_of({"params": {"a": 1}}) == {"a": 1}

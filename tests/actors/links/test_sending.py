"""A message that fits no frame is an error of its call, and never ends the connection."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from actors.links.sending import DELIVER_BYTES_MAX, fitting
from protocol.wire import messages as wire
from protocol.wire.framing import BODY_BYTES_MAX

DELIVER = wire.Deliver(
    event_id="e",
    turn_id="t",
    attempt=1,
    lease_epoch=1,
    chat_id="c",
    content="界" * 3_000_000,
    meta={"kind": "message"},
)


def sent(message: wire.FromDaemon) -> dict[str, Any]:
    framed = fitting(message)
    assert len(framed) - 4 == int.from_bytes(framed[:4], "big") <= BODY_BYTES_MAX
    decoded: dict[str, Any] = msgspec.msgpack.decode(framed[4:])
    return decoded


def test_a_message_of_a_chat_that_is_too_long_is_delivered_with_its_beginning() -> None:
    content = sent(DELIVER)["content"]
    kept, _, note = content.partition("\n\n[")
    assert len(kept.encode()) <= DELIVER_BYTES_MAX
    assert DELIVER.content.startswith(kept)
    assert note == f"{len(DELIVER.content) - len(kept)} more characters do not fit a frame]"
    short = msgspec.structs.replace(DELIVER, content="short")
    assert sent(short)["content"] == "short"


@pytest.mark.parametrize("size", [BODY_BYTES_MAX, 9_000_000])
def test_a_result_that_is_too_large_is_an_error_with_its_size(size: int) -> None:
    answer = sent(wire.ToolResult(id=7, ok=True, result="x" * size))
    assert (answer["id"], answer["ok"]) == (7, False)
    assert answer["error"].startswith("result too large (")
    assert answer["error"].endswith(" bytes); ask for less")


def test_whatever_else_is_too_large_is_an_error_that_is_not_fatal() -> None:
    verdict = wire.PermissionVerdict(request_id="r" * BODY_BYTES_MAX, outcome="cancelled")
    error = sent(verdict)
    assert (error["t"], error["code"], error["fatal"]) == ("error", "invalid_message", False)

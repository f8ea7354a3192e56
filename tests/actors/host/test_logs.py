"""Logging: what is shown where, what never is, and that it never stands in the way."""

from __future__ import annotations

import io
import json
import logging
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from actors.host import logs
from actors.host.log_sinks import QUEUED_LINES_MAX, RotatingFile, Sink, StreamWriter
from actors.kit.redaction import REDACTED, Redaction

CLOSE_S = 60.0


@pytest.fixture(autouse=True)
def _own_configuration() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# ── what is shown ───────────────────────────────────────────────────────────


def test_a_terminal_has_text_and_the_file_json(tmp_path: Path) -> None:
    screen = Terminal()
    configured = logs.configure(stream=screen, file=tmp_path / "larkd.log")
    structlog.get_logger().info("feishu.connected", account="main", note="two words", n=3)
    configured.close(within_s=CLOSE_S)
    (shown,) = screen.getvalue().splitlines()
    assert shown[12:] == ' info    feishu.connected account=main note="two words" n=3'
    (event,) = lines(tmp_path / "larkd.log")
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "level": "info",
        "event": "feishu.connected",
        "account": "main",
        "note": "two words",
        "n": 3,
    }


def test_anything_else_has_json_lines_and_both_can_be_chosen() -> None:
    for stream, chosen, is_json in (
        (io.StringIO(), None, True),
        (io.StringIO(), "text", False),
        (Terminal(), "json", True),
    ):
        configured = logs.configure(stream=stream, format=chosen)  # type: ignore[arg-type]  # from the table
        structlog.get_logger().warning("lease.changed", owner="会话")
        configured.close(within_s=CLOSE_S)
        assert stream.getvalue().startswith("{") == is_json
        assert "会话" in stream.getvalue()


@pytest.mark.parametrize(
    ("level", "shown"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)]
)
def test_the_level_leaves_out_what_is_below(level: Any, shown: int) -> None:
    stream = io.StringIO()
    configured = logs.configure(stream=stream, level=level)
    log = structlog.get_logger()
    for write in (log.debug, log.info, log.warning, log.error):
        write("daemon.ready")
    configured.close(within_s=CLOSE_S)
    assert len(stream.getvalue().splitlines()) == shown


def test_an_exception_has_its_traceback() -> None:
    screen = Terminal()
    configured = logs.configure(stream=screen)
    try:
        raise RuntimeError("broken \x1b[31m pipe")
    except RuntimeError:
        structlog.get_logger().exception("link.crashed")
    configured.close(within_s=CLOSE_S)
    shown = screen.getvalue()
    assert "Traceback" in shown
    assert "RuntimeError: broken \\u001b[31m pipe" in shown
    assert "\x1b" not in shown


MOVING = "\x1b[2J\x9b2J\u202e\u2028\u2066\u200b\x7f\ud800\n12:00:00.000 info    daemon.ready"
"""What clears a screen, turns the direction, ends a line or can't be written at all."""


def test_what_others_wrote_moves_no_cursor_and_begins_no_line(tmp_path: Path) -> None:
    for chosen in ("text", "json"):
        stream = io.StringIO()
        configured = logs.configure(stream=stream, format=chosen, file=tmp_path / chosen)
        structlog.get_logger().warning("lease.changed", owner=MOVING, more={MOVING: [MOVING]})
        configured.close(within_s=CLOSE_S)
        for (line,) in (
            stream.getvalue().splitlines(),
            (tmp_path / chosen).read_text().split("\n")[:-1],
        ):
            assert line.isprintable(), line
        (event,) = lines(tmp_path / chosen)
        assert event["more"] == {MOVING: [MOVING]}, "nothing is lost by it"


def test_what_an_exception_quotes_looks_like_no_event() -> None:
    screen = Terminal()
    configured = logs.configure(stream=screen)
    try:
        raise RuntimeError(MOVING)
    except RuntimeError:
        structlog.get_logger().exception("link.crashed")
    configured.close(within_s=CLOSE_S)
    first, *rest = screen.getvalue().splitlines()
    assert first.endswith("link.crashed")
    assert all(one.startswith("  ") and one.replace("\t", "").isprintable() for one in rest)


def test_a_value_can_not_forge_a_field_or_a_line() -> None:
    screen = Terminal()
    configured = logs.configure(stream=screen)
    structlog.get_logger().info("row.offered", name='x" level=error\nforged', empty="", none=None)
    configured.close(within_s=CLOSE_S)
    (shown,) = screen.getvalue().splitlines()
    assert shown.endswith(r'name="x\" level=error\nforged" empty="" none=null')


def test_warnings_of_libraries_are_logged_too() -> None:
    stream = io.StringIO()
    configured = logs.configure(stream=stream)
    configured.register_secret("s3cretvalue")
    library = logging.getLogger("httpx")
    library.info("GET https://open.feishu.cn")
    library.warning("retry %s of %s", 1, "s3cretvalue")
    library.warning("malformed %d", "x")
    configured.close(within_s=CLOSE_S)
    (shown,) = stream.getvalue().splitlines()
    event = json.loads(shown)
    assert (event["event"], event["library"], event["level"]) == (
        "library.warned",
        "httpx",
        "warning",
    )
    assert event["message"] == f"retry 1 of {REDACTED}"


# ── what never is ───────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "key",
    [
        *("token", "tenant_access_token", "appSecret", "app_secret", "Authorization"),
        *("proof", "ticket", "access_key", "X-Api-Key", "password"),
    ],
)
def test_a_key_that_names_a_secret_hides_its_value(key: str) -> None:
    redact = Redaction()
    for value in ("t-123", 5, {"a": 1}, b"x"):
        assert redact(None, "info", {"event": "e", key: value})[key] == REDACTED
    assert redact(None, "info", {"deep": [{key: "x"}]}) == {"deep": [{key: REDACTED}]}
    assert redact(None, "info", {key: None}) == {key: None}


@pytest.mark.parametrize("key", ["input_tokens", "tokens", "secretary", "proofread", "token_kind"])
def test_a_key_that_only_sounds_like_one_does_not(key: str) -> None:
    assert Redaction()(None, "info", {key: 5}) == {key: 5}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer t-abc.def", f"Authorization: Bearer {REDACTED}"),
        (
            "wss://h/ws?fpid=1&access_key=ab12&service_id=3&ticket=uuid",
            f"wss://h/ws?fpid=1&access_key={REDACTED}&service_id=3&ticket={REDACTED}",
        ),
        ('{"app_secret": "yyy", "n": 1}', f'{{"app_secret": "{REDACTED}", "n": 1}}'),
        ("{'AppSecret': 'yyy'}", f"{{'AppSecret': '{REDACTED}'}}"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_text_of_the_shape_of_a_secret_is_hidden(text: str, shown: str) -> None:
    assert Redaction()(None, "info", {"error": text})["error"] == shown


def test_a_registered_secret_is_hidden_wherever_it_turns_up() -> None:
    redact = Redaction()
    redact.register("hunter2")
    redact.register("hunter2-longer")
    redact.register("abc")  # too short to differ from a word

    class Odd:
        def __repr__(self) -> str:
            return "Odd(hunter2)"

    event = redact(
        None,
        "info",
        {
            "event": "see hunter2-longer!",
            "nested": {"hunter2": ["hunter2", Odd()]},
            "error": ValueError("hunter2 abc"),
            "bytes": b"hunter2",
        },
    )
    assert "hunter2" not in json.dumps(event)
    assert event["event"] == f"see {REDACTED}!"
    assert event["error"] == f"{REDACTED} abc"


def test_a_traceback_shows_no_secret() -> None:
    stream = io.StringIO()
    configured = logs.configure(stream=stream)
    configured.register_secret("hunter2")
    try:
        raise RuntimeError("refused: hunter2")
    except RuntimeError:
        structlog.get_logger().exception("gateway.failed")
    configured.close(within_s=CLOSE_S)
    assert "hunter2" not in stream.getvalue()
    assert "refused" in stream.getvalue()


# ── it never stands in the way ──────────────────────────────────────────────


def test_no_value_breaks_a_log_call() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    loop: list[Any] = []
    loop.append(loop)
    stream = io.StringIO()
    configured = logs.configure(stream=stream)
    structlog.get_logger().info(
        "odd", a=Broken(), b=loop, c=float("nan"), d="\ud800", e={1: {2}}, f="x" * 100_000
    )
    configured.close(within_s=CLOSE_S)
    event = json.loads(stream.getvalue())
    assert event["a"] == "<Broken without a repr: RuntimeError>"
    assert event["c"] == "nan"
    assert event["e"] == {"1": [2]}
    assert len(event["f"]) < 20_000


def test_a_closed_terminal_loses_lines_and_nothing_else(tmp_path: Path) -> None:
    stream = io.StringIO()
    stream.close()
    configured = logs.configure(stream=stream, file=tmp_path / "larkd.log")
    structlog.get_logger().info("daemon.ready")
    configured.close(within_s=CLOSE_S)
    assert [event["event"] for event in lines(tmp_path / "larkd.log")] == ["daemon.ready"]
    assert configured.lost == 1


def test_a_reader_that_stalls_holds_nobody_up(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb"), os.fdopen(write_end, "w") as stalled:
        configured = logs.configure(stream=stalled, file=tmp_path / "larkd.log", format="json")
        log = structlog.get_logger()
        for number in range(QUEUED_LINES_MAX // 4):
            log.info("row.offered", padding="x" * 256, number=number)
        # The pipe holds 64 KiB; its thread hangs in a write by now, this one never did.
        file_sink = configured._sinks[1][1]
        file_sink.close(within_s=CLOSE_S)
        assert len(lines(tmp_path / "larkd.log")) == QUEUED_LINES_MAX // 4
        # Let the stuck writer end before the descriptors close under it.
        stuck = configured._sinks[0][1]
        os.set_blocking(read_end, False)
        drained = threading.Thread(target=_drain, args=(read_end, stuck._thread))
        drained.start()
        stuck.close(within_s=CLOSE_S)
        drained.join()
    assert configured.lost == 0


def _drain(read_end: int, until: threading.Thread) -> None:
    while until.is_alive():
        try:
            os.read(read_end, 65_536)
        except BlockingIOError:
            until.join(0.001)


class Gate:
    """A writer that waits until it may write."""

    def __init__(self) -> None:
        self.may_write = threading.Event()
        self.inside = threading.Event()
        self.written: list[str] = []

    def write(self, lines: str) -> None:
        self.inside.set()
        self.may_write.wait()
        self.written.append(lines)

    def close(self) -> None:
        pass


def test_a_full_queue_loses_the_newest_and_counts_them() -> None:
    gate = Gate()
    sink = Sink("gate", gate)
    sink.put("first")
    gate.inside.wait()
    for number in range(QUEUED_LINES_MAX + 7):
        sink.put(str(number))
    assert sink.lost == 7
    gate.may_write.set()
    sink.close(within_s=CLOSE_S)
    lines = "".join(gate.written).splitlines()
    assert lines == ["first", *(str(number) for number in range(QUEUED_LINES_MAX))]
    sink.put("too late")
    assert sink.lost == 8


def test_closing_gives_up_a_write_that_hangs() -> None:
    gate = Gate()
    sink = Sink("gate", gate)
    sink.put("hangs")
    gate.inside.wait()
    sink.close(within_s=0.01)
    assert gate.written == []
    gate.may_write.set()


# ── the file ────────────────────────────────────────────────────────────────


def test_the_file_is_private_and_rotates_within_its_bounds(tmp_path: Path) -> None:
    path = tmp_path / "larkd.log"
    file = RotatingFile(path, bytes_max=30, kept=2)
    for number in range(12):
        file.write(f"line {number:03}.\n")
    file.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {found.name: found.read_text() for found in tmp_path.iterdir()} == {
        "larkd.log": "line 009.\nline 010.\nline 011.\n",
        "larkd.log.1": "line 006.\nline 007.\nline 008.\n",
        "larkd.log.2": "line 003.\nline 004.\nline 005.\n",
    }


def test_a_line_larger_than_a_file_is_written_alone(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "larkd.log", bytes_max=4, kept=1)
    file.write("0123456789\n")
    file.write("next\n")
    file.close()
    assert (tmp_path / "larkd.log").read_text() == "next\n"
    assert (tmp_path / "larkd.log.1").read_text() == "0123456789\n"


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    for word in ("one\n", "two\n"):
        file = RotatingFile(tmp_path / "larkd.log", bytes_max=100, kept=1)
        file.write(word)
        file.close()
    assert (tmp_path / "larkd.log").read_text() == "one\ntwo\n"


def test_after_a_failure_the_next_line_is_tried_again(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "gone" / "larkd.log", bytes_max=100, kept=1)
    with pytest.raises(FileNotFoundError):
        file.write("lost\n")
    (tmp_path / "gone").mkdir()
    file.write("kept\n")
    file.close()
    assert (tmp_path / "gone" / "larkd.log").read_text() == "kept\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_counted() -> None:
    with Path("/dev/full").open("w") as full:
        sink = Sink("stderr", StreamWriter(full))
        sink.put("x")
        sink.close(within_s=CLOSE_S)
        assert sink.lost == 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


def test_a_terminal_of_another_encoding_gets_escapes() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    StreamWriter(stream).write("会\n")
    assert raw.getvalue() == b"\\u4f1a\n"

"""Logging: what goes to the terminal and to ``larkd.log``, and what never is.

Text on a terminal, JSON lines otherwise; the file always has JSON lines. Two things
hold whatever happens: a log call never waits (each sink writes in a thread of its own,
through a bounded queue), and never raises (a closed terminal or a full disk loses
lines, which are counted).
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec
import structlog
from structlog.processors import format_exc_info

from actors.host.log_sinks import RotatingFile, Sink, StreamWriter
from actors.kit.plain import plain
from actors.kit.redaction import Redaction
from protocol.config.keys import LogFormat, LogLevel

LEVELS: Final[Mapping[LogLevel, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
FILE_BYTES_MAX: Final = 8 * 1024 * 1024
FILES_KEPT: Final = 4
"""With the one in use at most 40 MiB of disk: about 100,000 events."""
_LEVEL_OF: Final = {"warn": "warning", "exception": "error"}
"""Of the names that structlog has for the same level."""
INDENTS: Final = "\t"
_FIRST_KEYS: Final = ("timestamp", "level", "event")

EventDict = MutableMapping[str, Any]


class Logs:
    """The sinks in use. Close it last: it waits, within its deadline, for what is queued."""

    def __init__(self, sinks: list[tuple[Callable[[EventDict], str], Sink]]) -> None:
        self._sinks = sinks
        self.redaction = Redaction()

    def register_secret(self, secret: str) -> None:
        """Never show this string, wherever it turns up."""
        self.redaction.register(secret)

    def write(self, event: EventDict) -> None:
        rendered: dict[Callable[[EventDict], str], str] = {}
        for render, sink in self._sinks:
            line = rendered.get(render)
            if line is None:
                line = rendered[render] = render(event)
            sink.put(line)

    @property
    def lost(self) -> int:
        """Lines that could not be written, so far."""
        return sum(sink.lost for _, sink in self._sinks)

    def close(self, *, within_s: float) -> None:
        """Write what is queued. What is logged from now on is lost, and counted."""
        for _, sink in self._sinks:
            sink.close(within_s=within_s)


def configure(
    *,
    format: LogFormat | None = None,  # noqa: A002  # the name it has in the configuration
    level: LogLevel = "info",
    file: Path | None = None,
    stream: TextIO | None = None,
) -> Logs:
    """Send every log event to *stream* (standard error) and *file*; return what to close.

    Call it once, before the loop runs. A *format* of None asks whether *stream* is a
    terminal.
    """
    stream = sys.stderr if stream is None else stream
    if format is None:
        format = "text" if _is_terminal(stream) else "json"  # noqa: A001  # see above
    sinks: list[tuple[Callable[[EventDict], str], Sink]] = []
    if not _is_discarded(stream):
        render = as_text if format == "text" else as_json
        sinks.append((render, Sink("stderr", StreamWriter(stream))))
    if file is not None:
        sinks.append((as_json, Sink("file", RotatingFile(file, FILE_BYTES_MAX, FILES_KEPT))))
    logs = Logs(sinks)
    structlog.configure(
        processors=[_with_level_and_time, logs.redaction, _whole_event],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_name: _Logger(logs),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_FromLibraries()]
    root.setLevel(logging.WARNING)
    return logs


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def _is_discarded(stream: TextIO) -> bool:
    """Whether what is written there is read by nobody: the null device."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), Path(os.devnull).stat())
    except (OSError, ValueError):  # no file at all, or closed
        return False


def _with_level_and_time(_logger: object, method: str, event: EventDict) -> EventDict:
    """Add level, time and traceback: structlog's three processors, which cost a line twice that."""
    event["level"] = _LEVEL_OF.get(method, method)
    now_us = time.time_ns() // 1_000
    event["timestamp"] = f"{_second(now_us // 1_000_000)}.{now_us % 1_000_000:06d}Z"
    return format_exc_info(None, method, event) if "exc_info" in event else event


@lru_cache(maxsize=2)
def _second(unix_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(unix_s))


def _whole_event(
    _logger: object, _method: str, event: EventDict
) -> tuple[tuple[EventDict], dict[str, Any]]:
    """Hand the event as it is to the logger, which renders it for each sink."""
    return (event,), {}


class _Logger:
    """What structlog calls in the end; the level was dealt with before."""

    def __init__(self, logs: Logs) -> None:
        self._write = logs.write

    def msg(self, event: EventDict) -> None:
        self._write(event)

    debug = info = warning = warn = error = critical = fatal = exception = failure = log = msg


class _FromLibraries(logging.Handler):
    """Warnings of libraries that use the standard library's logging."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            structlog.get_logger().log(
                min(max(record.levelno, logging.WARNING), logging.ERROR),
                "library.warned",
                library=record.name,
                message=record.getMessage(),
                exc_info=record.exc_info or None,
            )
        except Exception:  # noqa: BLE001  # a library's malformed message must not stop it
            self.lost = getattr(self, "lost", 0) + 1


# ── rendering ───────────────────────────────────────────────────────────────


def as_json(event: EventDict) -> str:
    ordered = {key: event[key] for key in _FIRST_KEYS if key in event} | dict(event)
    try:
        return plain(msgspec.json.encode(ordered).decode())
    except (TypeError, ValueError, OverflowError):
        # Half a surrogate pair, or a number past 64 bits.
        return plain(json.dumps(ordered, ensure_ascii=False, default=repr, separators=(",", ":")))


def as_text(event: EventDict) -> str:
    at, level, name = (str(event.get(key, "")) for key in _FIRST_KEYS)
    traceback = event.get("exception")
    fields = " ".join(
        f"{key}={_shown(value)}"
        for key, value in event.items()
        if key not in _FIRST_KEYS and key != "exception"
    )
    line = f"{at[11:23]} {level:<7} {_shown(name)} {fields}".rstrip()
    if traceback is None:
        return line
    # Indented: what an exception quotes begins no line that looks like an event.
    return line + "".join(f"\n  {plain(one, INDENTS)}" for one in str(traceback).split("\n"))


def _shown(value: object) -> str:
    """A word as it is, all else quoted, so that no value looks like another field."""
    if isinstance(value, str) and value.isprintable() and not set(value) & set(' "=\\') and value:
        return value
    return plain(json.dumps(value, ensure_ascii=False, default=repr))

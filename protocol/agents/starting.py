"""How ``larkd acp`` reports to who started it: ready, or failed. One line of JSON on its output."""

from __future__ import annotations

from typing import Final

import msgspec

WITHIN_S: Final = 60.0
"""Agents take 2 to 30 s to start (`agents.md` §3); twice that on a machine with other work."""
REPORT_BYTES_MAX: Final = 64 * 1024


class ReportReady(msgspec.Struct, frozen=True, tag="ready"):
    """Its session is registered, under this alias, and its agent takes prompts."""

    alias: str


class ReportFailed(msgspec.Struct, frozen=True, tag="failed"):
    """It ends; *why* is several lines, the last of them the agent's own."""

    why: str


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """It is not ready yet; the last line that the agent wrote on its standard error."""

    line: str


Report = ReportReady | ReportFailed | Progress
_DECODER: Final[msgspec.json.Decoder[Report]] = msgspec.json.Decoder(Report)


def encode(report: Report) -> bytes:
    """Return the report as its line."""
    return msgspec.json.encode(report) + b"\n"


def decode(line: bytes) -> Report | None:
    """Return what a line reports; None: it is no report."""
    try:
        return _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeError):
        return None

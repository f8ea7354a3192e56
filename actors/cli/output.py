"""What a command gives back: the text to print and the exit status."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from actors.host.exit_status import ExitStatus

JSON_VERSION: Final = 1
"""Rises when a key of any ``--json`` output changes its meaning or goes."""


class Output(NamedTuple):
    text: str
    status: int = ExitStatus.ORDERLY


def as_asked(parsed: argparse.Namespace, text: str, facts: Mapping[str, Any]) -> Output:
    """Return *text*, or with ``--json`` the same as *facts* for scripts."""
    return Output(as_json(facts) if parsed.json else text)


class CommandFailed(Exception):
    """The command did not do what it was asked; the text gives the reason and the remedy."""

    def __init__(self, text: str, status: int = ExitStatus.FAILED) -> None:
        super().__init__(text)
        self.status = status


def as_json(content: Mapping[str, Any]) -> str:
    """Return *content* as indented JSON, with the version of the format in front."""
    whole = {"version": JSON_VERSION, **content}
    return msgspec.json.format(msgspec.json.encode(whole), indent=2).decode()

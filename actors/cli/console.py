"""``larkd console``: the address of the console, with the token that opens it."""

from __future__ import annotations

import argparse
from typing import Final

import msgspec

from actors.cli.operator import not_running
from actors.cli.output import CommandFailed, Output, as_asked
from actors.host import state_dir
from actors.host.tokens import read_token
from protocol.config.places import StateDir
from protocol.wire.console import console_token

TO_ADD: Final = """\
[console]
host = "127.0.0.1"
port = 7347
"""


class _Served(msgspec.Struct):
    url: str


def run(state: StateDir, parsed: argparse.Namespace) -> Output:
    """Return the address, made with the dispatcher's token, or an observer's to look only.

    Raises:
        CommandFailed: no daemon runs, or it serves no console.
        ConfigurationError: the token can't be used.
    """
    if state_dir.serving_pid(state) is None:
        raise CommandFailed(not_running(state))
    try:
        address = msgspec.json.decode(state.console.read_bytes(), type=_Served)
    except (OSError, msgspec.DecodeError):
        raise CommandFailed(
            "the daemon serves no console; add it to the end of the configuration, and restart:"
            f"\n\n{TO_ADD}"
        ) from None
    key = read_token(state.token("observer" if parsed.read_only else "dispatcher"))
    url = f"{address.url}?token={console_token(key)}"
    return as_asked(parsed, url, {"url": url, "read_only": parsed.read_only})

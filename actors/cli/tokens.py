"""``larkd tokens rotate``: a new token for a role."""

from __future__ import annotations

import argparse
import secrets

from actors.cli.output import Output
from actors.host import tokens
from protocol.config.places import StateDir


def run(state: StateDir, parsed: argparse.Namespace) -> Output:
    """Replace the role's token.

    Raises:
        ConfigurationError: there is no state directory, or it can't be written.
    """
    path = tokens.rotate(state, parsed.role, secrets.token_urlsafe)
    return Output(
        f"new {parsed.role} token in {path}; the old one proves nothing any more."
        " Open connections stay."
    )

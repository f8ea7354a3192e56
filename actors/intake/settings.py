"""What is configured for the intake of one account."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from protocol.ids import AccountId
from protocol.routing import access
from protocol.routing.roster import ReplyMode
from protocol.strings import Language


class IntakeSettings(msgspec.Struct, frozen=True, kw_only=True):
    account: AccountId
    policy: access.Policy
    language: Language
    session_reply_mode: ReplyMode
    agents: tuple[str, ...]
    """Names of the agents that can be started from a chat."""
    attachments: Path
    """Where what messages carry is saved: a private directory."""
    mint_code: Callable[[], str]
    """A new pairing code, from a cryptographic source."""
    topic_sessions: bool = False
    """Whether each topic is a place of its own in every group, not only in topic groups."""
    topic_agent: str | None = None
    """The agent that the first message of a topic starts."""

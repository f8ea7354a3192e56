"""The words of protocol version 1: roles, capabilities, codes, reasons, and its constants."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

PROTOCOL_VERSION: Final = 1
DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 7345
NONCE_BYTES: Final = 32
SESSION_ID_PATTERN: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)
OWN_TURN_ID_PATTERN: Final = re.compile(r"own-[A-Za-z0-9._-]{1,64}", re.ASCII)
"""Ids of turns that a session opens by itself; the daemon's own ids never look so."""
STEP_TEXT_BYTES_MAX: Final = 64 * 1024
"""Of a step's ``output``, ``error`` and ``diff`` each; the latest is kept."""
NOT_REGISTERED: Final = "channel proxy is not registered"
"""The error of every tool called before registration (``ownership.md``, Tools)."""

Role = Literal["dispatcher", "session", "observer"]
ROLES: Final[tuple[Role, ...]] = ("dispatcher", "session", "observer")
CAPABILITY_TURNS: Final = "turns"
CAPABILITY_CANCEL: Final = "cancel"
CAPABILITY_PERMISSION: Final = "permission"
CAPABILITY_OPTIONS: Final = "options"
"""Sends ``offer``, honours ``choose``."""
CAPABILITY_RESTORES: Final = "restores"
"""Brings its agent's conversation back under the same session id."""
CAPABILITY_CONVERSATIONS: Final = "conversations"
"""Sends ``conversation``, honours ``resume``: the daemon keeps its agent's conversation."""
CAPABILITY_OPERATOR: Final = "operator"
"""A dispatcher-role connection with it is a person at the command line: it may call what
the dispatcher may, and is no session: not listed, never dispatcher, owner or target."""
CAPABILITY_INSIDE: Final = "inside"
"""An observer with it speaks for the session it names: see ``protocol.wire.inside``."""
CAPABILITIES: Final = frozenset(
    {
        CAPABILITY_INSIDE,
        CAPABILITY_TURNS,
        CAPABILITY_CANCEL,
        CAPABILITY_PERMISSION,
        CAPABILITY_OPTIONS,
        CAPABILITY_RESTORES,
        CAPABILITY_CONVERSATIONS,
        CAPABILITY_OPERATOR,
    }
)


class GivenAnswer(Struct, frozen=True, kw_only=True):
    """What one question of ``elicit`` was answered with; both empty where it was left out."""

    labels: tuple[str, ...] = ()
    text: str = ""


RefusedCode = Literal[
    "unsupported_protocol",
    "bad_proof",
    "invalid_session_id",
    "register_timeout",
    "draining",
    "too_many_sessions",
    "role_mismatch",
    "standby",
]
"""What this daemon refuses with. A newer one may know more: on the wire it is a ``str``."""
ErrorCode = Literal[
    "bad_frame",
    "unknown_message",
    "invalid_message",
    "not_registered",
    "already_registered",
    "unknown_turn",
    "turn_refused",
]
ByeReason = Literal["shutdown", "replaced", "slow_consumer"]
CancelReason = Literal["user", "shutdown", "timeout", "recalled"]
TurnStatus = Literal["complete", "aborted", "error"]
ToolKind = Literal["read", "search", "execute", "edit", "think", "other"]
ToolStatus = Literal["running", "success", "error"]
DeltaChannel = Literal["answer", "reasoning"]
PlanStatus = Literal["pending", "in_progress", "completed"]
PermissionKind = Literal["allow_once", "allow_always", "reject_once", "reject_always"]
AttachmentKind = Literal["image", "file", "audio", "video"]
OptionKind = Literal["mode", "model", "effort", "other"]
ConversationState = Literal["open", "restored", "lost"]
ConversationId = Annotated[str, Meta(min_length=1, max_length=512, pattern=r"\A[^\x00]*\Z")]
"""Of an agent's own; opaque."""

MetadataKey = Annotated[str, Meta(max_length=64)]
MetadataValue = Annotated[str, Meta(max_length=1024)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Meta(max_length=32)]
Nonce = Annotated[bytes, Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]


def is_operator(role: Role, capabilities: Iterable[str]) -> bool:
    """Whether who registers so is a person at the command line, and no session."""
    return role == "dispatcher" and CAPABILITY_OPERATOR in capabilities


def is_sessionless(role: Role, capabilities: Iterable[str]) -> bool:
    """Whether who registers so comes to look or to operate, and is no session."""
    return role == "observer" or is_operator(role, capabilities)

"""Every message that crosses TCP between the daemon and a proxy, protocol version 1.

A message is one MessagePack map whose key ``t`` names its type. Unknown keys are
ignored, so a newer peer can talk to an older one; new fields have defaults and a
field never changes its type.

How they are encoded and decoded, and what a wrong one is answered with, is in
``protocol.wire.codec``.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from protocol.wire.vocabulary import (
    PROTOCOL_VERSION,
    AttachmentKind,
    CancelReason,
    ConversationId,
    ConversationState,
    DeltaChannel,
    GivenAnswer,
    Metadata,
    Nonce,
    OptionKind,
    PermissionKind,
    PlanStatus,
    Role,
    ToolKind,
    ToolStatus,
    TurnStatus,
)


class _Message(Struct, frozen=True, kw_only=True, tag_field="t"):
    """A message that crosses TCP; its ``t`` is the tag."""


# ── either way ──────────────────────────────────────────────────────────────


class Ping(_Message, frozen=True, kw_only=True, tag="ping"):
    n: int


class Pong(_Message, frozen=True, kw_only=True, tag="pong"):
    n: int


# ── proxy to daemon ─────────────────────────────────────────────────────────


class Register(_Message, frozen=True, kw_only=True, tag="register"):
    protocol: int
    session_id: str
    role: Role
    proof: str
    pid: int
    proxy_version: str
    nonce: Nonce | None = None
    """With one, ``registered.proof`` shows that the daemon holds the token, too."""
    metadata: Metadata = {}
    capabilities: list[str] = []


class Ack(_Message, frozen=True, kw_only=True, tag="ack"):
    event_id: str
    attempt: int


class Delta(_Message, frozen=True, kw_only=True, tag="delta"):
    """Text of the answer (or of the reasoning), appended verbatim."""

    turn_id: str
    text: str
    channel: DeltaChannel = "answer"


class FileDiff(Struct, frozen=True, kw_only=True):
    """What a step changes in one file; *old* is nil where the file is new or not known."""

    path: str
    new: str
    old: str | None = None


class ToolEvent(_Message, frozen=True, kw_only=True, tag="tool_event"):
    """Opens a step, or updates the fields of it that are not nil."""

    turn_id: str
    call_id: str
    name: str | None = None
    kind: ToolKind | None = None
    status: ToolStatus | None = None
    summary: str | None = None
    input: Any = None
    parent_id: str | None = None
    duration_ms: int | None = None
    output: str | None = None
    error: str | None = None
    diff: list[FileDiff] | None = None


class PlanEntry(Struct, frozen=True, kw_only=True):
    content: str
    status: PlanStatus


class Plan(_Message, frozen=True, kw_only=True, tag="plan"):
    turn_id: str
    entries: list[PlanEntry]


class Usage(_Message, frozen=True, kw_only=True, tag="usage"):
    turn_id: str
    used: int | None = None
    size: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


class TurnEnd(_Message, frozen=True, kw_only=True, tag="turn_end"):
    turn_id: str
    status: TurnStatus
    text: str | None = None
    error: str | None = None


class TurnOpen(_Message, frozen=True, kw_only=True, tag="turn_open"):
    """Opens a turn that nobody asked for: the agent goes on by itself.

    The place is that of the session's last turn where nil. Success is silent.
    """

    turn_id: str
    account: str | None = None
    chat_id: str | None = None
    thread_id: str | None = None
    title: str | None = None
    """The card's first line."""


class Choice(Struct, frozen=True, kw_only=True):
    id: str
    name: str
    description: str | None = None


class Option(Struct, frozen=True, kw_only=True):
    """Something people can change about the agent: its mode, its model, its effort."""

    id: str
    name: str
    kind: OptionKind
    value: str
    """The ``id`` of the choice that holds now."""
    choices: list[Choice]


class SlashCommand(Struct, frozen=True, kw_only=True):
    """A slash command of the agent's own."""

    name: str
    description: str | None = None
    hint: str | None = None


class OptionsOffer(_Message, frozen=True, kw_only=True, tag="offer"):
    """All that people can change and call; replaces the offer before."""

    options: list[Option] = []
    commands: list[SlashCommand] = []


class Chosen(_Message, frozen=True, kw_only=True, tag="chosen"):
    """What came of ``choose``; a fresh ``offer`` follows where something changed."""

    n: int
    ok: bool
    error: str | None = None


class Conversation(_Message, frozen=True, kw_only=True, tag="conversation"):
    """Which conversation of its agent the session is in: the daemon keeps that.

    Sent with each prompt, and as the agent runs again: the earlier one was ``restored``, or is
    ``lost`` and *why*.
    """

    id: ConversationId
    state: ConversationState = "open"
    title: str | None = None
    """Nil: as it was."""
    why: str | None = None


class EarlierConversation(Struct, frozen=True, kw_only=True):
    id: ConversationId
    title: str | None = None
    used_at: int | None = None
    """Milliseconds since 1970."""


class Resumed(_Message, frozen=True, kw_only=True, tag="resumed"):
    """What came of ``resume``. *conversations*, newest first, where it asked for a list."""

    n: int
    ok: bool
    error: str | None = None
    conversations: list[EarlierConversation] | None = None
    """Nil: the agent lists none; the daemon's record holds."""


class Tool(_Message, frozen=True, kw_only=True, tag="tool"):
    id: int
    name: str
    args: dict[str, Any] = {}


class PermissionOption(Struct, frozen=True, kw_only=True):
    id: str
    label: str
    kind: PermissionKind


class PermissionRequest(_Message, frozen=True, kw_only=True, tag="permission_request"):
    request_id: str
    title: str
    options: list[PermissionOption]
    turn_id: str | None = None
    detail: str | None = None


class PermissionClosed(_Message, frozen=True, kw_only=True, tag="permission_closed"):
    request_id: str
    reason: str


class AnswerTaken(_Message, frozen=True, kw_only=True, tag="answer_taken"):
    n: int
    ok: bool


# ── daemon to proxy ─────────────────────────────────────────────────────────


class Hello(_Message, frozen=True, kw_only=True, tag="hello"):
    """Nothing else is sent to who has not proved anything yet."""

    nonce: bytes
    protocol: int = PROTOCOL_VERSION


class Registered(_Message, frozen=True, kw_only=True, tag="registered"):
    session_id: str
    alias: str
    role: Role
    lease_epoch: int
    daemon_version: str = ""
    pid: int = 0
    generation: int = 0
    """Counts daemon starts in this state directory, from 1."""
    proof: str | None = None
    """Of the daemon, over the proxy's nonce; nil where it sent none."""
    cluster: str | None = None
    node: str | None = None
    conversation: str | None = None
    """The one that the session was in last, for who has the capability ``conversations``."""


class Refused(_Message, frozen=True, kw_only=True, tag="refused"):
    code: str
    """One of ``RefusedCode``, or of a newer daemon. One that is not known is not final."""
    message: str
    at: list[str] = []
    """Of a standby: where the holder is, as ``tls://host:port``."""
    node: str | None = None
    """Of a standby: the holder, if it knows one."""
    retry_after_ms: int | None = None


class Error(_Message, frozen=True, kw_only=True, tag="error"):
    code: str
    """One of ``ErrorCode``, or of a newer daemon."""
    message: str
    fatal: bool
    turn_id: str | None = None


class Attachment(Struct, frozen=True, kw_only=True):
    kind: AttachmentKind
    name: str
    file_key: str
    path: str | None = None
    size: int | None = None
    note: str | None = None


class Deliver(_Message, frozen=True, kw_only=True, tag="deliver"):
    event_id: str
    turn_id: str
    attempt: int
    lease_epoch: int
    chat_id: str
    content: str
    meta: dict[str, str]
    attachments: list[Attachment] = []


class Cancel(_Message, frozen=True, kw_only=True, tag="cancel"):
    turn_id: str
    reason: CancelReason


class Choose(_Message, frozen=True, kw_only=True, tag="choose"):
    """Somebody chose; answered by ``chosen`` with the same *n* within 10 s."""

    n: int
    option: str
    choice: str


class Resume(_Message, frozen=True, kw_only=True, tag="resume"):
    """Somebody asks for the agent's earlier conversations, or takes one up: see ``resumed``."""

    n: int
    conversation: str | None = None


class ToolResult(_Message, frozen=True, kw_only=True, tag="tool_result"):
    id: int
    ok: bool
    result: Any = None
    error: str | None = None


class PermissionVerdict(_Message, frozen=True, kw_only=True, tag="permission_verdict"):
    request_id: str
    outcome: Literal["selected", "cancelled"]
    option_id: str | None = None
    by: str | None = None


class ElicitAnswer(_Message, frozen=True, kw_only=True, tag="answer"):
    """Somebody answered what was asked by the tool ``elicit``; answered by ``answer_taken``."""

    n: int
    question: str
    action: Literal["accept", "decline"]
    answers: list[GivenAnswer] = []


class Bye(_Message, frozen=True, kw_only=True, tag="bye"):
    reason: str
    """One of ``ByeReason``, or of a newer daemon."""
    retry_after_ms: int | None = None
    at: list[str] = []
    """Where the session is served next, as ``tls://host:port``."""


FromProxy = (
    Ping
    | Pong
    | Register
    | Ack
    | Delta
    | ToolEvent
    | Plan
    | Usage
    | TurnEnd
    | TurnOpen
    | OptionsOffer
    | Chosen
    | Conversation
    | Resumed
    | Tool
    | PermissionRequest
    | PermissionClosed
    | AnswerTaken
)
FromDaemon = (
    Ping
    | Pong
    | Hello
    | Registered
    | Refused
    | Error
    | Deliver
    | Cancel
    | Choose
    | Resume
    | ToolResult
    | PermissionVerdict
    | ElicitAnswer
    | Bye
)
TurnMessage = Delta | ToolEvent | Plan | Usage | TurnEnd
"""What a proxy sends of a turn it was given."""

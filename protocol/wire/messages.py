"""Every message that crosses TCP between the daemon and a proxy, protocol version 1.

A message is one MessagePack map whose key ``t`` names its type. Unknown keys are
ignored, so a newer peer can talk to an older one; new fields have defaults and a
field never changes its type.

``decode_from_proxy`` and ``decode_from_daemon`` are the two ways in. What they raise:
:class:`BadFrame` (not a MessagePack map: the link is over), :class:`UnknownMessage`
and :class:`InvalidMessage` (the link goes on).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from protocol.errors import RemoteProtocolError

PROTOCOL_VERSION: Final = 1
DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 7345
NONCE_BYTES: Final = 32
SESSION_ID_PATTERN: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)
NOT_REGISTERED: Final = "channel proxy is not registered"
"""The error of every tool called before registration (``ownership.md``, Tools)."""

Role = Literal["dispatcher", "session", "observer"]
ROLES: Final[tuple[Role, ...]] = ("dispatcher", "session", "observer")
CAPABILITY_TURNS: Final = "turns"
CAPABILITY_CANCEL: Final = "cancel"
CAPABILITY_PERMISSION: Final = "permission"
CAPABILITY_OPERATOR: Final = "operator"
"""A dispatcher-role connection with it is a person at the command line: it may call what
the dispatcher may, and is no session: not listed, never dispatcher, owner or target."""

RefusedCode = Literal[
    "unsupported_protocol",
    "bad_proof",
    "invalid_session_id",
    "register_timeout",
    "draining",
    "too_many_sessions",
]
ErrorCode = Literal[
    "bad_frame",
    "unknown_message",
    "invalid_message",
    "not_registered",
    "already_registered",
    "unknown_turn",
]
ByeReason = Literal["shutdown", "replaced", "slow_consumer"]
CancelReason = Literal["user", "shutdown", "timeout", "recalled"]
TurnStatus = Literal["complete", "aborted", "error"]
ToolKind = Literal["read", "search", "execute", "edit", "think", "other"]
ToolStatus = Literal["running", "success", "error"]
DeltaChannel = Literal["answer", "reasoning"]

MetadataKey = Annotated[str, Meta(max_length=64)]
MetadataValue = Annotated[str, Meta(max_length=1024)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Meta(max_length=32)]


def is_operator(role: Role, capabilities: Iterable[str]) -> bool:
    """Whether who registers so is a person at the command line, and no session."""
    return role == "dispatcher" and CAPABILITY_OPERATOR in capabilities


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


class PlanEntry(Struct, frozen=True, kw_only=True):
    content: str
    status: Literal["pending", "in_progress", "completed"]


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


class Tool(_Message, frozen=True, kw_only=True, tag="tool"):
    id: int
    name: str
    args: dict[str, Any] = {}


class PermissionOption(Struct, frozen=True, kw_only=True):
    id: str
    label: str
    kind: Literal["allow_once", "allow_always", "reject_once", "reject_always"]


class PermissionRequest(_Message, frozen=True, kw_only=True, tag="permission_request"):
    request_id: str
    title: str
    options: list[PermissionOption]
    turn_id: str | None = None
    detail: str | None = None


class PermissionClosed(_Message, frozen=True, kw_only=True, tag="permission_closed"):
    request_id: str
    reason: str


# ── daemon to proxy ─────────────────────────────────────────────────────────


class Hello(_Message, frozen=True, kw_only=True, tag="hello"):
    daemon_version: str
    pid: int
    generation: int
    nonce: bytes
    protocol: int = PROTOCOL_VERSION


class Registered(_Message, frozen=True, kw_only=True, tag="registered"):
    session_id: str
    alias: str
    role: Role
    lease_epoch: int


class Refused(_Message, frozen=True, kw_only=True, tag="refused"):
    code: RefusedCode
    message: str


class Error(_Message, frozen=True, kw_only=True, tag="error"):
    code: ErrorCode
    message: str
    fatal: bool
    turn_id: str | None = None


class Attachment(Struct, frozen=True, kw_only=True):
    kind: Literal["image", "file", "audio", "video"]
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


class Bye(_Message, frozen=True, kw_only=True, tag="bye"):
    reason: ByeReason
    retry_after_ms: int | None = None


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
    | Tool
    | PermissionRequest
    | PermissionClosed
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
    | ToolResult
    | PermissionVerdict
    | Bye
)
TurnMessage = Delta | ToolEvent | Plan | Usage | TurnEnd
"""What a proxy says of a turn it was given."""


class BadFrame(RemoteProtocolError):
    """The body is not one MessagePack map. The link is over."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="bad_frame")


class UnknownMessage(RemoteProtocolError):
    """The type ``t`` is missing or not one of this protocol. The link goes on."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="unknown_message")


class InvalidMessage(RemoteProtocolError):
    """A known type with wrong fields; the text names the type and the field."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="invalid_message")


class _Tag(Struct):
    """Reads only the type, to say which message was wrong."""

    t: Any = None


_encoder = msgspec.msgpack.Encoder()
_from_proxy: msgspec.msgpack.Decoder[FromProxy] = msgspec.msgpack.Decoder(FromProxy)
_from_daemon: msgspec.msgpack.Decoder[FromDaemon] = msgspec.msgpack.Decoder(FromDaemon)
_tag = msgspec.msgpack.Decoder(_Tag)
_FROM_PROXY_TYPES: Final = frozenset(kind.__struct_config__.tag for kind in FromProxy.__args__)
_FROM_DAEMON_TYPES: Final = frozenset(kind.__struct_config__.tag for kind in FromDaemon.__args__)

M = TypeVar("M")


def encode(message: FromProxy | FromDaemon) -> bytes:
    """Return the body of one frame. Framing adds the length (``protocol.wire.framing``)."""
    return _encoder.encode(message)


def decode_from_proxy(body: bytes | bytearray | memoryview) -> FromProxy:
    """Read what a proxy sent.

    Raises:
        BadFrame: not one MessagePack map.
        UnknownMessage: no such message from a proxy.
        InvalidMessage: the message lacks a field or has one of a wrong type.
    """
    return _decode(_from_proxy, _FROM_PROXY_TYPES, body)


def decode_from_daemon(body: bytes | bytearray | memoryview) -> FromDaemon:
    """Read what the daemon sent. Raises the same as :func:`decode_from_proxy`."""
    return _decode(_from_daemon, _FROM_DAEMON_TYPES, body)


def _decode(
    decoder: msgspec.msgpack.Decoder[M],
    known: frozenset[Any],
    body: bytes | bytearray | memoryview,
) -> M:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as wrong:
        reason = str(wrong)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as torn:
        raise BadFrame(f"the body is not a MessagePack map: {torn}") from None
    try:
        kind = _tag.decode(body).t
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise BadFrame("the body is not one MessagePack map") from None
    if not isinstance(kind, str) or kind not in known:
        raise UnknownMessage(f"unknown message type {kind!r}"[:200])
    raise InvalidMessage(f"{kind}: {reason}"[:500])

"""What a call to the platform came to, as types.

The gateway returns one of these for every call; nobody else looks at a code.
"""

from __future__ import annotations

from msgspec import Struct

from protocol.ids import CardId, ChatId, MessageId, OpenId
from protocol.platform.events import Mention


class Outcome(Struct, frozen=True, kw_only=True):
    """Base of all outcomes."""


# ── accepted ────────────────────────────────────────────────────────────────


class Accepted(Outcome, frozen=True, kw_only=True):
    """The platform did it (``code`` 0)."""


class CardCreated(Accepted, frozen=True, kw_only=True):
    card_id: CardId


class MessageSent(Accepted, frozen=True, kw_only=True):
    message_id: MessageId
    chat_id: ChatId | None = None


class ChatFound(Accepted, frozen=True, kw_only=True):
    """What a chat is, in the platform's words; empty where it states none."""

    mode: str
    """``group``, ``topic`` or ``p2p``."""
    message_type: str
    """Of a group: ``chat`` or ``thread``."""
    name: str = ""

    @property
    def has_topics_only(self) -> bool:
        """Whether every message of it is of a topic."""
        return self.mode == "topic" or self.message_type == "thread"


class ReactionAdded(Accepted, frozen=True, kw_only=True):
    reaction_id: str


class ChatMembersFound(Accepted, frozen=True, kw_only=True):
    """People of a chat by open_id, with the names they go by; no bots."""

    names: dict[OpenId, str]


class SpeechRecognised(Accepted, frozen=True, kw_only=True):
    text: str


class PersonFound(Accepted, frozen=True, kw_only=True):
    open_id: OpenId | None
    """None: the address is nobody's, or out of the app's range."""


class ReactionsFound(Accepted, frozen=True, kw_only=True):
    """Reactions that apps put on a message, by id."""

    reaction_ids: tuple[str, ...]


class ImageUploaded(Accepted, frozen=True, kw_only=True):
    image_key: str


class FileUploaded(Accepted, frozen=True, kw_only=True):
    file_key: str


class Downloaded(Accepted, frozen=True, kw_only=True):
    size: int
    """Bytes, at the path that was asked for."""


class FoundMessage(Struct, frozen=True, kw_only=True):
    """A message as the platform keeps it; ``content`` is JSON by message type."""

    message_id: MessageId
    message_type: str
    content: str
    sender_id: str
    sender_type: str
    mentions: tuple[Mention, ...] = ()
    forwarded_in: MessageId | None = None
    """The merged and forwarded message this one is part of."""


class MessagesFound(Accepted, frozen=True, kw_only=True):
    """The message asked for, and those forwarded in it. Recalled ones are left out."""

    messages: tuple[FoundMessage, ...]


class CommentReply(Struct, frozen=True, kw_only=True):
    reply_id: str
    markdown: str


class CommentFound(Accepted, frozen=True, kw_only=True):
    """A comment's thread, the comment itself first."""

    replies: tuple[CommentReply, ...]


class BotInfo(Accepted, frozen=True, kw_only=True):
    open_id: OpenId
    name: str


class ClientConfig(Struct, frozen=True, kw_only=True):
    """How the long connection is to behave; seconds. A count of -1 is unlimited."""

    reconnect_count: int = -1
    reconnect_interval_s: int = 120
    reconnect_nonce_s: int = 30
    ping_interval_s: int = 120


class EndpointFound(Accepted, frozen=True, kw_only=True):
    url: str
    """The WebSocket address; its ticket is good for one connection."""
    client_config: ClientConfig


# ── not accepted ────────────────────────────────────────────────────────────


class Rejected(Outcome, frozen=True, kw_only=True):
    """The platform answered, and did not do it."""

    code: int
    message: str
    log_id: str | None = None


class RateLimited(Rejected, frozen=True, kw_only=True):
    retry_after_s: float


class StreamingClosed(Rejected, frozen=True, kw_only=True):
    """Streaming mode of the card is off; re-open it or use full updates."""


class SequenceRefused(Rejected, frozen=True, kw_only=True):
    """A sequence not above the last one: applied before, or overtaken."""


class Busy(Rejected, frozen=True, kw_only=True):
    """The card is in an unanswered interaction, or the message is being sent."""


class TooLarge(Rejected, frozen=True, kw_only=True):
    """Bytes, elements or tables over the platform's limit."""


class Gone(Rejected, frozen=True, kw_only=True):
    """Message or card recalled, deleted, expired: it can't be updated any more."""


class TokenRefused(Rejected, frozen=True, kw_only=True):
    """The tenant token is not taken, also after one renewal."""


class MissingScope(Rejected, frozen=True, kw_only=True):
    scopes: tuple[str, ...]
    grant_url: str | None


class CredentialsRefused(Rejected, frozen=True, kw_only=True):
    """App id or secret is wrong, or the app is disabled: a human has to act."""


class ConnectionLimit(Rejected, frozen=True, kw_only=True):
    """The app has as many long connections as it may have."""


class Oversize(Outcome, frozen=True, kw_only=True):
    """More bytes than were asked for: nothing was kept."""

    bytes_max: int


class NoAnswer(Outcome, frozen=True, kw_only=True):
    """Deadline passed, connection lost, 5xx or rubbish: it may have happened."""

    reason: str


def again_after_s(outcome: Outcome, pause_s: float) -> float | None:
    """Return when the same call may be made again; None: it would come to the same.

    *pause_s* is how long to wait where the platform names no time.
    """
    match outcome:
        case RateLimited(retry_after_s=seconds):
            return seconds
        case Busy() | NoAnswer() | TokenRefused():
            return pause_s
    return None

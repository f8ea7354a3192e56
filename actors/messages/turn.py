"""What the actor that shows a turn accepts: a card, or static replies.

From the link: the proxy's own messages about the turn, as they came, consecutive deltas
joined. From the lane: the end that the daemon decided.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from actors.kit.quiet import QuietReceiver, QuietSender, open_quiet_channel
from actors.messages.base import Message
from protocol.ids import (
    AccountId,
    ChatId,
    ChatType,
    MessageId,
    OpenId,
    PlaceKey,
    SessionId,
    TurnId,
    place_key,
)
from protocol.routing.roster import ReplyMode
from protocol.wire.messages import Delta, TurnMessage
from protocol.wire.pieces import PIECE_CHARACTERS, is_large
from protocol.wire.vocabulary import CancelReason

WAITING_CHARACTERS_MAX: Final = PIECE_CHARACTERS // 2
"""Of text that may lie unread in small pieces, while a card has no use for it yet."""


class Stop(Message, frozen=True, kw_only=True):
    """Bring the turn to aborted now. The first final state wins."""

    reason: CancelReason
    answered: bool = False
    """Whether a message about it is sent in any case: static replies then add none."""


class SessionLost(Message, frozen=True, kw_only=True):
    """The proxy's connection ended with the turn in flight: an error that is shown."""


class Waits(Message, frozen=True, kw_only=True):
    """People are asked for leave or an answer, or one such question is over.

    Nothing new can come of the turn while one is open.
    """

    change: Literal[1, -1]


TurnInput = TurnMessage | Stop | SessionLost | Waits
InputSender = QuietSender[TurnInput]
InputReceiver = QuietReceiver[TurnInput]


def open_inputs(size: int) -> tuple[InputSender, InputReceiver]:
    """Open the mailbox of one turn, whose reader may sleep through text."""
    return open_quiet_channel(size, weigh=_weight, weight_max=WAITING_CHARACTERS_MAX)


def _weight(message: TurnInput) -> int | None:
    if isinstance(message, Delta) and not is_large(message):
        return len(message.text)
    return None


Mode = Literal["streaming", "static"]


class TurnOpening(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a turn when it starts."""

    turn_id: TurnId
    session_id: SessionId
    alias: str
    account: AccountId
    chat_id: ChatId
    message_id: MessageId | None
    """The user's message: what the card replies to. None: a turn of the session's own, whose
    card is sent to the chat."""
    sender_id: OpenId
    chat_type: ChatType
    mode: Mode
    reply_mode: ReplyMode = "verbose"
    title: str | None = None
    """The card's first line."""
    topic: str | None = None
    """``thread_id`` where the topic it is of is a place of its own."""
    nonce: str = ""
    """Of a turn of the session's own, whose id it chose: what is sent of it is not taken for
    what another turn of that id has sent."""

    @property
    def key(self) -> str:
        """Return what names this turn alone, in the uuid of each of its messages."""
        return self.nonce or self.turn_id

    @property
    def place(self) -> PlaceKey:
        """Where it was started from."""
        return place_key(self.account, self.chat_id, self.topic)

"""What the gateway of one account accepts: every HTTP call to the platform.

A card asks for a :class:`Permit` first and makes its plan when it has one, so that
what goes out is the freshest. Everybody else sends a :class:`Call`, which waits for
its own permit inside the gateway.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal

import msgspec
import trio

from actors.kit.mailbox import Reply, ask_or
from actors.messages.base import Message
from protocol.ids import CardId, ChatId, MessageId
from protocol.platform.api_budget import Priority as Priority  # noqa: PLC0414  # callers name it gateway.Priority
from protocol.platform.comments import CommentPlace
from protocol.platform.outcomes import NoAnswer, Outcome

API_LIMIT_CODE: Final = 99991400
"""The code of a limit that counts one API of the app, not one card or chat."""


PERMIT_VALID_S: Final = 1.0


class Api(StrEnum):
    """The platform's own unit of rate limiting: one method and path template."""

    TOKEN = "POST /open-apis/auth/v3/tenant_access_token/internal"  # noqa: S105  # an address, not a secret
    ENDPOINT = "POST /callback/ws/endpoint"
    BOT_INFO = "GET /open-apis/bot/v3/info"
    CREATE_CARD = "POST /open-apis/cardkit/v1/cards"
    UPDATE_CARD = "PUT /open-apis/cardkit/v1/cards/:card_id"
    CARD_SETTINGS = "PATCH /open-apis/cardkit/v1/cards/:card_id/settings"
    ELEMENT_CONTENT = "PUT /open-apis/cardkit/v1/cards/:card_id/elements/:element_id/content"
    BATCH_UPDATE = "POST /open-apis/cardkit/v1/cards/:card_id/batch_update"
    PATCH_ELEMENT = "PATCH /open-apis/cardkit/v1/cards/:card_id/elements/:element_id"
    CREATE_MESSAGE = "POST /open-apis/im/v1/messages"
    REPLY_MESSAGE = "POST /open-apis/im/v1/messages/:message_id/reply"
    ADD_REACTION = "POST /open-apis/im/v1/messages/:message_id/reactions"
    LIST_REACTIONS = "GET /open-apis/im/v1/messages/:message_id/reactions"
    REMOVE_REACTION = "DELETE /open-apis/im/v1/messages/:message_id/reactions/:reaction_id"
    UPLOAD_IMAGE = "POST /open-apis/im/v1/images"
    UPLOAD_FILE = "POST /open-apis/im/v1/files"
    GET_MESSAGE = "GET /open-apis/im/v1/messages/:message_id"
    GET_CHAT = "GET /open-apis/im/v1/chats/:chat_id"
    GET_CHAT_MEMBERS = "GET /open-apis/im/v1/chats/:chat_id/members"
    FIND_PERSON = "POST /open-apis/contact/v3/users/batch_get_id"
    GET_RESOURCE = "GET /open-apis/im/v1/messages/:message_id/resources/:file_key"
    GET_COMMENT = "GET /open-apis/drive/v1/files/:file_token/comments/:comment_id/replies"
    REPLY_COMMENT = "POST /open-apis/drive/v1/files/:file_token/comments/:comment_id/replies"
    RECOGNISE_SPEECH = "POST /open-apis/speech_to_text/v1/speech/file_recognize"
    PATCH_MESSAGE = "PATCH /open-apis/im/v1/messages/:message_id"


TEXT_APIS: Final = (Api.ELEMENT_CONTENT, Api.BATCH_UPDATE, Api.PATCH_ELEMENT, Api.UPDATE_CARD)
"""What can carry new text of an element, the best one first."""

MessageType = Literal["text", "post", "interactive", "image", "file", "media", "audio"]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One call to the platform. Its outcome type stands in the docstring."""


class DiscoverEndpoint(Operation, frozen=True, kw_only=True):
    """→ :class:`~protocol.platform.EndpointFound`."""


class GetBotInfo(Operation, frozen=True, kw_only=True):
    """→ :class:`~protocol.platform.BotInfo`."""


class CreateCard(Operation, frozen=True, kw_only=True):
    """→ :class:`~protocol.platform.CardCreated`."""

    card_json: str


class UpdateCard(Operation, frozen=True, kw_only=True):
    card_id: CardId
    card_json: str
    sequence: int
    uuid: str


class CardSettings(Operation, frozen=True, kw_only=True):
    """*settings_json* is ``{"config": {…}}``."""

    card_id: CardId
    settings_json: str
    sequence: int
    uuid: str


class ElementContent(Operation, frozen=True, kw_only=True):
    """The whole text of one element; the platform types out what extends the old."""

    card_id: CardId
    element_id: str
    content: str
    sequence: int
    uuid: str


class BatchUpdate(Operation, frozen=True, kw_only=True):
    """Several changes of one card at once; all of them are made, or none.

    *actions_json* is a list of ``{"action": …, "params": {…}}``.
    """

    card_id: CardId
    actions_json: str
    sequence: int
    uuid: str


class PatchElement(Operation, frozen=True, kw_only=True):
    """Some properties of one element; *partial_json* is ``{"content": …}`` or the like."""

    card_id: CardId
    element_id: str
    partial_json: str
    sequence: int
    uuid: str


class ReplyMessage(Operation, frozen=True, kw_only=True):
    """→ :class:`~protocol.platform.MessageSent`."""

    message_id: MessageId
    msg_type: MessageType
    content_json: str
    uuid: str
    chat_id: ChatId | None = None
    """Of the message replied to, for the per-chat budget."""
    in_thread: bool = False
    """Whether it goes into the topic of that message."""


class CreateMessage(Operation, frozen=True, kw_only=True):
    """→ :class:`~protocol.platform.MessageSent`."""

    chat_id: ChatId
    msg_type: MessageType
    content_json: str
    uuid: str


class AddReaction(Operation, frozen=True, kw_only=True):
    """→ :class:`~protocol.platform.ReactionAdded`."""

    message_id: MessageId
    emoji_type: str


class ListReactions(Operation, frozen=True, kw_only=True):
    """→ :class:`~protocol.platform.ReactionsFound`: those of one kind that apps put."""

    message_id: MessageId
    emoji_type: str


class RemoveReaction(Operation, frozen=True, kw_only=True):
    message_id: MessageId
    reaction_id: str


class UploadImage(Operation, frozen=True, kw_only=True):
    """→ :class:`~protocol.platform.ImageUploaded`."""

    image: bytes


FileType = Literal["opus", "mp4", "pdf", "doc", "xls", "ppt", "stream"]


class UploadFile(Operation, frozen=True, kw_only=True):
    """→ :class:`~protocol.platform.FileUploaded`. At most 30 MB, and not empty."""

    file_type: FileType
    name: str
    content: bytes

    def __repr__(self) -> str:
        return f"UploadFile({self.name}, {len(self.content)} bytes)"


class PatchMessage(Operation, frozen=True, kw_only=True):
    """Replace the card of an interactive message of ours, 14 days old at most."""

    message_id: MessageId
    content_json: str


class GetMessage(Operation, frozen=True, kw_only=True):
    """→ :class:`~protocol.platform.MessagesFound`."""

    message_id: MessageId


class GetChat(Operation, frozen=True, kw_only=True):
    """→ :class:`~protocol.platform.ChatFound`."""

    chat_id: ChatId


class GetChatMembers(Operation, frozen=True, kw_only=True):
    """People of a chat, a hundred at most → :class:`~protocol.platform.ChatMembersFound`."""

    chat_id: ChatId


class RecogniseSpeech(Operation, frozen=True, kw_only=True):
    """What was spoken, at most 60 s of it → :class:`~protocol.platform.SpeechRecognised`."""

    pcm: bytes
    """Samples of 16 bits, 16,000 in a second, one channel."""
    file_id: str
    """16 letters and digits, the caller's own."""

    def __repr__(self) -> str:
        return f"RecogniseSpeech({len(self.pcm)} bytes)"


class FindPerson(Operation, frozen=True, kw_only=True):
    """Whose email address it is → :class:`~protocol.platform.PersonFound`."""

    email: str


class GetComment(Operation, frozen=True, kw_only=True):
    """→ :class:`~protocol.platform.CommentFound`."""

    place: CommentPlace


class DownloadResource(Operation, frozen=True, kw_only=True):
    """Save what a message carries → :class:`~protocol.platform.Downloaded`.

    More than *bytes_max* is :class:`~protocol.platform.Oversize`. The file at *path* is
    whole or is not there; it may take a minute.
    """

    message_id: MessageId
    file_key: str
    resource: Literal["image", "file"]
    path: str
    bytes_max: int


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """One call to *api* may be made now, by a :class:`Call` that names this permit.

    A permit that is not used within :data:`PERMIT_VALID_S` is void and costs nothing; a
    call that names it all the same waits for another.
    """

    permit: int
    api: Api
    text_every_s: float = 0.0
    """How far apart the updates of one card's text are likely to be, at the load of now."""


class Permit(Message, frozen=True, kw_only=True):
    """Ask for the right to make one call; answered when this card's share comes.

    The first of *apis* is the best; the others are granted as it runs short. A question
    that is withdrawn (its reply's asker gone) costs nothing.
    """

    apis: tuple[Api, ...]
    priority: Priority
    card_id: CardId | None
    """None: of a card that is still to be created."""
    reply: Reply[Granted]


class Call(Message, frozen=True, kw_only=True):
    """Make one call. The gateway's own deadline is 10 s; it renews the token itself."""

    operation: Operation
    priority: Priority
    permit: int | None = None
    """A granted permit; None waits for one here."""
    answer_within_s: float | None = None
    """Then it is cut off, from when it leaves: ``NoAnswer``. None: the gateway's own deadline."""
    reply: Reply[Outcome]


class OutcomeCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many calls of one endpoint came to one outcome, such as ``rate_limited``."""

    endpoint: str
    outcome: str
    calls: int


class BudgetUse(msgspec.Struct, frozen=True, kw_only=True):
    """How much of one endpoint's budget is used now, of what its limits are taken for."""

    endpoint: str
    in_second: int
    second_max: int
    in_minute: int
    minute_max: int
    seconds: float
    """From the leaving of calls to their answers, summed up over all of them."""


class Missed(msgspec.Struct, frozen=True):
    """Scopes that an API wants and the app has not, as its last call was answered."""

    scopes: tuple[str, ...]
    grant_url: str
    """The page that grants them."""


class GatewayStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the gateway began to run, and how it is now."""

    calls: int
    last_error: str | None
    """The newest failure of an API that no call has succeeded on since."""
    missed: tuple[Missed, ...] = ()
    waiting: int
    """Calls and permits that wait for their share of a budget."""
    under_way: int
    outcomes: tuple[OutcomeCount, ...]
    budgets: tuple[BudgetUse, ...]


class Statistics(Message, frozen=True, kw_only=True):
    reply: Reply[GatewayStatistics]


GatewayMessage = Permit | Call | Statistics


async def call(
    gateway_tx: trio.MemorySendChannel[GatewayMessage],
    operation: Operation,
    priority: Priority,
    *,
    within_s: float,
    permit: int | None = None,
    answer_within_s: float | None = None,
) -> Outcome:
    """Ask for one call; a gateway that is late or gone is no answer of the platform.

    After such an outcome the call may still take effect.
    """
    return await ask_or(
        gateway_tx,
        lambda reply: Call(
            operation=operation,
            priority=priority,
            permit=permit,
            answer_within_s=answer_within_s,
            reply=reply,
        ),
        within_s=within_s,
        otherwise=lambda reason: NoAnswer(reason=reason),
    )

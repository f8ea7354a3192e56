"""The platform's answers as outcomes: what each operation is for, read off the body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from actors.messages import gateway
from protocol import foreign
from protocol.ids import CardId, ChatId, MessageId, OpenId
from protocol.platform.comments import markdown, message_id_of, place_of
from protocol.platform.events import Mention
from protocol.platform.outcomes import (
    Accepted,
    BotInfo,
    CardCreated,
    ChatFound,
    ChatMembersFound,
    ClientConfig,
    CommentFound,
    CommentReply,
    EndpointFound,
    FileUploaded,
    FoundMessage,
    ImageUploaded,
    MessageSent,
    MessagesFound,
    NoAnswer,
    PersonFound,
    ReactionAdded,
    ReactionsFound,
    SpeechRecognised,
)


def read(operation: gateway.Operation, body: Mapping[str, Any]) -> Accepted | NoAnswer:
    """Read the answer to *operation*, whose ``code`` is 0.

    An answer that lacks what the operation is for is no answer: it may have happened.
    """
    data = foreign.mapping(body.get("data"))
    try:
        match operation:
            case gateway.CreateCard():
                return CardCreated(card_id=CardId(_text(data, "card_id")))
            case gateway.ReplyMessage() | gateway.CreateMessage() if place_of(operation.chat_id):
                return MessageSent(
                    message_id=message_id_of(_text(data, "reply_id")), chat_id=operation.chat_id
                )
            case gateway.ReplyMessage() | gateway.CreateMessage():
                chat = data.get("chat_id")
                return MessageSent(
                    message_id=MessageId(_text(data, "message_id")),
                    chat_id=ChatId(chat) if isinstance(chat, str) else None,
                )
            case gateway.AddReaction():
                return ReactionAdded(reaction_id=_text(data, "reaction_id"))
            case gateway.ListReactions():
                return ReactionsFound(reaction_ids=_own_reactions(data.get("items")))
            case gateway.UploadImage():
                return ImageUploaded(image_key=_text(data, "image_key"))
            case gateway.UploadFile():
                return FileUploaded(file_key=_text(data, "file_key"))
            case gateway.RecogniseSpeech():
                return SpeechRecognised(text=_text(data, "recognition_text"))
            case gateway.GetComment():
                return CommentFound(replies=_comment_replies(data.get("items")))
            case gateway.GetMessage():
                return MessagesFound(messages=_messages(data.get("items")))
            case gateway.GetChat():
                return ChatFound(
                    mode=str(data.get("chat_mode", "")),
                    message_type=str(data.get("group_message_type", "")),
                    name=str(data.get("name") or ""),
                )
            case gateway.GetChatMembers():
                return ChatMembersFound(names=_names(data.get("items")))
            case gateway.FindPerson():
                return PersonFound(open_id=_first_person(data.get("user_list")))
            case gateway.GetBotInfo():
                bot = foreign.mapping(body.get("bot"))
                return BotInfo(
                    open_id=OpenId(_text(bot, "open_id")), name=str(bot.get("app_name", ""))
                )
            case gateway.DiscoverEndpoint():
                return EndpointFound(
                    url=_text(data, "URL"), client_config=_client_config(data.get("ClientConfig"))
                )
    except KeyError as missing:
        return NoAnswer(reason=f"an answer without {missing.args[0]}")
    return Accepted()


def _own_reactions(items: object) -> tuple[str, ...]:
    """Those of apps. Another bot's may be among them: only its owner can remove it (231007)."""
    return tuple(
        item["reaction_id"]
        for item in foreign.mappings(items)
        if isinstance(item.get("reaction_id"), str)
        and foreign.mapping(item.get("operator")).get("operator_type") == "app"
    )


def _names(items: object) -> dict[OpenId, str]:
    return {
        OpenId(item["member_id"]): str(item.get("name") or "")
        for item in foreign.mappings(items)
        if isinstance(item.get("member_id"), str)
    }


def _first_person(found: object) -> OpenId | None:
    ids = (foreign.text(one, "user_id") for one in foreign.mappings(found))
    return next((OpenId(one) for one in ids if one), None)


def _comment_replies(items: object) -> tuple[CommentReply, ...]:
    return tuple(
        CommentReply(reply_id=item["reply_id"], markdown=markdown(content.get("elements")))
        for item in foreign.mappings(items)
        if isinstance(item.get("reply_id"), str)
        and isinstance(content := item.get("content"), dict)
    )


def _messages(items: object) -> tuple[FoundMessage, ...]:
    found: list[FoundMessage] = []
    for item in foreign.items(items):
        try:
            raw = msgspec.convert(item, _MessageItem)
        except msgspec.ValidationError:
            continue
        if raw.deleted or raw.body is None:
            continue
        found.append(
            FoundMessage(
                message_id=MessageId(raw.message_id),
                message_type=raw.msg_type,
                content=raw.body.content,
                sender_id=raw.sender.id if raw.sender else "",
                sender_type=raw.sender.sender_type if raw.sender else "",
                mentions=tuple(
                    Mention(key=one.key, name=one.name, open_id=None, mentioned_type=None)
                    for one in raw.mentions or ()
                ),
                forwarded_in=None
                if raw.upper_message_id is None
                else MessageId(raw.upper_message_id),
            )
        )
    return tuple(found)


class _Body(msgspec.Struct):
    content: str


class _Sender(msgspec.Struct):
    id: str = ""
    sender_type: str = ""


class _Mentioned(msgspec.Struct):
    key: str
    name: str = ""


class _MessageItem(msgspec.Struct):
    """One item of get-message, as far as it is read."""

    message_id: str
    msg_type: str
    body: _Body | None = None
    sender: _Sender | None = None
    mentions: list[_Mentioned] | None = None
    upper_message_id: str | None = None
    deleted: bool = False


def _text(data: Mapping[str, Any], key: str) -> str:
    value = foreign.text(data, key)
    if not value:
        raise KeyError(key)
    return value


def _client_config(raw: object) -> ClientConfig:
    known = foreign.mapping(raw)
    found = {
        ours: known[theirs]
        for ours, theirs in (
            ("reconnect_count", "ReconnectCount"),
            ("reconnect_interval_s", "ReconnectInterval"),
            ("reconnect_nonce_s", "ReconnectNonce"),
            ("ping_interval_s", "PingInterval"),
        )
        if isinstance(known.get(theirs), int) and not isinstance(known[theirs], bool)
    }
    return ClientConfig(**found)

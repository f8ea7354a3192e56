"""The gate as messages meet it: what one asks for, and whether its sender may."""

from __future__ import annotations

from typing import TypeGuard

import msgspec

from protocol.ids import ChatId, OpenId
from protocol.platform.content import Content
from protocol.platform.events import CommentAdded, MessageReceived
from protocol.routing import access, command

Wanted = command.StopWord | command.Command | command.PromptText


def wanted(message: MessageReceived, content: Content, bot: OpenId | None) -> Wanted:
    """Return what the message asks for."""
    if content.own_text is None:
        return command.PromptText()
    bot_keys = [each.key for each in message.mentions if each.open_id == bot]
    return command.parse(content.own_text, bot_keys=bot_keys)


def prompted(content: Content, prompt: command.PromptText) -> Content:
    """Return the content as its session is to have it: of ``//x`` it gets ``/x``."""
    if not prompt.escaped:
        return content
    return msgspec.structs.replace(content, markdown=command.unescaped(content.markdown))


def is_pair(wish: Wanted) -> TypeGuard[command.Command]:
    return isinstance(wish, command.Command) and wish.name is command.Name.PAIR


def decide(policy: access.Policy, message: MessageReceived, bot: OpenId | None) -> access.Decision:
    approach = access.Approach(
        sender_id=message.sender_id,
        chat_id=message.chat_id,
        chat_type=message.chat_type,
        mentions=frozenset(each.open_id for each in message.mentions if each.open_id),
        sender_is_bot=message.sender_type not in ("user", ""),
    )
    return access.decide(policy, approach, bot)


def decide_comment(
    policy: access.Policy, comment: CommentAdded, chat_id: ChatId, bot: OpenId | None
) -> access.Decision:
    """A comment of a document that mentions the bot is a direct message, to the gate."""
    approach = access.Approach(sender_id=comment.sender_id, chat_id=chat_id, chat_type="p2p")
    return access.decide(policy, approach, bot)

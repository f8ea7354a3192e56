"""The gate as messages meet it: what one asks for, and whether its sender may."""

from __future__ import annotations

from typing import TypeGuard

import msgspec

from protocol.ids import ChatId, OpenId
from protocol.platform.content import Content, mention_text
from protocol.platform.events import CommentAdded, MessageReceived
from protocol.routing import access, command

Wanted = command.StopWord | command.Command | command.PromptText


def wanted(message: MessageReceived, content: Content, bot: OpenId | None) -> Wanted:
    """Return what the message asks for."""
    if content.own_text is None:
        return command.PromptText()
    bot_keys = [each.key for each in message.mentions if each.open_id == bot]
    return command.parse(content.own_text, bot_keys=bot_keys)


def prompted(
    message: MessageReceived, content: Content, prompt: command.PromptText, bot: OpenId | None
) -> Content:
    """Return the content as its session is to have it: of ``@bot //x`` it gets ``/x``.

    An agent reads a command of its own only where nothing stands before it.
    """
    if content.own_text is None:
        return content
    of_bot = [mention_text(each) for each in message.mentions if each.open_id == bot]
    markdown = command.addressed(content.markdown, of_bot)
    if prompt.escaped:
        markdown = command.unescaped(markdown)
    return msgspec.structs.replace(content, markdown=markdown)


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

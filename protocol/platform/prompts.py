"""Prompts of what the platform pushed: messages, comments of documents, answers on cards."""

from __future__ import annotations

from protocol.platform import comments
from protocol.platform.content import Content
from protocol.platform.events import CommentAdded, MessageReceived
from protocol.routing.delivery import Prompt


def of_message(message: MessageReceived, content: Content, *, by_admin: bool) -> Prompt:
    return Prompt(
        kind="message",
        chat_id=message.chat_id,
        message_id=message.message_id,
        sender_id=message.sender_id,
        chat_type=message.chat_type,
        content=content.markdown,
        by_admin=by_admin,
        create_time_ms=message.create_time_ms,
        thread_id=message.thread_id,
        parent_id=message.parent_id,
        root_id=message.root_id,
        attachments=content.attachments,
        topic=message.topic,
    )


def of_comment(comment: CommentAdded) -> Prompt:
    """Return it without its text, which the event does not have."""
    place = comments.CommentPlace(comment.file_type, comment.file_token, comment.comment_id)
    return Prompt(
        kind=comments.KIND,
        chat_id=place.chat_id,
        message_id=comments.message_id_of(comment.reply_id or comment.comment_id),
        sender_id=comment.sender_id,
        chat_type="p2p",
        content="",
        create_time_ms=comment.create_time_ms,
        details={
            "file_type": comment.file_type,
            "file_token": comment.file_token,
            "comment_id": comment.comment_id,
        },
    )

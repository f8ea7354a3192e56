"""A message or comment as a row keeps it: what a session is given, with its meta."""

from __future__ import annotations

from protocol.ids import AccountId
from protocol.platform import comments
from protocol.platform.content import Content
from protocol.platform.events import CommentAdded, MessageReceived
from protocol.routing.delivery import Prepared


def prepared_message(
    account: AccountId, message: MessageReceived, content: Content, *, by_admin: bool
) -> Prepared:
    meta = _meta(account, message)
    if by_admin:
        # Proxies take a typed answer to a question without a turn from an admin alone.
        meta["sender_role"] = "admin"
    return Prepared(
        chat_id=message.chat_id,
        message_id=message.message_id,
        sender_id=message.sender_id,
        chat_type=message.chat_type,
        content=content.markdown,
        meta=meta,
        attachments=content.attachments,
        topic=message.topic,
    )


def prepared_comment(account: AccountId, comment: CommentAdded) -> Prepared:
    place = comments.Place(comment.file_type, comment.file_token, comment.comment_id)
    message_id = comments.message_id_of(comment.reply_id or comment.comment_id)
    meta = {
        "kind": comments.KIND,
        "account": account,
        "chat_id": place.chat_id,
        "message_id": message_id,
        "chat_type": "p2p",
        "sender_id": comment.sender_id,
        "file_type": comment.file_type,
        "file_token": comment.file_token,
        "comment_id": comment.comment_id,
    }
    if comment.create_time_ms is not None:
        meta["create_time"] = str(comment.create_time_ms)
    return Prepared(
        chat_id=place.chat_id,
        message_id=message_id,
        sender_id=comment.sender_id,
        chat_type="p2p",
        content="",
        meta=meta,
    )


def _meta(account: AccountId, message: MessageReceived) -> dict[str, str]:
    known = {
        "kind": "message",
        "account": account,
        "chat_id": message.chat_id,
        "message_id": message.message_id,
        "chat_type": message.chat_type,
        "sender_id": message.sender_id,
        "create_time": None if message.create_time_ms is None else str(message.create_time_ms),
        "thread_id": message.thread_id,
        "parent_id": message.parent_id,
        "root_id": message.root_id,
    }
    return {key: value for key, value in known.items() if value is not None}

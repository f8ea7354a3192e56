"""What is configured for all lanes."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from protocol.config.keys import FeishuReplyMode
from protocol.ids import AccountId, ChatId
from protocol.platform.comments import place_of
from protocol.routing.roster import ReplyMode


class LaneSettings(msgspec.Struct, frozen=True, kw_only=True):
    reply_modes: dict[AccountId, FeishuReplyMode]
    group_reply_modes: dict[AccountId, FeishuReplyMode]
    """Of accounts whose groups do not follow the account's own."""
    session_reply_mode: ReplyMode
    cancel_deadline_s: float
    random_bytes: Callable[[int], bytes]
    """Of which turn ids are made."""


def streams_in(settings: LaneSettings, account: AccountId, chat_id: ChatId, chat_type: str) -> bool:
    """Whether a turn of this chat is shown as a live card."""
    if place_of(chat_id) is not None:
        return False  # the thread of a comment shows no cards
    wanted = settings.reply_modes.get(account, "auto")
    if chat_type == "group":
        wanted = settings.group_reply_modes.get(account, wanted)
    return wanted == "streaming" or (wanted == "auto" and chat_type == "p2p")

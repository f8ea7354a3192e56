"""What became of a message, as ``/why`` and ``larkd log`` show it: one line for each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct

from protocol.ids import MessageId, RowId, SessionId
from protocol.routing import access
from protocol.routing.delivery import RowState
from protocol.strings import Text, in_chat

RECALLED: Final = "recalled"
DROPPED_FROM_QUEUE: Final = "dropped by /queue"
LANE_FULL: Final = "the lane is full"

REASONS: Final[dict[str, str]] = {
    access.MISSING_SENDER: "没有发送者",
    access.SENDER_IS_BOT: "发送者是机器人",
    access.DIRECT_DISABLED: "未开放私聊",
    access.NOT_ON_ALLOWLIST: "发送者不在允许名单中",
    access.GROUP_BLOCKED: "未开放群聊",
    access.GROUP_NOT_ON_ALLOWLIST: "此群不在允许名单中",
    access.NOT_MENTIONED: "没有 @ 机器人",
    access.BOT_UNKNOWN: "机器人尚不知道自己的身份",
    "user pairing required": "发送者尚未配对",
    "group pairing required": "此群尚未配对",
    RECALLED: "发送者撤回了消息",
    DROPPED_FROM_QUEUE: "被 /queue 移除",
    LANE_FULL: "等待的消息已满",
}
"""The notes of rows, which are English, in Chinese. Others are shown as they are."""


class MessageHistory(Struct, frozen=True, kw_only=True):
    """What the journal knows of one message. Times are milliseconds since 1970."""

    row_id: RowId
    message_id: MessageId | None
    state: RowState
    note: str | None
    received_at_ms: int
    offered_at_ms: int | None
    """The latest offer; None also for a row from before this was kept."""
    seen_at_ms: int | None
    """When the session it was offered to acknowledged it."""
    changed_at_ms: int
    attempt: int
    """How often it was offered."""
    session_id: SessionId | None
    """Whom it was offered to, or is for; None: whoever owns the channel, and nobody does."""
    alias: str | None
    ahead: int
    """Rows that wait for the same session and come before it."""
    under_way: int
    """Rows the session it is for was given and has not answered."""


ShowTime = Callable[[int], str]
"""Return a time, in milliseconds since 1970, as HH:MM:SS where the daemon is."""


def history_text(history: MessageHistory, clock: ShowTime, *, away: bool = False) -> Text:
    """Return what became of a message, oldest step first; *away*: whom it is for is offline."""
    steps = [
        Text(f"{clock(at_ms)} ", f"{clock(at_ms)} ").joined(text)
        for at_ms, text in _steps(history, away=away)
    ]
    text = steps[0]
    for step in steps[1:]:
        text = text.plus("\n").joined(step)
    return text


def _steps(history: MessageHistory, *, away: bool) -> Iterator[tuple[int, Text]]:
    who = _quoted(history.alias or history.session_id)
    closed_at = history.changed_at_ms
    waits = history.state is RowState.RECEIVED
    received = in_chat.WHY_RECEIVED
    yield (
        history.received_at_ms,
        received.joined(in_chat.WHY_NOT_READY) if waits else received,
    )
    if history.offered_at_ms is not None:
        again = history.attempt > 1
        offered = in_chat.WHY_OFFERED_AGAIN if again else in_chat.WHY_OFFERED
        yield history.offered_at_ms, offered.format(alias=who, count=history.attempt)
    if history.seen_at_ms is not None:
        seen = in_chat.WHY_SEEN.format(alias=who)
        if history.state is RowState.DELIVERED:
            seen = seen.joined(in_chat.WHY_NOT_ANSWERED)
            seen = seen.joined(in_chat.SESSION_OFFLINE) if away else seen
        yield history.seen_at_ms, seen
    match history.state:
        case RowState.READY:
            yield history.received_at_ms, _waiting(history, who, away=away)
        case RowState.ANSWERED if history.note is None:
            yield closed_at, in_chat.WHY_ANSWERED.format(alias=who)
        case RowState.ANSWERED | RowState.REFUSED:
            yield closed_at, in_chat.WHY_REFUSED.format(reason=_reason(history.note))
        case RowState.EXPIRED:
            yield closed_at, in_chat.WHY_DROPPED.format(reason=_reason(history.note))
        case RowState.COMMAND:
            yield closed_at, in_chat.WHY_COMMAND.format(what=history.note or "-")
        case RowState.DAMAGED:
            yield closed_at, in_chat.WHY_DAMAGED


def _waiting(history: MessageHistory, who: Text, *, away: bool) -> Text:
    if history.session_id is None:
        text = in_chat.WHY_WAITING_FOR_NOBODY
    else:
        text = in_chat.WHY_WAITING.format(alias=who)
        if away:
            text = text.joined(in_chat.SESSION_OFFLINE)
    if history.ahead:
        text = text.joined(in_chat.WHY_AHEAD.format(count=history.ahead))
    if history.under_way:
        text = text.joined(in_chat.WHY_UNDER_WAY.format(count=history.under_way))
    return text


def _quoted(name: str | None) -> Text:
    return in_chat.NOBODY if name is None else Text("{name}", "{name}").format(name=name)


def _reason(note: str | None) -> Text:
    shown = Text("{note}", "{note}").format(note=note or "-")
    return Text(shown.en, REASONS.get(note or "", shown.zh))

"""What ``/why`` answers of a message, for every state a row can be in."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.ids import MessageId, RowId, SessionId
from protocol.routing import access
from protocol.routing.delivery import RowState
from protocol.routing.history import MessageHistory, history_text


def clock(at_ms: int) -> str:
    return f"10:00:{at_ms // 1_000:02}"


def history(state: RowState, **fields: Any) -> MessageHistory:
    known: dict[str, Any] = {
        "row_id": RowId(1),
        "message_id": MessageId("om_1"),
        "note": None,
        "received_at_ms": 1_000,
        "offered_at_ms": None,
        "seen_at_ms": None,
        "changed_at_ms": 9_000,
        "attempt": 0,
        "session_id": SessionId("s-api"),
        "alias": "api",
        "ahead": 0,
        "under_way": 0,
    }
    return MessageHistory(state=state, **known | fields)


@pytest.mark.parametrize(
    ("of", "en", "zh"),
    [
        (
            history(RowState.RECEIVED),
            (
                "10:00:01 received; not ready yet: what it carries is being fetched, or a command"
                " before it runs"
            ),
            "10:00:01 已收到；尚未就绪：正在获取附件，或之前的命令还在执行",
        ),
        (
            history(RowState.READY, ahead=2, under_way=1),
            (
                "10:00:01 received\n10:00:01 waiting for api; messages before it: 2;"
                " given and not answered yet: 1"
            ),
            "10:00:01 已收到\n10:00:01 正在等待 api；排在前面的消息：2；已送达但未回答：1",
        ),
        (
            history(RowState.READY, session_id=None, alias=None),
            "10:00:01 received\n10:00:01 waiting for a session",
            "10:00:01 已收到\n10:00:01 正在等待会话",
        ),
        (
            history(RowState.OFFERED, offered_at_ms=2_000, attempt=2),
            "10:00:01 received\n10:00:02 offered to api (attempt 2)",
            "10:00:01 已收到\n10:00:02 已发给 api（第 2 次）",
        ),
        (
            history(RowState.DELIVERED, offered_at_ms=2_000, attempt=1, seen_at_ms=3_000),
            "10:00:01 received\n10:00:02 offered to api\n10:00:03 seen by api; not answered yet",
            "10:00:01 已收到\n10:00:02 已发给 api\n10:00:03 api 已收到；尚未回答",
        ),
        (
            history(RowState.ANSWERED, offered_at_ms=2_000, attempt=1, seen_at_ms=3_000),
            (
                "10:00:01 received\n10:00:02 offered to api\n10:00:03 seen by api\n"
                "10:00:09 answered by api"
            ),
            "10:00:01 已收到\n10:00:02 已发给 api\n10:00:03 api 已收到\n10:00:09 api 已回答",
        ),
        (
            history(RowState.ANSWERED, note="the lane is full"),
            "10:00:01 received\n10:00:09 refused: the lane is full",
            "10:00:01 已收到\n10:00:09 已拒绝：等待的消息已满",
        ),
        (
            history(RowState.REFUSED, note=access.NOT_MENTIONED),
            "10:00:01 received\n10:00:09 refused: bot not mentioned",
            "10:00:01 已收到\n10:00:09 已拒绝：没有 @ 机器人",
        ),
        (
            history(RowState.REFUSED, note="odd\n<at user_id='all'>"),
            "10:00:01 received\n10:00:09 refused: odd \uff1cat user_id='all'>",
            "10:00:01 已收到\n10:00:09 已拒绝：odd \uff1cat user_id='all'>",
        ),
        (
            history(RowState.EXPIRED, note="recalled"),
            "10:00:01 received\n10:00:09 dropped: recalled",
            "10:00:01 已收到\n10:00:09 已移除：发送者撤回了消息",
        ),
        (
            history(RowState.COMMAND, note="status"),
            "10:00:01 received\n10:00:09 carried out as a command: status",
            "10:00:01 已收到\n10:00:09 已作为命令执行：status",
        ),
        (
            history(RowState.DAMAGED, note="ValidationError"),
            "10:00:01 received\n10:00:09 set aside: it could not be read",
            "10:00:01 已收到\n10:00:09 已搁置：无法读取",
        ),
    ],
    ids=lambda value: value.state if isinstance(value, MessageHistory) else "",
)
def test_every_step_has_its_time_in_both_languages(of: MessageHistory, en: str, zh: str) -> None:
    text = history_text(of, clock)
    assert (text.en, text.zh) == (en, zh)


def test_a_message_whose_session_left_before_it_answered_names_that() -> None:
    row = history(RowState.DELIVERED, offered_at_ms=2_000, seen_at_ms=3_000, attempt=1)
    text = history_text(row, clock, away=True)
    assert text.en.endswith("10:00:03 seen by api; not answered yet (offline)")
    assert text.zh.endswith("；尚未回答（离线）")


def test_a_message_that_waits_for_a_session_that_is_away_names_it() -> None:
    text = history_text(history(RowState.READY, offered_at_ms=2_000, attempt=1), clock, away=True)
    assert text.en.splitlines() == [
        "10:00:01 received",
        "10:00:02 offered to api",
        "10:00:01 waiting for api (offline)",
    ]

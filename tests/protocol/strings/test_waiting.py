"""What somebody who still waits reads, as ``lanes.md`` has it; the minutes are nightly."""

from __future__ import annotations

import pytest

from protocol.strings import Text, amounts, on_card

FIVE_MINUTES = amounts.minutes(300.0)


@pytest.mark.parametrize(
    ("text", "en", "zh"),
    [
        (
            on_card.STALLED.format(alias="A", minutes=FIVE_MINUTES),
            "A has shown nothing for 5 min. Send stop to end it.",
            "A 已 5 分钟没有新内容，可发送 stop 停止。",
        ),
        (
            on_card.FOOTER_STALLED.format(minutes=FIVE_MINUTES),
            " · nothing new for 5 min",
            " · 5 分钟没有新内容",
        ),
        (
            on_card.NOT_READ_YET.format(alias="A"),
            "A has not read this yet.",
            "A 还没有读取这条消息。",
        ),
    ],
)
def test_who_waits_reads_it_in_both_languages(text: Text, en: str, zh: str) -> None:
    assert (text.en, text.zh) == (en, zh)

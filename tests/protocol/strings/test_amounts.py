"""Times and counts as people read them, and texts of two languages."""

from __future__ import annotations

import pytest

from protocol.strings import Text
from protocol.strings.amounts import amount, duration, minutes


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0"),
        (999, "999"),
        (1_000, "1k"),
        (1_050, "1k"),
        (1_250, "1.2k"),
        (9_999, "9.9k"),
        (10_000, "10k"),
        (12_345, "12k"),
        (999_999, "999k"),
        (1_000_000, "1M"),
        (1_540_000, "1.5M"),
        (123_456_789, "123M"),
    ],
)
def test_tokens_are_counted_briefly(count: int, shown: str) -> None:
    assert amount(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, 1), (59, 1), (89, 1), (91, 2), (600, 10), (-5, 1)]
)
def test_whole_minutes_are_one_at_least(seconds: float, shown: int) -> None:
    assert minutes(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0.0s"),
        (8.24, "8.2s"),
        (59.94, "59.9s"),
        (59.96, "1m 0s"),
        (125, "2m 5s"),
        (3_599.4, "59m 59s"),
        (3_600, "1h 0m"),
        (7_259, "2h 0m"),
        (90_061, "25h 1m"),
    ],
)
def test_a_duration_in_the_largest_two_units(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_a_text_is_spoken_in_the_readers_language() -> None:
    text = Text("{count} rows of {name}", "{name} 的 {count} 行")
    filled = text.format(count=2, name=Text("this", "本表"))
    assert filled.speak("en") == "2 rows of this"
    assert filled.speak("zh") == "本表 的 2 行"
    assert filled.plus("!") == Text("2 rows of this!", "本表 的 2 行!")
    assert filled.joined(Text(" Done", "完")) == Text("2 rows of this Done", "本表 的 2 行完")
    assert text.format(count=1, name="<at id=all>").en == "1 rows of \uff1cat id=all>"

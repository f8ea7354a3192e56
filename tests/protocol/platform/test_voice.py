"""Samples as the platform takes them, and what stands beside a voice message without a text."""

from __future__ import annotations

import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.platform import voice
from protocol.strings import Text

SAMPLES = st.lists(st.integers(-32_768, 32_767), min_size=1, max_size=200)


def resampled(samples: list[int], rate: int, channels: int = 1) -> list[int]:
    out = array.array("h")
    out.frombytes(voice.resampled(array.array("h", samples), rate, channels))
    return list(out)


@pytest.mark.parametrize(
    ("samples", "rate", "channels", "expected"),
    [
        ([1, 2, 3], 16_000, 1, [1, 2, 3]),
        ([3, 6, 9, 30, 60, 90], 48_000, 1, [6, 60]),
        ([1, 2], 8_000, 1, [1, 1, 2, 2]),
        ([10, 20, -10, -20], 16_000, 2, [15, -15]),
        ([10, 20, 30], 16_000, 2, [15]),
        ([0, 3, 6, 9, 12, 15], 24_000, 1, [0, 4, 9, 13]),
    ],
)
def test_rates_and_channels(
    samples: list[int], rate: int, channels: int, expected: list[int]
) -> None:
    assert resampled(samples, rate, channels) == expected


@given(samples=SAMPLES, rate=st.sampled_from([8_000, 11_025, 16_000, 24_000, 44_100, 48_000]))
def test_it_is_as_long_and_no_louder(samples: list[int], rate: int) -> None:
    out = resampled(samples, rate)
    assert len(out) == len(samples) * voice.RATE // rate
    assert all(min(samples) <= one <= max(samples) for one in out)


@pytest.mark.parametrize(
    ("samples", "rate", "channels"), [([], 16_000, 1), ([1], 0, 1), ([1], 1, 0)]
)
def test_no_sound(samples: list[int], rate: int, channels: int) -> None:
    with pytest.raises(ValueError, match="no sound"):
        resampled(samples, rate, channels)


def test_a_note_is_in_both_languages() -> None:
    assert voice.note(voice.refused(99991672)) == (
        "[voice message without a transcript: the app lacks the scope speech_to_text:speech"
        " / 语音未转写：应用缺少权限 speech_to_text:speech]"
    )
    assert voice.refused(7) == Text("the platform refused it (7)", "平台拒绝（7）")


@given(st.text())
def test_a_recording_has_one_id_of_the_platform_s_form(key: str) -> None:
    found = voice.file_id(key)
    assert len(found) == 16
    assert found.isalnum()
    assert found == voice.file_id(key)

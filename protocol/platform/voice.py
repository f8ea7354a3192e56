"""Voice messages: the samples the platform recognises, and what is written where it does not.

``speech_to_text`` takes 16-bit samples, 16,000 a second, one channel, 60 seconds at most.
"""

from __future__ import annotations

import array
import hashlib
from typing import Final

from protocol.platform.codes import MISSING_SCOPE
from protocol.strings import Text

RATE: Final = 16_000
SECONDS_MAX: Final = 60
PCM_BYTES_MAX: Final = SECONDS_MAX * RATE * 2
SCOPE: Final = "speech_to_text:speech"
FILE_ID_CHARACTERS: Final = 16

NO_DECODER: Final = Text("larkd[voice] is not installed", "未安装 larkd[voice]")
UNREADABLE: Final = Text("the recording can't be read", "无法读取录音")
TOO_LONG: Final = Text(f"it is over {SECONDS_MAX} s", f"超过 {SECONDS_MAX} 秒")
NOTHING_RECOGNISED: Final = Text("no words were recognised", "没有识别到文字")
NO_ANSWER: Final = Text("the platform did not answer", "平台没有应答")
NO_SCOPE: Final = Text(f"the app lacks the scope {SCOPE}", f"应用缺少权限 {SCOPE}")


def refused(code: int) -> Text:
    """Return why the platform recognised nothing."""
    if code in MISSING_SCOPE:
        return NO_SCOPE
    return Text(f"the platform refused it ({code})", f"平台拒绝（{code}）")


def note(why: Text) -> str:
    """Return what stands beside a voice message without its text, in both languages."""
    return f"[voice message without a transcript: {why.en} / 语音未转写：{why.zh}]"


def file_id(file_key: str) -> str:
    """Return the id the platform wants for a recording, always the same for one."""
    return hashlib.sha256(file_key.encode()).hexdigest()[:FILE_ID_CHARACTERS]


def resampled(samples: array.array[int], rate: int, channels: int) -> bytes:
    """Return samples of any rate as the platform takes them.

    Each is the mean of the channels, and of the samples that fall on it; where there are
    fewer, the nearest one. Speech needs no more.

    Raises:
        ValueError: there is nothing, or no rate.
    """
    if rate <= 0 or channels <= 0 or not len(samples):
        raise ValueError("no sound")
    mono = (
        samples
        if channels == 1
        else array.array(
            "h",
            (
                sum(samples[at : at + channels]) // channels
                for at in range(0, len(samples) - channels + 1, channels)
            ),
        )
    )
    if rate == RATE:
        return mono.tobytes()
    out = array.array("h")
    for number in range(len(mono) * RATE // rate):
        first = number * rate // RATE
        last = max(first + 1, (number + 1) * rate // RATE)
        piece = mono[first:last]
        out.append(sum(piece) // len(piece))
    return out.tobytes()

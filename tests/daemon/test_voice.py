"""Voice messages as text, and as files where there is no text to be had."""

from __future__ import annotations

import array
import io
import math
from pathlib import Path

import soundfile

from tests.daemon.test_attachments import channel_session, send, upload


def recording(seconds: float, rate: int = 16_000) -> bytes:
    """Return a tone as people's clients record: Opus in Ogg."""
    frames = int(seconds * rate)
    tone = array.array("h", (int(9_000 * math.sin(at / 9)) for at in range(frames)))
    out = io.BytesIO()
    with soundfile.SoundFile(
        out, "w", samplerate=rate, channels=1, format="OGG", subtype="OPUS"
    ) as file:
        file.buffer_write(tone.tobytes(), dtype="int16")
    return out.getvalue()


async def test_a_voice_message_is_what_was_spoken(state_dir: Path) -> None:
    async with channel_session(state_dir) as (platform, chat, proxy):
        await platform.post("speech", text="what is the weather?")
        for rate in (16_000, 48_000):
            key = await upload(platform, "file", recording(1.5, rate))
            await send(platform, chat, "audio", file_key=key, duration=1500)
            deliver = await proxy.until("deliver")
            assert deliver["content"] == "[audio, 1.5 s]\n\nwhat is the weather?"
            (attachment,) = deliver["attachments"]
            assert (attachment["kind"], attachment["note"]) == ("audio", None)
            assert Path(attachment["path"]).stat().st_size > 0


async def test_what_is_not_recognised_comes_as_a_file_with_the_reason(state_dir: Path) -> None:
    async with channel_session(state_dir) as (platform, chat, proxy):

        async def delivered(data: bytes) -> str:
            key = await upload(platform, "file", data)
            await send(platform, chat, "audio", file_key=key, duration=1500)
            deliver = await proxy.until("deliver")
            (attachment,) = deliver["attachments"]
            assert Path(attachment["path"]).read_bytes() == data
            text: str = deliver["content"].removeprefix("[audio, 1.5 s]\n\n")
            return text

        assert await delivered(b"no sound at all") == (
            "[voice message without a transcript: the recording can't be read"
            " / 语音未转写：无法读取录音]"
        )
        assert "it is over 60 s / 语音未转写：超过 60 秒" in await delivered(recording(60.5))
        await platform.post("speech", text=" ")
        assert "no words were recognised" in await delivered(recording(1))
        await platform.post("scopes", missing=["speech_to_text:speech"])
        assert await delivered(recording(1)) == (
            "[voice message without a transcript: the app lacks the scope speech_to_text:speech"
            " / 语音未转写：应用缺少权限 speech_to_text:speech]"
        )

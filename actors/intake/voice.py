"""The text of a voice message: decoded here, recognised by the platform.

The platform takes raw samples alone; what people record is Opus. The decoder comes with
``larkd[voice]``; without it, or without the scope, a note beside the file names what is missing.
"""

from __future__ import annotations

import array
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
import trio

from actors.messages import gateway
from protocol.platform import voice
from protocol.platform.outcomes import Outcome, Rejected, SpeechRecognised
from protocol.wire.messages import Attachment

DECODE_AT_ONCE_MAX: Final = 2

CallPlatform = Callable[[gateway.Operation], Awaitable[Outcome]]

log = structlog.get_logger()


class NoDecoder(Exception):
    """``larkd[voice]`` is not installed."""


class Transcriber:
    """Makes text of voice messages, through one account's own calls."""

    def __init__(self, call: CallPlatform) -> None:
        self._call = call
        self._at_once = trio.CapacityLimiter(DECODE_AT_ONCE_MAX)

    async def text(self, attachment: Attachment) -> str:
        """Return the text of a downloaded voice message, or a note why that is not known."""
        assert attachment.path is not None
        try:
            pcm = await trio.to_thread.run_sync(
                partial(decoded, Path(attachment.path)), limiter=self._at_once
            )
        except NoDecoder:
            return voice.note(voice.NO_DECODER)
        except (OSError, ValueError, RuntimeError) as unreadable:
            log.info("feishu.voice_unreadable", reason=str(unreadable)[:200])
            return voice.note(voice.UNREADABLE)
        if len(pcm) > voice.PCM_BYTES_MAX:
            return voice.note(voice.TOO_LONG)
        outcome = await self._call(
            gateway.RecogniseSpeech(pcm=pcm, file_id=voice.file_id(attachment.file_key))
        )
        match outcome:
            case SpeechRecognised(text=text) if text.strip():
                return text.strip()
            case SpeechRecognised():
                return voice.note(voice.NOTHING_RECOGNISED)
            case Rejected(code=code):
                log.info("feishu.voice_refused", code=code)
                return voice.note(voice.refused(code))
        return voice.note(voice.NO_ANSWER)


def decoded(path: Path) -> bytes:
    """Return the samples as the platform takes them; a little more than it takes, at most.

    Raises:
        NoDecoder: there is no decoder.
        ValueError, RuntimeError, OSError: it is no sound that can be read.
    """
    try:
        import soundfile  # noqa: PLC0415  # an extra, and some megabytes
    except (ImportError, OSError) as missing:
        raise NoDecoder from missing
    with soundfile.SoundFile(path) as file:
        frames = int(file.samplerate * (voice.SECONDS_MAX + 1))
        samples: Any = array.array("h", bytes(file.buffer_read(frames, dtype="int16")))
        return voice.resampled(samples, file.samplerate, file.channels)

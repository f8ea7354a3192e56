"""What a prompt carries: its files put where the agent may read them, and read for it."""

from __future__ import annotations

import base64
import mimetypes
import os
from pathlib import Path
from typing import Any, Final

import trio

from actors.proxies.placing import placed
from protocol.agents import acp_prompt
from protocol.agents.acp import Abilities
from protocol.agents.pictures import mime_type_of
from protocol.wire import messages as wire

EMBEDDED_BYTES_MAX: Final = 5 * 1024 * 1024
"""Of a picture or sound: what models take; a larger one is linked."""
TEXT_BYTES_MAX: Final = 64 * 1024
"""Of a text file that is put into the prompt whole; a larger one is linked."""


async def prompt_blocks(
    deliver: wire.Deliver, cwd: str, abilities: Abilities
) -> list[dict[str, Any]]:
    """Return the content blocks of a message. Reading and copying is done in a thread."""
    return await trio.to_thread.run_sync(_prompt_blocks, deliver, cwd, abilities)


def _prompt_blocks(deliver: wire.Deliver, cwd: str, abilities: Abilities) -> list[dict[str, Any]]:
    here = placed(deliver, cwd)
    carried = [
        acp_prompt.Carried(
            attachment=one,
            uri=Path(one.path).as_uri(),
            shown_path=os.path.relpath(one.path, cwd),
            embedded=_embedded(one, Path(one.path), abilities),
        )
        for one in here.attachments
        if one.path is not None
    ]
    return acp_prompt.prompt(here, carried)


def _embedded(one: wire.Attachment, path: Path, abilities: Abilities) -> acp_prompt.Embedded | None:
    """Return what the file holds, where the agent takes it in a prompt."""
    if one.kind == "image" and abilities.images:
        data = _read(path, EMBEDDED_BYTES_MAX)
        mime_type = mime_type_of(data) or mimetypes.guess_type(path.name)[0] or "image/png"
        return _binary("image", mime_type, data)
    if one.kind == "audio" and abilities.sounds:
        mime_type = mimetypes.guess_type(path.name)[0] or "audio/ogg"
        return _binary("audio", mime_type, _read(path, EMBEDDED_BYTES_MAX))
    if one.kind == "file" and abilities.embedded_context:
        return _text(path.name, _read(path, TEXT_BYTES_MAX))
    return None


def _binary(kind: Any, mime_type: str, data: bytes) -> acp_prompt.Embedded | None:
    if not data:
        return None
    encoded = base64.b64encode(data).decode()
    return acp_prompt.Embedded(kind=kind, mime_type=mime_type, data=encoded)


def _text(name: str, data: bytes) -> acp_prompt.Embedded | None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    if not text or "\0" in text:
        return None
    mime_type = mimetypes.guess_type(name)[0] or "text/plain"
    return acp_prompt.Embedded(kind="text", mime_type=mime_type, data=text)


def _read(path: Path, bytes_max: int) -> bytes:
    """Return what the file holds; nothing of one that is larger, or can't be read."""
    try:
        with path.open("rb") as file:
            data = file.read(bytes_max + 1)
    except OSError:
        return b""
    return data if len(data) <= bytes_max else b""

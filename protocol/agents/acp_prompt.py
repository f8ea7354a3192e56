"""A message as the content blocks of an ACP prompt: its text, and what it carries.

Text and links are what every agent takes; pictures, sound and text files are put in the prompt
itself where the agent announced it takes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

from protocol.wire import messages as wire


class Embedded(Struct, frozen=True, kw_only=True):
    """What one attachment holds."""

    kind: Literal["image", "audio", "text"]
    mime_type: str
    data: str
    """Base64, but for a text."""


class Carried(Struct, frozen=True, kw_only=True):
    """One attachment that is there to be read."""

    attachment: wire.Attachment
    uri: str
    shown_path: str
    """Where the agent finds it, seen from its directory."""
    embedded: Embedded | None = None
    """None: it is only linked."""


def prompt(deliver: wire.Deliver, carried: Sequence[Carried]) -> list[dict[str, Any]]:
    """Return the message as content blocks, in the order of its attachments.

    The text names the files of what is embedded as a picture or sound: who is asked to do
    something to one needs its path.
    """
    saved = [
        f"[{one.attachment.kind} saved as {one.shown_path}]"
        for one in carried
        if one.embedded is not None and one.embedded.kind != "text"
    ]
    # Some agents put the name of a file right after the text.
    text = "\n".join((deliver.content, *saved)) + ("\n" if carried else "")
    return [{"type": "text", "text": text}, *map(_block, carried)]


def _block(one: Carried) -> dict[str, Any]:
    match one.embedded:
        case Embedded(kind="text", mime_type=mime_type, data=text):
            resource = {"uri": one.uri, "mimeType": mime_type, "text": text}
            return {"type": "resource", "resource": resource}
        case Embedded(kind=kind, mime_type=mime_type, data=data):
            return {"type": kind, "mimeType": mime_type, "data": data}
    link = {"type": "resource_link", "name": one.attachment.name, "uri": one.uri}
    return link if one.attachment.size is None else {**link, "size": one.attachment.size}

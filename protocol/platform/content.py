"""Message bodies to Markdown: what a person sent, as an agent can read it.

What has no text form of its own is named in square brackets (``[image]``,
``[location: …]``); what can be downloaded is listed beside it. A body that can't be
read becomes a placeholder that names it: one odd message never stops the chat.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from protocol import foreign
from protocol.platform.card_text import card_text, is_card_json
from protocol.platform.events import Mention
from protocol.platform.rich_text import (
    MENTION_ALL,
    RichTextReading,
    locate_post,
    paragraphs_markdown,
    post_markdown,
)
from protocol.routing.command import MENTION
from protocol.wire.messages import Attachment
from protocol.wire.vocabulary import AttachmentKind

ATTACHMENTS_MAX: Final = 32
"""More resources of one message are named in the text and not downloaded."""
ATTACHMENT_BYTES_MAX: Final = 25 * 1024 * 1024
"""A larger one is named in the text and not downloaded."""
_NAME_CHARACTERS_MAX: Final = 120
_NAME_BYTES_MAX: Final = 200
"""Of a file's name: file systems take 255, and what saves it adds a few."""
_LIST_CHARACTERS_MAX: Final = 500
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,256}", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+")
_PLACEHOLDER: Final = re.compile(r"\{([a-z_]+)\}")

_SUFFIX: Final[Mapping[str, str]] = {"audio": ".opus", "video": ".mp4"}


class Content(Struct, frozen=True, kw_only=True):
    """A message body that was read."""

    markdown: str
    attachments: tuple[Attachment, ...] = ()
    own_text: str | None = None
    """What may be a command or a stop word: the words alone, mentions as the platform
    writes them (``protocol.routing.command``). None for anything but text."""


def read_content(message_type: str, content: str, mentions: Sequence[Mention] = ()) -> Content:
    """Read the ``content`` string of a received message. Never raises."""
    shown_type = _clean(message_type)[:40] or "unknown"
    parsed: Any = None
    try:
        parsed = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        # Seen on real events: a bare string in place of JSON.
        if message_type == "merge_forward":
            parsed = {}
    if not isinstance(parsed, dict):
        return _unreadable(shown_type)
    return _Reader(parsed, mentions).read(message_type) or _unreadable(shown_type)


def _unreadable(shown_type: str) -> Content:
    return Content(markdown=f"[{shown_type} message that could not be read]")


class _Reader:
    """One body: its fields, who is mentioned, and the resources found so far."""

    def __init__(self, body: dict[str, Any], mentions: Sequence[Mention]) -> None:
        self.body = body
        self._names: dict[str, str] = {m.key: _name(m.name) for m in mentions}
        self._keys: dict[str, str] = {m.open_id: m.key for m in mentions if m.open_id}
        self._attachments: list[Attachment] = []

    @property
    def _reading(self) -> RichTextReading:
        """Made for each use: kept, the two would hold each other."""
        return RichTextReading(self._name_of, self._resource)

    def read(self, message_type: str) -> Content | None:
        """Return the text of the body, or None where it lacks what its type must have."""
        if message_type == "text":
            text = self.body.get("text")
            if not isinstance(text, str):
                return None
            return Content(markdown=self._with_names(text), own_text=text)
        if message_type == "post":
            return self._post()
        form = _FORMS.get(message_type)
        markdown = f"[{_clean(message_type)[:40]} message]" if form is None else form(self)
        if form is None and (text := foreign.text(self.body, "text")):
            markdown = f"{markdown} {text}"
        return Content(markdown=markdown, attachments=tuple(self._attachments))

    def _post(self) -> Content | None:
        post = locate_post(self.body)
        if post is None:
            return None
        markdown = post_markdown(post, self._reading)
        own = post_markdown(post, RichTextReading(self._key_of, _no_resource, styled=False))
        only_text = not self._attachments and not foreign.text(post, "title")
        return Content(
            markdown=markdown,
            attachments=tuple(self._attachments),
            own_text=own if only_text else None,
        )

    def _key_of(self, who: str) -> str:
        return self._keys.get(who, who)

    def _name_of(self, who: str) -> str | None:
        return self._names.get(self._key_of(who))

    def _with_names(self, text: str) -> str:
        return MENTION.sub(self._mention, text)

    def _mention(self, at: re.Match[str]) -> str:
        if at[0] == "@_all":
            return MENTION_ALL
        name = self._names.get(at[0])
        return at[0] if name is None else f"@{name}"

    def _resource(self, kind: str, node: Mapping[str, Any]) -> str:
        """Note an image or video inside rich text."""
        key = "image_key" if kind == "image" else "file_key"
        return self.attach("image" if kind == "image" else "video", node, key)

    # ── forms ───────────────────────────────────────────────────────────────

    def attach(self, kind: AttachmentKind, of: Mapping[str, Any], key: str) -> str:
        """Note a resource to download; return its name in the text."""
        file_key = foreign.text(of, key)
        named = _file_name(foreign.text(of, "file_name"))
        shown = f"[{kind}: {named}]" if named else f"[{kind}]"
        # A key goes into the path of a request: one of another shape is nothing to fetch.
        if not _KEY.fullmatch(file_key) or len(self._attachments) >= ATTACHMENTS_MAX:
            return shown
        self._attachments.append(
            Attachment(kind=kind, name=named or file_key + _SUFFIX.get(kind, ""), file_key=file_key)
        )
        return shown

    def of(self, label: str, *details: str) -> str:
        detail_text = ", ".join(detail for detail in map(_clean, details) if detail)
        return f"[{label}: {detail_text}]" if detail_text else f"[{label}]"

    def field(self, key: str) -> str:
        return foreign.text(self.body, key)

    def time(self, key: str) -> str:
        """A moment, in the platform's milliseconds as text, for people."""
        try:
            moment = datetime.fromtimestamp(int(self.body.get(key) or "") / 1000, UTC)
        except (ValueError, TypeError, OverflowError, OSError):
            return ""
        return f"{moment:%Y-%m-%d %H:%M} UTC"

    def audio(self) -> str:
        shown = self.attach("audio", self.body, "file_key")
        duration = self.body.get("duration")
        if isinstance(duration, int) and 0 <= duration < 10**10:
            return f"{shown[:-1]}, {duration / 1000:.1f} s]"
        return shown

    def card(self) -> str:
        if is_card_json(self.body):
            return card_text(self.body) or "[card]"
        title = self.of("card", self.field("title"))
        body = paragraphs_markdown(self.body.get("elements"), self._reading)
        return f"{title}\n{body}" if body else title

    def calendar(self) -> str:
        span = " – ".join(filter(None, (self.time("start_time"), self.time("end_time"))))
        return self.of("calendar event", self.field("summary"), span)

    def location(self) -> str:
        place = [self.body.get(key) for key in ("latitude", "longitude")]
        where = " ".join(str(at) for at in place if isinstance(at, str | int | float))
        return self.of("location", self.field("name"), where)

    def todo(self) -> str:
        summary = self.body.get("summary")
        post = locate_post(summary) if isinstance(summary, Mapping) else None
        detail_text = post_markdown(post, self._reading) if post else ""
        due = self.time("due_time")
        return self.of("task", detail_text.removeprefix("# "), f"due {due}" if due else "")

    def vote(self) -> str:
        options = "".join(f"\n- {_clean(it)}" for it in foreign.texts(self.body.get("options")))
        return self.of("vote", self.field("topic")) + options

    def system(self) -> str:
        return self.of("system", _PLACEHOLDER.sub(self._filled, self.field("template")))

    def _filled(self, placeholder: re.Match[str]) -> str:
        value = self.body.get(placeholder[1])
        if isinstance(value, Mapping):
            return foreign.text(value, "text")[:_LIST_CHARACTERS_MAX]
        detail_text = value if isinstance(value, str) else ", ".join(foreign.texts(value))
        return detail_text[:_LIST_CHARACTERS_MAX]


def _no_resource(_kind: str, _node: Mapping[str, Any]) -> str:
    return ""


_FORMS: Final[Mapping[str, Callable[[_Reader], str]]] = {
    "image": lambda it: it.attach("image", it.body, "image_key"),
    "file": lambda it: it.attach("file", it.body, "file_key"),
    "audio": _Reader.audio,
    "media": lambda it: it.attach("video", it.body, "file_key"),
    # Folders and stickers can't be downloaded.
    "folder": lambda it: it.of("folder", it.field("file_name")),
    "sticker": lambda it: it.of("sticker"),
    "interactive": _Reader.card,
    "hongbao": lambda it: it.of("red packet"),
    "share_calendar_event": _Reader.calendar,
    "calendar": _Reader.calendar,
    "general_calendar": _Reader.calendar,
    "share_chat": lambda it: it.of("shared chat", it.field("chat_id")),
    "share_user": lambda it: it.of("shared contact", it.field("user_id")),
    "system": _Reader.system,
    "location": _Reader.location,
    "video_chat": lambda it: it.of("video meeting", it.field("topic"), it.time("start_time")),
    "todo": _Reader.todo,
    "vote": _Reader.vote,
    "merge_forward": lambda it: it.of("merged and forwarded messages"),
}


# ── words of strangers ──────────────────────────────────────────────────────


def _clean(text: str) -> str:
    """One line, without control characters and the marks that reverse its direction."""
    return " ".join(_CONTROL.sub(" ", text).split())


def mention_text(mention: Mention) -> str:
    """Return how a mention stands in the content of its message."""
    return f"@{_name(mention.name)}"


def _name(text: str) -> str:
    return _clean(text)[:_NAME_CHARACTERS_MAX]


def _file_name(text: str) -> str:
    """The last part of a name, so that it stays inside the folder it is saved to."""
    last = _clean(re.split(r"[/\\]", text)[-1])
    if last in {"", ".", ".."}:
        return ""
    if len(last) <= _NAME_CHARACTERS_MAX and len(last.encode(errors="replace")) <= _NAME_BYTES_MAX:
        return last
    stem, dot, suffix = last.rpartition(".")
    ending = dot + suffix if stem and len(suffix) <= 16 else ""
    kept = last[: _NAME_CHARACTERS_MAX - len(ending)].encode(errors="replace")
    return (
        kept[: _NAME_BYTES_MAX - len(ending.encode(errors="replace"))].decode(errors="ignore")
        + ending
    )

"""A piece of text for people, in both languages, and what is filled into it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from protocol.quoted import quoted

Language = Literal["en", "zh"]


class Text(Struct, frozen=True):
    """One piece of text for people; both forms, since a reader's language may differ."""

    en: str
    zh: str

    def speak(self, language: Language) -> str:
        return self.zh if language == "zh" else self.en

    def format(self, **values: object) -> Text:
        """Fill in *values*.

        A Text goes into each language as it is there; anything else is quoted, since it is
        what others wrote (``protocol.quoted``).
        """
        en = {key: it.en if isinstance(it, Text) else _quoted(it) for key, it in values.items()}
        zh = {key: it.zh if isinstance(it, Text) else _quoted(it) for key, it in values.items()}
        return Text(self.en.format(**en), self.zh.format(**zh))

    def plus(self, tail: str) -> Text:
        """Append what is the same in both languages."""
        return Text(self.en + tail, self.zh + tail)

    def joined(self, tail: Text) -> Text:
        return Text(self.en + tail.en, self.zh + tail.zh)


def _quoted(value: object) -> object:
    return quoted(value) if isinstance(value, str) else value

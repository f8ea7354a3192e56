"""The card of an approval: what will happen, whole, and a button for each answer.

What is asked for stands in a code block that its content can't leave, with every
character that can't be seen as its code. What does not fit goes as a file that is sent
first; the card is shown only after it was accepted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from protocol.cards.answer import json_bytes, storable
from protocol.cards.approval import PRESS, Approval, Shown, allows, signature
from protocol.cards.elements import in_both
from protocol.ids import OpenId
from protocol.quoted import in_card, quoted, visible
from protocol.strings import Text, on_card
from protocol.wire.messages import PermissionOption, PermissionRequest

SHOWN_BYTES_MAX: Final = 14_000
"""Of the code block, as JSON; what is longer goes as a file, too."""
SLICE_CHARACTERS: Final = 8_192
TITLE_CHARACTERS_MAX: Final = 300
LABEL_CHARACTERS_MAX: Final = 60
SCOPE_CHARACTERS_MAX: Final = 500
"""Of an agent's label in the body; a longer one is in the file."""
_ORDER: Final = ("allow_once", "reject_once", "allow_always", "reject_always")
_WORDS: Final[Mapping[str, Text]] = {
    "allow_once": on_card.ALLOW_ONCE,
    "reject_once": on_card.REJECT_ONCE,
    "allow_always": on_card.ALLOW_ALWAYS,
    "reject_always": on_card.REJECT_ALWAYS,
}
_BACKTICKS: Final = re.compile("`{3,}")


class RequestReading:
    """Makes a request readable, a slice at a time: it may be millions of characters.

    Take :meth:`step` until it returns False; then :attr:`shown` and :attr:`file` stand.
    """

    def __init__(self, request: PermissionRequest) -> None:
        self._request = request
        title = request.title
        fits = len(title) <= TITLE_CHARACTERS_MAX and quoted(title) == title
        # A title that is too long for one line of ours stands above the rest.
        self._left = "\n".join(filter(None, (None if fits else title, request.detail)))
        self._at = 0
        self._bytes = 0
        self._pieces: list[str] = []
        self.shown = Shown()
        self.file: bytes | None = None
        """The whole request, where the card can't hold it."""

    def step(self) -> bool:
        """Take the next slice; False: that was all."""
        piece = visible(storable(self._left[self._at : self._at + SLICE_CHARACTERS]))
        self._at += SLICE_CHARACTERS
        self._bytes += json_bytes(piece)
        self._pieces.append(piece)
        if self._at < len(self._left):
            return True
        whole = "".join(self._pieces)
        labels = [each.label for each in self._request.options]
        fits = self._bytes <= SHOWN_BYTES_MAX
        if not fits or any(len(quoted(label)) > SCOPE_CHARACTERS_MAX for label in labels):
            self.file = self._as_file(whole)
        self.shown = Shown(
            start=whole if fits else _start(whole[:SHOWN_BYTES_MAX]), beside=self.file is not None
        )
        return False

    def _as_file(self, whole: str) -> bytes:
        request = self._request
        title = visible(storable(request.title[: 2 * TITLE_CHARACTERS_MAX]))
        scopes = (f"[{each.kind}] {visible(storable(each.label))}" for each in request.options)
        return "\n\n".join((title, whole, *scopes, "")).encode()


def read(request: PermissionRequest) -> RequestReading:
    """Make a request readable at once; of a long one, take the steps."""
    reading = RequestReading(request)
    while reading.step():
        pass
    return reading


def open_card(approval: Approval, secret: bytes) -> str:
    """Return the card that asks, with a button for each option: once first, wider last."""
    options = sorted(approval.request.options, key=lambda each: _ORDER.index(each.kind))
    buttons = [
        {
            "tag": "button",
            "element_id": f"option_{number}",
            "type": "primary_filled" if allows(option) else "danger",
            "width": "fill",
            "text": in_both({"tag": "plain_text"}, _label(option)),
            "behaviors": [
                {
                    "type": "callback",
                    "value": {
                        "larkd": PRESS,
                        "request": approval.key,
                        "option": option.id,
                        "signature": signature(approval, option.id, secret),
                    },
                }
            ],
        }
        for number, option in enumerate(options)
    ]
    scopes = [_scope(option) for option in options if option.kind.endswith("_always")]
    who = on_card.APPROVAL_ADMINS if approval.of_admins else on_card.APPROVAL_WHO
    return _card(approval, [*scopes, *buttons, _note(who)], on_card.APPROVAL_SUMMARY)


def chosen_card(approval: Approval, option: PermissionOption, by: OpenId) -> str:
    """Return the card that shows who decided what."""
    form = on_card.APPROVAL_ALLOWED if allows(option) else on_card.APPROVAL_REJECTED
    words = _WORDS[option.kind]
    beside = "" if _restates(option) else f" · {in_card(option.label, LABEL_CHARACTERS_MAX)}"
    verdict = form.format(label=words.plus(beside)).plus(f" <at id={by}></at>")
    return _card(approval, [_note(verdict)], form.format(label=_label(option)))


def closed_card(approval: Approval, why: Text) -> str:
    """Return the card of a request that was decided by no press."""
    return _card(approval, [_note(why)], why)


def _card(approval: Approval, below: list[dict[str, Any]], summary: Text) -> str:
    title = on_card.APPROVAL_ASKS.format(
        alias=in_card(approval.alias), title=in_card(approval.request.title, TITLE_CHARACTERS_MAX)
    )
    elements: list[dict[str, Any]] = [in_both({"tag": "markdown", "element_id": "title"}, title)]
    shown = approval.shown
    if shown.start:
        elements.append({"tag": "markdown", "element_id": "detail", "content": _code(shown.start)})
    if shown.beside:
        elements.append(in_both({"tag": "markdown", "element_id": "file"}, on_card.APPROVAL_FILE))
    card = {
        "schema": "2.0",
        "config": {"update_multi": True, "summary": in_both({}, summary)},
        "body": {"elements": [*elements, *below]},
    }
    return msgspec.json.encode(card).decode()


def _start(whole: str) -> str:
    while json_bytes(whole) > SHOWN_BYTES_MAX:
        whole = whole[: len(whole) * 4 // 5]
    return whole


def _code(text: str) -> str:
    """As itself: the fence is longer than any run of backticks in it."""
    longest = max((len(run) for run in _BACKTICKS.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}\n{text}\n{fence}"


def _label(option: PermissionOption) -> Text:
    """The words of what the option does, and beside them the agent's own."""
    words = _WORDS[option.kind]
    if _restates(option):
        return words
    return words.plus(f" · {quoted(option.label, LABEL_CHARACTERS_MAX)}")


def _restates(option: PermissionOption) -> bool:
    words = _WORDS[option.kind]
    return option.label.strip().casefold() in ("", words.en.casefold(), words.zh)


def _scope(option: PermissionOption) -> dict[str, Any]:
    words = _WORDS[option.kind]
    text = words.plus(f": {in_card(option.label, SCOPE_CHARACTERS_MAX)}")
    return in_both({"tag": "markdown", "text_size": "notation"}, text)


def _note(text: Text) -> dict[str, Any]:
    return in_both({"tag": "markdown", "element_id": "note", "text_size": "notation"}, text)

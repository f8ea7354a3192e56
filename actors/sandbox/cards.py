"""Card entities: created, sent once, updated in place under a rising sequence.

Follows the platform's pages for card entities: one counter for all endpoints,
streaming that closes ten minutes after it was opened, updates that fail while a
callback of the card is not answered yet.
"""

from __future__ import annotations

import hashlib
from collections import deque
from typing import Any, Final

import msgspec

from actors.sandbox.card_actions import apply_action, merge_settings
from actors.sandbox.cardschema import CARD_BYTES_MAX, card_bytes, check_card, parse_card
from actors.sandbox.clock import Clock
from actors.sandbox.errors import PlatformError, card_error

STREAMING_S: Final = 600.0
VALID_S: Final = 14 * 24 * 3600.0
CONTENT_CHARS_MAX: Final = 100_000
HISTORY_MAX: Final = 2_000
UUIDS_MAX: Final = 4_096
UUID_CHARS_MAX: Final = 64
SETTINGS_CHARS_MAX: Final = 100_000
_TYPED_TAGS: Final = ("markdown", "plain_text")


class CardOperation(msgspec.Struct, frozen=True, kw_only=True):
    """One call on a card: who makes it, its place in the order, and what it carries."""

    name: str
    app_id: str
    sequence: Any
    uuid: Any
    content: Any
    """Text of an element, or JSON; as it came, not yet checked."""
    element_id: str | None = None

    def digest(self) -> bytes:
        """What makes two calls under one uuid the same call."""
        same = msgspec.json.encode([self.name, self.element_id, self.content])
        return hashlib.sha256(same).digest()


class Entity:
    """One card entity."""

    def __init__(self, card_id: str, app_id: str, card: dict[str, Any], clock: Clock) -> None:
        self.card_id = card_id
        self.app_id = app_id
        self.card: dict[str, Any] = {}
        self.sequence = 0
        self.message_id: str | None = None
        self.updated_at = clock.wall_ms()
        self.callback_pending = 0
        self.history: deque[dict[str, Any]] = deque(maxlen=HISTORY_MAX)
        self._clock = clock
        self._created_at = clock.now()
        self._opened_at = 0.0
        self._elements: dict[str, dict[str, Any]] = {}
        self._bytes = 0
        self._uuids: dict[str, bytes] = {}
        self._timed_out = False
        self._typed: dict[str, int] = {}
        self._replace(card)

    @property
    def streaming(self) -> bool:
        """Whether streaming mode is on at this moment."""
        if not self.card.get("config", {}).get("streaming_mode", False):
            return False
        return self._clock.now() - self._opened_at < STREAMING_S

    def describe(self) -> dict[str, Any]:
        return {
            "card_id": self.card_id,
            "card": self.card,
            "sequence": self.sequence,
            "streaming": self.streaming,
            "message_id": self.message_id,
            "updated_at": self.updated_at,
            "history_len": len(self.history),
            "typed": self._typed,
        }

    # ── operations ──────────────────────────────────────────────────────────

    def begin(self, operation: CardOperation) -> bool:
        """Check what every operation checks; False: done before under this uuid.

        Raises:
            PlatformError: 300311 not this app's, 200750 expired, 200770 the uuid was used
                for something else, 200810 a press is unanswered, 300317 the sequence did
                not rise, 10002 malformed.
        """
        if self.app_id != operation.app_id:
            raise card_error(300311, "no permission to update this card")
        if self._clock.now() - self._created_at > VALID_S:
            raise card_error(200750, "the card entity has expired")
        uuid, sequence = operation.uuid, operation.sequence
        if uuid is not None:
            if not isinstance(uuid, str) or not 1 <= len(uuid) <= UUID_CHARS_MAX:
                raise PlatformError(10002, "invalid uuid")
            seen = self._uuids.get(uuid)
            if seen == operation.digest():
                return False
            if seen is not None:
                raise card_error(200770, "uuid conflict", uuid)
        if self.callback_pending:
            raise card_error(200810, "the card is in an ongoing interaction")
        if not isinstance(sequence, int) or isinstance(sequence, bool) or not 0 < sequence < 2**31:
            raise PlatformError(10002, "sequence must be an int32 above 0")
        if sequence <= self.sequence:
            raise card_error(300317, "sequence number compare failed", sequence)
        return True

    def _done(self, operation: CardOperation, **what: Any) -> None:
        self.sequence = operation.sequence
        self.updated_at = self._clock.wall_ms()
        if operation.uuid is not None:
            if len(self._uuids) >= UUIDS_MAX:
                self._uuids.pop(next(iter(self._uuids)))
            self._uuids[operation.uuid] = operation.digest()
        self.history.append(
            {
                "at_ms": self.updated_at,
                "sequence": operation.sequence,
                "op": operation.name,
                "element_id": operation.element_id,
                "streaming": self.streaming,
                **what,
            }
        )

    def update(self, operation: CardOperation) -> None:
        """Replace the card by the JSON in the operation's content."""
        if not self.begin(operation):
            return
        self._replace(parse_card(operation.content))
        self._done(operation, card=_copy(self.card))

    def set_config(self, operation: CardOperation) -> None:
        """Merge the settings in the operation's content, JSON, into the card."""
        if not self.begin(operation):
            return
        if not 1 <= len(operation.content) <= SETTINGS_CHARS_MAX:
            raise PlatformError(10002, "settings must be 1 to 100000 characters")
        try:
            settings = msgspec.json.decode(operation.content.encode())
        except (msgspec.DecodeError, UnicodeError) as wrong:
            raise PlatformError(10002, f"settings is not JSON: {wrong}") from wrong
        card = dict(self.card)
        config = merge_settings(card, settings)
        self._replace(card, opens=config.get("streaming_mode") is True)
        self._done(operation, card=config)

    def stream(self, operation: CardOperation) -> None:
        """Set the whole text of one element while streaming; clients type what is new of it.

        Raises:
            PlatformError: 200850 streaming has just timed out, 300309 it is closed, 300313
                no such element, 300310 it holds no text, 200860 over 30 KB, 10002.
        """
        if not self.begin(operation):
            return
        element_id, content = operation.element_id or "", operation.content
        if not isinstance(content, str) or not 1 <= len(content) <= CONTENT_CHARS_MAX:
            raise PlatformError(10002, "content must be 1 to 100000 characters")
        if not self.streaming:
            if self.card.get("config", {}).get("streaming_mode") and not self._timed_out:
                self._timed_out = True
                self.card["config"]["streaming_mode"] = False
                raise card_error(200850, "card streaming timeout")
            raise card_error(300309, "streaming mode is closed")
        element = self._elements.get(element_id)
        if element is None:
            raise card_error(300313, f"not find elementID : {element_id}")
        if element.get("tag") not in _TYPED_TAGS:
            raise card_error(300310, "only update text")
        grown = len(msgspec.json.encode(content)) - len(
            msgspec.json.encode(element.get("content", ""))
        )
        if self._bytes + grown > CARD_BYTES_MAX:
            raise card_error(200860, "card content exceeds limit", self._bytes + grown)
        self._bytes += grown
        element["content"] = content
        element.pop("i18n_content", None)
        self._typed = {**self._typed, element_id: operation.sequence}
        self._done(operation, content=content)

    def change_elements(self, operation: CardOperation, actions: list[Any]) -> None:
        """Apply element actions (as of ``batch_update``), all or none."""
        if not self.begin(operation):
            return
        if not actions:
            raise PlatformError(10002, "actions is empty")
        card = msgspec.json.decode(msgspec.json.encode(self.card))
        opens = False
        for action in actions:
            config = apply_action(card, action)
            opens = config.get("streaming_mode", opens) is True
        self._replace(card, opens=opens)
        self._done(operation, card=_copy(self.card))

    def replace(self, card: dict[str, Any]) -> None:
        """Take the card that a callback answered with; the sequence stays."""
        self._replace(card)
        self.updated_at = self._clock.wall_ms()

    def _replace(self, card: dict[str, Any], *, opens: bool | None = None) -> None:
        elements = check_card(card)
        size = card_bytes(card)
        if size > CARD_BYTES_MAX:
            raise card_error(200860, "card content exceeds limit", size)
        was_on = self.streaming if self.card else False
        self._typed = {
            element_id: sequence
            for element_id, sequence in self._typed.items()
            if _text(self._elements.get(element_id)) == _text(elements.get(element_id))
        }
        self.card, self._elements, self._bytes = card, elements, size
        is_on = bool(card.get("config", {}).get("streaming_mode", False))
        if is_on and (opens or (opens is None and not was_on)):
            self._opened_at = self._clock.now()
            self._timed_out = False


def _text(element: dict[str, Any] | None) -> Any:
    return None if element is None else (element.get("content"), element.get("i18n_content"))


def _copy(card: dict[str, Any]) -> dict[str, Any]:
    """Return the card as it is now: its texts are changed in their place later."""
    copied: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(card))
    return copied

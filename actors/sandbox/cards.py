"""Card entities: created, sent once, updated in place under a rising sequence.

Follows the platform's pages for card entities: one counter for all endpoints,
streaming that closes ten minutes after it was opened, updates that fail while a
callback of the card is not answered yet.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import msgspec

from actors.sandbox.cardschema import (
    CARD_BYTES_MAX,
    card_bytes,
    check_card,
    check_elements,
    parse_card,
)
from actors.sandbox.clock import Clock
from actors.sandbox.errors import PlatformError, card_error

STREAMING_S: Final = 600.0
VALID_S: Final = 14 * 24 * 3600.0
CONTENT_CHARS_MAX: Final = 100_000
HISTORY_MAX: Final = 2_000
UUIDS_MAX: Final = 4_096
UUID_CHARS_MAX: Final = 64
_TYPED_TAGS: Final = ("markdown", "plain_text", "lark_md")


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
        self._uuids: dict[str, str] = {}
        self._timed_out = False
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
        }

    # ── operations ──────────────────────────────────────────────────────────

    def begin(self, app_id: str, sequence: Any, uuid: Any, operation: str) -> bool:
        """Check what every operation checks; False: done before under this uuid."""
        if self.app_id != app_id:
            raise card_error(300311, "no permission to update this card")
        if self._clock.now() - self._created_at > VALID_S:
            raise card_error(200750, "the card entity has expired")
        if uuid is not None:
            if not isinstance(uuid, str) or not 1 <= len(uuid) <= UUID_CHARS_MAX:
                raise PlatformError(10002, "invalid uuid")
            seen = self._uuids.get(uuid)
            if seen == operation:
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

    def _done(self, sequence: int, uuid: str | None, operation: str, **what: Any) -> None:
        self.sequence = sequence
        self.updated_at = self._clock.wall_ms()
        if uuid is not None:
            if len(self._uuids) >= UUIDS_MAX:
                self._uuids.pop(next(iter(self._uuids)))
            self._uuids[uuid] = operation
        self.history.append(
            {
                "at_ms": self.updated_at,
                "sequence": sequence,
                "op": operation.partition(" ")[0],
                "element_id": None,
                "streaming": self.streaming,
                **what,
            }
        )

    def update(self, app_id: str, data: str, sequence: Any, uuid: Any) -> None:
        if not self.begin(app_id, sequence, uuid, "update"):
            return
        self._replace(parse_card(data))
        self._done(sequence, uuid, "update", card=self.card)

    def set_config(self, app_id: str, settings: str, sequence: Any, uuid: Any) -> None:
        if not self.begin(app_id, sequence, uuid, "settings"):
            return
        try:
            wanted = msgspec.json.decode(settings.encode())
        except (msgspec.DecodeError, AttributeError, UnicodeError) as wrong:
            raise PlatformError(10002, f"settings is not JSON: {wrong}") from wrong
        if not isinstance(wanted, dict):
            raise PlatformError(10002, "settings is not an object")
        config = wanted.get("config", wanted)
        card = {**self.card, "config": {**self.card.get("config", {}), **config}}
        if "card_link" in wanted:
            card["card_link"] = wanted["card_link"]
        self._replace(card, opens=config.get("streaming_mode") is True)
        self._done(sequence, uuid, "settings", card=config)

    def stream(self, app_id: str, element_id: str, content: Any, sequence: Any, uuid: Any) -> None:
        """Set the whole text of one element while streaming."""
        if not self.begin(app_id, sequence, uuid, f"content {element_id}"):
            return
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
        element.pop("i18n_content", None) if element.get("tag") == "markdown" else None
        self._done(sequence, uuid, f"content {element_id}", element_id=element_id, content=content)

    def change_elements(
        self, app_id: str, sequence: Any, uuid: Any, operation: str, actions: list[Any]
    ) -> None:
        """Apply element actions (as of batch_update), all or none."""
        if not self.begin(app_id, sequence, uuid, operation):
            return
        card = msgspec.json.decode(msgspec.json.encode(self.card))
        for action in actions:
            _act(card, action)
        self._replace(card, opens=False)
        self._done(sequence, uuid, operation, card=self.card)

    def _replace(self, card: dict[str, Any], *, opens: bool | None = None) -> None:
        elements = check_card(card)
        size = card_bytes(card)
        if size > CARD_BYTES_MAX:
            raise card_error(200860, "card content exceeds limit", size)
        was_on = self.streaming if self.card else False
        self.card, self._elements, self._bytes = card, elements, size
        is_on = bool(card.get("config", {}).get("streaming_mode", False))
        if is_on and (opens or (opens is None and not was_on)):
            self._opened_at = self._clock.now()
            self._timed_out = False


def _act(card: dict[str, Any], action: Any) -> None:
    if not isinstance(action, dict) or not isinstance(action.get("params"), dict):
        raise PlatformError(10002, "an action is {action, params}")
    params = action["params"]
    elements = card.setdefault("body", {}).setdefault("elements", [])
    match action.get("action"):
        case "partial_update_setting":
            settings = params.get("settings", {})
            card.setdefault("config", {}).update(settings.get("config", {}))
        case "add_elements":
            _add(elements, params)
        case "delete_elements":
            for element_id in params.get("element_ids", []):
                place = _find(elements, element_id)
                if place is None:
                    raise card_error(300314, f"not find elementID : {element_id}")
                del place[0][place[1]]
        case "partial_update_element" | "update_element" as kind:
            place = _find(elements, params.get("element_id"))
            if place is None:
                raise card_error(300313, f"not find elementID : {params.get('element_id')}")
            siblings, at = place
            if kind == "update_element":
                siblings[at] = params.get("element")
                return
            change = params.get("partial_element", {})
            if change.get("tag", siblings[at].get("tag")) != siblings[at].get("tag"):
                raise card_error(300312, "the tag of an element cannot change")
            siblings[at].update(change)
        case other:
            raise PlatformError(10002, f"unknown action {other}")


def _add(elements: list[Any], params: dict[str, Any]) -> None:
    fresh = params.get("elements")
    if not isinstance(fresh, list):
        raise card_error(300315, "elements is not a list")
    check_elements(fresh, {})
    target = params.get("target_element_id")
    place = _find(elements, target) if target else None
    if target and place is None:
        raise card_error(300315, f"not find elementID : {target}")
    match params.get("type", "append"), place:
        case "append", None:
            elements.extend(fresh)
        case "append", (siblings, at):
            siblings[at].setdefault("elements", []).extend(fresh)
        case "insert_before", (siblings, at):
            siblings[at:at] = fresh
        case "insert_after", (siblings, at):
            siblings[at + 1 : at + 1] = fresh
        case _:
            raise card_error(300315, "insert needs a target_element_id")


def _find(siblings: list[Any], element_id: Any) -> tuple[list[Any], int] | None:
    for at, node in enumerate(siblings):
        if not isinstance(node, dict):
            continue
        if node.get("element_id") == element_id:
            return siblings, at
        for key in ("elements", "columns"):
            if isinstance(node.get(key), list):
                found = _find(node[key], element_id)
                if found is not None:
                    return found
    return None

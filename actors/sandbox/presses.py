"""A person presses a button of a card: the callback, its answer, and what the client shows."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from actors.sandbox import events
from actors.sandbox.errors import PlatformError
from actors.sandbox.longconn import ACK_OK, Event, LongConnections
from actors.sandbox.world import Message, World

CALLBACK_OK: Final = 0
CALLBACK_TIMEOUT: Final = 200341
CALLBACK_REFUSED: Final = 200671
CALLBACK_BAD_SHAPE: Final = 200672


class Presses:
    def __init__(self, world: World, sockets: LongConnections) -> None:
        self._world = world
        self._sockets = sockets

    async def click(self, body: dict[str, Any]) -> Any:
        """Press, wait for the callback's answer 3 s at most, return what the client shows."""
        message = self._clicked(body)
        entity = self._world.cards.get(message.card_id or "")
        app = self._world.apps[self._world.chats[message.chat_id].app_id]
        value = body.get("value")
        element_id = body.get("element_id")
        if value is None:
            card = msgspec.json.decode(message.content) if entity is None else entity.card
            value = _callback_value(card, element_id)
        operator = str(body.get("operator") or self._world.chats[message.chat_id].members[0])
        callback = events.card_action(self._world, app, message, operator, value, element_id)
        event = Event(
            event_id=callback["header"]["event_id"],
            event_type="card.action.trigger",
            app_id=app.app_id,
            payload=events.encode(callback),
        )
        self._sockets.events[event.event_id] = event
        if entity is not None:
            entity.callback_pending += 1
        try:
            waiting = await self._sockets.push_once(event)
        finally:
            if entity is not None:
                entity.callback_pending -= 1
        event.state = "delivered" if waiting.code == ACK_OK else "lost"
        return self._callback_result(waiting.code, waiting.data, event.event_id)

    def _clicked(self, body: dict[str, Any]) -> Message:
        card_id = body.get("card_id")
        if card_id is not None:
            message_id = self._world.card(str(card_id)).message_id
            return self._world.message(message_id or "")
        return self._world.message(str(body.get("message_id")))

    def _callback_result(self, code: int | None, data: Any, event_id: str) -> dict[str, Any]:
        """What the client shows: the toast, or its own error code."""
        toast = None
        if code is None:
            shown = CALLBACK_TIMEOUT
        elif code != ACK_OK:
            shown = CALLBACK_REFUSED
        elif data is not None and not isinstance(data, dict):
            shown = CALLBACK_BAD_SHAPE
        else:
            toast = (data or {}).get("toast")
            good = toast is None or (
                isinstance(toast, dict)
                and toast.get("type") in ("info", "success", "error", "warning")
            )
            shown = CALLBACK_OK if good else CALLBACK_BAD_SHAPE
        if toast is not None:
            self._world.feed.changed("toast", event_id, lambda: toast)
        return {"code": shown, "toast": toast, "event_id": event_id}


def _callback_value(card: dict[str, Any], element_id: Any) -> Any:
    """Return the callback value of the button with this id, or of the only button."""
    found: list[Any] = []

    def look(node: Any) -> None:
        if isinstance(node, dict):
            if node.get("tag") == "button" and element_id in (None, node.get("element_id")):
                found.extend(
                    behavior.get("value")
                    for behavior in node.get("behaviors", [])
                    if behavior.get("type") == "callback"
                )
            for child in node.values():
                look(child)
        elif isinstance(node, list):
            for child in node:
                look(child)

    look(card)
    if not found:
        raise PlatformError(9499, "the card has no such button with a callback")
    return found[0]

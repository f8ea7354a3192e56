"""A person presses or fills in what a card offers: the callback, its answer, what is shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from actors.sandbox import events
from actors.sandbox.cards import Entity
from actors.sandbox.cardschema import check_card
from actors.sandbox.errors import PlatformError
from actors.sandbox.longconn import ACK_OK, Event, LongConnections
from actors.sandbox.world import ChatMessage, World

CALLBACK_OK: Final = 0
CALLBACK_TIMEOUT: Final = 200341
CALLBACK_REFUSED: Final = 200671
CALLBACK_BAD_SHAPE: Final = 200672
CALLBACK_BAD_CARD: Final = 200673
CALLBACK_OLD_CARD: Final = 200830
TIMEZONE: Final = "Asia/Shanghai"
_TOASTS: Final = ("info", "success", "error", "warning")
_WITH_TIMEZONE: Final = ("date_picker", "picker_time", "picker_datetime")


class Click(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody did to a card, named by its entity or by its message."""

    card_id: str | None = None
    message_id: str | None = None
    element_id: str | None = None
    name: str | None = None
    """The component pressed, by either; without both, ``value``, or the only button."""
    tag: str = "button"
    value: Any = None
    operator: str = ""
    form_value: dict[str, Any] | None = None
    """What the form around the pressed button holds, by name."""
    input_value: str | None = None
    option: str | None = None
    options: list[str] | None = None
    checked: bool | None = None


class CardPresses:
    def __init__(self, world: World, sockets: LongConnections) -> None:
        self._world = world
        self._sockets = sockets

    async def click(self, body: dict[str, Any]) -> Any:
        """Press, wait for the callback's answer, 3 s at most, and return what the client shows.

        Raises:
            PlatformError: 9499 there is no such component, or a required input is empty.
        """
        try:
            click = msgspec.convert(body, Click)
        except msgspec.ValidationError as wrong:
            raise PlatformError(9499, str(wrong)) from wrong
        message = self._clicked(click)
        entity = self._world.cards.get(message.card_id or "")
        chat = self._world.chats[message.chat_id]
        app = self._world.apps[chat.app_id]
        card = msgspec.json.decode(message.content) if entity is None else entity.card
        operator = click.operator or chat.members[0]
        action = _action(card, click)
        callback = events.card_action(self._world, app, message, operator, action)
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
            waiting = await self._sockets.push_once(event, within_s=self._sockets.press_within_s)
        finally:
            if entity is not None:
                entity.callback_pending -= 1
        event.state = "delivered" if waiting.code == ACK_OK else "lost"
        code, toast = self._shown(waiting.code, waiting.data, message, entity)
        if toast is not None:
            self._world.feed.changed("toast", event.event_id, lambda: toast)
        return {"code": code, "toast": toast, "event_id": event.event_id}

    def _clicked(self, click: Click) -> ChatMessage:
        if click.card_id is not None:
            message_id = self._world.card(click.card_id).message_id
            return self._world.message(message_id or "")
        return self._world.message(str(click.message_id))

    def _shown(
        self, code: int | None, data: Any, message: ChatMessage, entity: Entity | None
    ) -> tuple[int, dict[str, Any] | None]:
        """The client's own code, and the toast; the answer's card takes its place."""
        if code is None:
            return CALLBACK_TIMEOUT, None
        if code != ACK_OK:
            return CALLBACK_REFUSED, None
        if data is None:
            return CALLBACK_OK, None
        if not isinstance(data, dict):
            return CALLBACK_BAD_SHAPE, None
        toast = data.get("toast")
        if toast is not None and not (isinstance(toast, dict) and toast.get("type") in _TOASTS):
            return CALLBACK_BAD_SHAPE, None
        return self._replace(data.get("card"), message, entity), toast

    def _replace(self, card: Any, message: ChatMessage, entity: Entity | None) -> int:
        if card is None:
            return CALLBACK_OK
        data = card.get("data") if isinstance(card, dict) else None
        if not isinstance(data, dict) or card.get("type") != "raw":
            return CALLBACK_BAD_CARD
        if data.get("schema") != "2.0":
            return CALLBACK_OLD_CARD
        try:
            check_card(data)
        except PlatformError:
            return CALLBACK_BAD_CARD
        if entity is None:
            message.content = msgspec.json.encode(data).decode()
            self._world.message_changed(message)
        elif not entity.streaming:
            # While a card streams, the answer of a callback can't update it.
            entity.replace(data)
            self._world.card_changed(entity)
        return CALLBACK_OK


def _action(card: dict[str, Any], click: Click) -> dict[str, Any]:
    """Return ``event.action`` of the callback."""
    tag, value, name = click.tag, click.value, click.name
    form: dict[str, Any] | None = None
    by_value = value is not None and click.element_id is None and name is None
    if not by_value:
        pressed, form = _find(card, click)
        tag, name = str(pressed["tag"]), pressed.get("name")
        if value is None:
            value = _callback(pressed)
    action: dict[str, Any] = {"tag": tag, "value": {} if value is None else value}
    if name:
        action["name"] = name
    if form is not None:
        action["form_value"] = _filled(form, click.form_value or {})
    elif click.form_value is not None:
        action["form_value"] = click.form_value
    for key in ("input_value", "option", "options", "checked"):
        if (given := getattr(click, key)) is not None:
            action[key] = given
    if tag in _WITH_TIMEZONE:
        action["timezone"] = TIMEZONE
    return action


def _find(card: dict[str, Any], click: Click) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the component, and the form it submits."""
    named = click.element_id is not None or click.name is not None
    for node, form in _components(card, None):
        if named:
            by_id = click.element_id in (None, node.get("element_id"))
            if not by_id or click.name not in (None, node.get("name")):
                continue
        elif node.get("tag") != "button" or (_callback(node) is None and form is None):
            continue
        submits = form is not None and node.get("form_action_type") == "submit"
        if submits or node.get("tag") != "button" or _callback(node) is not None:
            return node, form if submits else None
    raise PlatformError(9499, "the card has no such button with a callback")


def _components(
    node: Any, form: dict[str, Any] | None
) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
    if isinstance(node, list):
        for child in node:
            yield from _components(child, form)
    elif isinstance(node, dict):
        if "tag" in node:
            yield node, form
        inner = node if node.get("tag") == "form" else form
        for key, child in node.items():
            if key not in ("behaviors", "value"):
                yield from _components(child, inner)


def _callback(node: dict[str, Any]) -> Any:
    for behavior in node.get("behaviors", []):
        if behavior.get("type") == "callback":
            return behavior.get("value")
    return None


def _filled(form: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """What the client sends of a form: each named input, with its default where untouched."""
    value: dict[str, Any] = {}
    for node, _ in _components(form.get("elements", []), None):
        name = node.get("name")
        if not name or node.get("tag") == "button":
            continue
        default = node.get("default_value", node.get("initial_option", ""))
        held = given.get(name, node.get("selected_values", default))
        if node.get("required") and held in ("", [], None):
            raise PlatformError(9499, f"{name} is required")
        value[name] = held
    return value

"""The card entity APIs: what each does with a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.routing import Route

from actors.sandbox.cards import CardOperation, Entity
from actors.sandbox.cardschema import parse_card
from actors.sandbox.errors import PlatformError
from actors.sandbox.limits import CallLimits
from actors.sandbox.rest import ApiCall, ApiHandler, OpenApi
from actors.sandbox.world import World

CREATE_CHARS_MAX: Final = 3_000_000
UPDATE_CHARS_MAX: Final = 1_000_000
_CARDS: Final = "/open-apis/cardkit/v1/cards"


class CardApi:
    def __init__(self, world: World, limits: CallLimits) -> None:
        self._world = world
        self._limits = limits

    def routes(self, api: OpenApi) -> list[Route]:
        table: list[tuple[str, str, ApiHandler]] = [
            ("POST", _CARDS, self._create_card),
            ("POST", f"{_CARDS}/id_convert", self._convert_id),
            ("PUT", f"{_CARDS}/:card_id", self._update_card),
            ("PATCH", f"{_CARDS}/:card_id/settings", self._card_settings),
            ("POST", f"{_CARDS}/:card_id/batch_update", self._batch_update),
            ("POST", f"{_CARDS}/:card_id/elements", self._add_elements),
            ("PUT", f"{_CARDS}/:card_id/elements/:element_id/content", self._content),
            ("PUT", f"{_CARDS}/:card_id/elements/:element_id", self._replace_element),
            ("PATCH", f"{_CARDS}/:card_id/elements/:element_id", self._patch_element),
            ("DELETE", f"{_CARDS}/:card_id/elements/:element_id", self._delete_element),
        ]
        return api.routes(table)

    async def _create_card(self, call: ApiCall) -> Any:
        if call.body.get("type") != "card_json":
            raise PlatformError(10002, "only card_json is known here")
        card = parse_card(_string(call.body.get("data"), "data", CREATE_CHARS_MAX))
        return {"card_id": self._world.add_card(call.app_id, card).card_id}

    async def _convert_id(self, call: ApiCall) -> Any:
        message = self._world.messages.get(str(call.body.get("message_id")))
        if message is None or message.card_id is None:
            raise PlatformError(10002, "message_id is of no card entity")
        return {"card_id": message.card_id}

    def is_exempt(self, template: str, path: Mapping[str, Any]) -> bool:
        """Whether this call updates a card that streams, so that no API limit counts it."""
        if not template.startswith(f"{_CARDS}/:card_id") or template.endswith("/settings"):
            return False
        entity = self._world.cards.get(str(path.get("card_id")))
        return entity is not None and entity.streaming

    def _begin(self, call: ApiCall, name: str, content: Any) -> tuple[Entity, CardOperation]:
        entity = self._world.card(call.path["card_id"])
        self._limits.check_card(entity.card_id)
        return entity, CardOperation(
            name=name,
            app_id=call.app_id,
            sequence=call.body.get("sequence"),
            uuid=call.body.get("uuid"),
            content=content,
            element_id=call.path.get("element_id"),
        )

    async def _update_card(self, call: ApiCall) -> Any:
        wanted = call.body.get("card")
        if not isinstance(wanted, dict) or wanted.get("type") != "card_json":
            raise PlatformError(10002, "card must be {type: card_json, data}")
        data = _string(wanted.get("data"), "data")
        entity, operation = self._begin(call, "update", data)
        entity.update(operation)
        self._world.card_changed(entity)

    async def _card_settings(self, call: ApiCall) -> Any:
        settings = _string(call.body.get("settings"), "settings")
        entity, operation = self._begin(call, "settings", settings)
        entity.set_config(operation)
        self._world.card_changed(entity)

    async def _content(self, call: ApiCall) -> Any:
        entity, operation = self._begin(call, "content", call.body.get("content"))
        entity.stream(operation)
        self._world.card_changed(entity)

    async def _batch_update(self, call: ApiCall) -> Any:
        actions = _decoded(call.body.get("actions"), "actions")
        if not isinstance(actions, list):
            raise PlatformError(10002, "actions is not a list")
        self._change(call, "batch", actions)

    async def _add_elements(self, call: ApiCall) -> Any:
        params = {
            "type": call.body.get("type"),
            "target_element_id": call.body.get("target_element_id"),
            "elements": _decoded(call.body.get("elements"), "elements"),
        }
        self._change(call, "add", [{"action": "add_elements", "params": params}])

    async def _replace_element(self, call: ApiCall) -> Any:
        params = {
            "element_id": call.path["element_id"],
            "element": _decoded(call.body.get("element"), "element"),
        }
        self._change(call, "replace", [{"action": "update_element", "params": params}])

    async def _patch_element(self, call: ApiCall) -> Any:
        params = {
            "element_id": call.path["element_id"],
            "partial_element": _decoded(call.body.get("partial_element"), "partial_element"),
        }
        self._change(call, "patch", [{"action": "partial_update_element", "params": params}])

    async def _delete_element(self, call: ApiCall) -> Any:
        params = {"element_ids": [call.path["element_id"]]}
        self._change(call, "delete", [{"action": "delete_elements", "params": params}])

    def _change(self, call: ApiCall, name: str, actions: list[Any]) -> None:
        entity, operation = self._begin(call, name, actions)
        entity.change_elements(operation, actions)
        self._world.card_changed(entity)


def _string(value: object, name: str, chars_max: int = UPDATE_CHARS_MAX) -> str:
    if not isinstance(value, str):
        raise PlatformError(10002, f"{name} must be a string")
    if len(value) > chars_max:
        raise PlatformError(10002, f"{name} is over {chars_max} characters")
    return value


def _decoded(value: object, name: str) -> Any:
    try:
        return msgspec.json.decode(_string(value, name).encode())
    except (msgspec.DecodeError, UnicodeError) as wrong:
        raise PlatformError(10002, f"{name} is not JSON: {wrong}") from wrong

"""Operations as HTTP calls, built with lark-oapi's request models.

The models know method, path and field names of each API; their own transports are
not used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final
from urllib.parse import quote

import msgspec

from actors.feishu.sdk import load
from actors.messages import gateway
from actors.messages.gateway import Api
from protocol.platform.comments import place_of, reply_body

_CARDKIT: Final = "lark_oapi.api.cardkit.v1.model"
_DRIVE: Final = "lark_oapi.api.drive.v1.model"
REACTIONS_MAX: Final = 50
"""The largest page; one message has fewer Typing marks than this."""
COMMENT_REPLIES_MAX: Final = 100
_IM: Final = "lark_oapi.api.im.v1.model"
_BASE_REQUEST: Final = "lark_oapi.core.model.base_request"


class HttpCall(msgspec.Struct, frozen=True, kw_only=True):
    """One request, but for domain and token."""

    api: Api
    method: str
    path: str
    params: tuple[tuple[str, str], ...] = ()
    json: bytes | None = None
    files: Mapping[str, Any] | None = None
    fields: Mapping[str, str] | None = None
    needs_token: bool = True
    resource: str | None = None
    """The card or chat whose own limit this counts against."""

    def __repr__(self) -> str:
        """Leave out the body: it may hold what users write, or the app's secret."""
        return f"HttpCall({self.method} {self.path})"


def build(operation: gateway.Operation, *, app_id: str, app_secret: str) -> HttpCall:
    """Return the request of *operation*. The secret goes into endpoint discovery alone."""
    match operation:
        case gateway.DiscoverEndpoint():
            return HttpCall(
                api=Api.ENDPOINT,
                method="POST",
                path="/callback/ws/endpoint",
                json=msgspec.json.encode({"AppID": app_id, "AppSecret": app_secret}),
                needs_token=False,
            )
        case gateway.GetBotInfo():
            return HttpCall(api=Api.BOT_INFO, method="GET", path="/open-apis/bot/v3/info")
        case gateway.CreateCard(card_json=card):
            return _model(
                Api.CREATE_CARD, _CARDKIT, "create_card", {"type": "card_json", "data": card}
            )
        case gateway.UpdateCard():
            card_model = load(f"{_CARDKIT}.card").Card.builder()
            card = card_model.type("card_json").data(operation.card_json).build()
            return _model(
                Api.UPDATE_CARD,
                _CARDKIT,
                "update_card",
                {"card": card, "uuid": operation.uuid, "sequence": operation.sequence},
                {"card_id": operation.card_id},
                resource=operation.card_id,
            )
        case _:
            return _build_card_update(operation)


def _build_card_update(operation: gateway.Operation) -> HttpCall:
    match operation:
        case gateway.CardSettings():
            return _model(
                Api.CARD_SETTINGS,
                _CARDKIT,
                "settings_card",
                {
                    "settings": operation.settings_json,
                    "uuid": operation.uuid,
                    "sequence": operation.sequence,
                },
                {"card_id": operation.card_id},
                resource=operation.card_id,
            )
        case gateway.ElementContent():
            return _model(
                Api.ELEMENT_CONTENT,
                _CARDKIT,
                "content_card_element",
                {
                    "content": operation.content,
                    "uuid": operation.uuid,
                    "sequence": operation.sequence,
                },
                {"card_id": operation.card_id, "element_id": operation.element_id},
                resource=operation.card_id,
            )
        case gateway.BatchUpdate():
            return _model(
                Api.BATCH_UPDATE,
                _CARDKIT,
                "batch_update_card",
                {
                    "actions": operation.actions_json,
                    "uuid": operation.uuid,
                    "sequence": operation.sequence,
                },
                {"card_id": operation.card_id},
                resource=operation.card_id,
            )
        case gateway.PatchElement():
            return _model(
                Api.PATCH_ELEMENT,
                _CARDKIT,
                "patch_card_element",
                {
                    "partial_element": operation.partial_json,
                    "uuid": operation.uuid,
                    "sequence": operation.sequence,
                },
                {"card_id": operation.card_id, "element_id": operation.element_id},
                resource=operation.card_id,
            )
        case _:
            return _build_message_call(operation)


def _build_message_call(operation: gateway.Operation) -> HttpCall:
    match operation:
        case gateway.ReplyMessage() | gateway.CreateMessage() if place_of(operation.chat_id):
            return _comment_reply(operation)
        case gateway.ReplyMessage():
            return _model(
                Api.REPLY_MESSAGE,
                _IM,
                "reply_message",
                {
                    "content": operation.content_json,
                    "msg_type": operation.msg_type,
                    "uuid": operation.uuid,
                },
                {"message_id": operation.message_id},
                resource=operation.chat_id,
            )
        case gateway.CreateMessage():
            return _model(
                Api.CREATE_MESSAGE,
                _IM,
                "create_message",
                {
                    "receive_id": operation.chat_id,
                    "content": operation.content_json,
                    "msg_type": operation.msg_type,
                    "uuid": operation.uuid,
                },
                {"receive_id_type": "chat_id"},
                resource=operation.chat_id,
            )
        case gateway.PatchMessage():
            return _model(
                Api.PATCH_MESSAGE,
                _IM,
                "patch_message",
                {"content": operation.content_json},
                {"message_id": operation.message_id},
            )
        case _:
            return _build_reaction_call(operation)


def _build_reaction_call(operation: gateway.Operation) -> HttpCall:
    match operation:
        case gateway.AddReaction():
            emoji = load(f"{_IM}.emoji").Emoji.builder().emoji_type(operation.emoji_type).build()
            return _model(
                Api.ADD_REACTION,
                _IM,
                "create_message_reaction",
                {"reaction_type": emoji},
                {"message_id": operation.message_id},
            )
        case gateway.ListReactions():
            return _model(
                Api.LIST_REACTIONS,
                _IM,
                "list_message_reaction",
                None,
                {
                    "message_id": operation.message_id,
                    "reaction_type": operation.emoji_type,
                    "page_size": REACTIONS_MAX,
                },
            )
        case gateway.RemoveReaction():
            return _model(
                Api.REMOVE_REACTION,
                _IM,
                "delete_message_reaction",
                None,
                {"message_id": operation.message_id, "reaction_id": operation.reaction_id},
            )
        case _:
            return _build_resource_call(operation)


def _comment_reply(operation: gateway.ReplyMessage | gateway.CreateMessage) -> HttpCall:
    """A message into the thread of a comment is a reply to the comment."""
    place = place_of(operation.chat_id)
    assert place is not None
    call = _model(
        Api.REPLY_COMMENT,
        _DRIVE,
        "create_file_comment_reply",
        None,
        {
            "file_token": place.file_token,
            "comment_id": place.comment_id,
            "file_type": place.file_type,
        },
        resource=operation.chat_id,
    )
    return msgspec.structs.replace(
        call, json=msgspec.json.encode(reply_body(operation.content_json))
    )


def _build_resource_call(operation: gateway.Operation) -> HttpCall:
    match operation:
        case gateway.GetComment(place=place):
            return _model(
                Api.GET_COMMENT,
                _DRIVE,
                "list_file_comment_reply",
                None,
                {
                    "file_token": place.file_token,
                    "comment_id": place.comment_id,
                    "file_type": place.file_type,
                    "page_size": COMMENT_REPLIES_MAX,
                },
            )
        case gateway.GetMessage():
            return _model(
                Api.GET_MESSAGE, _IM, "get_message", None, {"message_id": operation.message_id}
            )
        case gateway.DownloadResource():
            return _model(
                Api.GET_RESOURCE,
                _IM,
                "get_message_resource",
                None,
                {
                    "message_id": operation.message_id,
                    "file_key": operation.file_key,
                    "type": operation.resource,
                },
            )
        case gateway.UploadImage(image=image):
            return HttpCall(
                api=Api.UPLOAD_IMAGE,
                method="POST",
                path="/open-apis/im/v1/images",
                fields={"image_type": "message"},
                files={"image": ("image", image)},
            )
        case gateway.UploadFile():
            return HttpCall(
                api=Api.UPLOAD_FILE,
                method="POST",
                path="/open-apis/im/v1/files",
                fields={"file_type": operation.file_type, "file_name": operation.name},
                files={"file": (operation.name, operation.content)},
            )
    raise TypeError(f"no call for {type(operation).__name__}")


@cache
def _builders(area: str, name: str) -> tuple[Callable[[], Any], Callable[[], Any] | None]:
    camel = "".join(part.capitalize() for part in name.split("_"))
    request = getattr(load(f"{area}.{name}_request"), f"{camel}Request")
    try:
        body = getattr(load(f"{area}.{name}_request_body"), f"{camel}RequestBody")
    except ImportError:
        return request.builder, None
    return request.builder, body.builder


def _model(
    api: Api,
    area: str,
    name: str,
    body: Mapping[str, Any] | None,
    where: Mapping[str, str | int] | None = None,
    *,
    resource: str | None = None,
) -> HttpCall:
    """Fill lark-oapi's request *name* and read the HTTP request off it."""
    request_builder, body_builder = _builders(area, name)
    filled = request_builder()
    for key, value in (where or {}).items():
        getattr(filled, key)(value)
    if body is not None and body_builder is not None:
        fields = body_builder()
        for key, value in body.items():
            getattr(fields, key)(value)
        filled.request_body(fields.build())
    request = filled.build()
    path = request.uri
    for key, value in request.paths.items():
        path = path.replace(f":{key}", quote(str(value), safe=""))
    return HttpCall(
        api=api,
        method=request.http_method.name,
        path=path,
        params=tuple(request.queries),
        json=None if body is None else msgspec.json.encode(_plain(request.body)),
        resource=resource,
    )


def _plain(model: Any) -> Any:
    """Turn a model into the content of its JSON, without the fields that were not set."""
    if isinstance(model, str | int | float | bool):
        return model
    return {key: _plain(value) for key, value in vars(model).items() if value is not None}

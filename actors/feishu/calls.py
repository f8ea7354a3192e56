"""Operations as HTTP calls: a table of method, path and body.

:class:`~actors.messages.gateway.Api` names method and path of each; here stands what
goes into the path, the query and the body. The tests hold each row against lark-oapi's
request of the same name.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from actors.messages import gateway
from actors.messages.gateway import Api
from protocol.ids import is_platform_id
from protocol.platform.comments import CommentPlace, place_of, reply_body

COMMENT_REPLIES_MAX: Final = 100
MEMBERS_MAX: Final = 100
REACTIONS_MAX: Final = 50
"""The largest page; one message has fewer Typing marks than this."""
_PATH_VALUE: Final = re.compile(r":(\w+)")


class InvalidIdError(ValueError):
    """What is to name something of the platform has not the form of its ids."""


class HttpCall(msgspec.Struct, frozen=True, kw_only=True):
    """One request, but for domain and token."""

    api: Api
    method: str
    path: str
    params: tuple[tuple[str, str], ...] = ()
    body: Mapping[str, object] | None = None
    """What is sent as JSON."""
    files: Mapping[str, Any] | None = None
    fields: Mapping[str, str] | None = None
    needs_token: bool = True
    resource: str | None = None
    """The card or chat whose own limit this counts against."""

    @property
    def json(self) -> bytes | None:
        """Encoded when it is sent: the budget asks before what a call is."""
        return None if self.body is None else msgspec.json.encode(self.body)

    def __repr__(self) -> str:
        """Leave out the body: it may hold what users write, or the app's secret."""
        return f"HttpCall({self.method} {self.path})"


def build(operation: gateway.Operation, *, app_id: str, app_secret: str) -> HttpCall:
    """Return the request of *operation*. The secret goes into endpoint discovery alone.

    Raises:
        InvalidIdError: an id in it has not the form of one.
    """
    match operation:
        case gateway.DiscoverEndpoint():
            secret = {"AppID": app_id, "AppSecret": app_secret}
            call = _call(Api.ENDPOINT, secret)
            return msgspec.structs.replace(call, needs_token=False)
        case gateway.GetBotInfo():
            return _call(Api.BOT_INFO)
        case gateway.RecogniseSpeech(pcm=pcm, file_id=file_id):
            speech = {"speech": base64.b64encode(pcm).decode()}
            config = {"file_id": file_id, "format": "pcm", "engine_type": "16k_auto"}
            return _call(Api.RECOGNISE_SPEECH, {"speech": speech, "config": config})
        case gateway.UploadImage(image=image):
            return _form(Api.UPLOAD_IMAGE, {"image_type": "message"}, {"image": ("image", image)})
        case gateway.UploadFile(name=name):
            fields = {"file_type": operation.file_type, "file_name": name}
            return _form(Api.UPLOAD_FILE, fields, {"file": (name, operation.content)})
        case _:
            return _card_call(operation) or _message_call(operation) or _reading_call(operation)


def _card_call(operation: gateway.Operation) -> HttpCall | None:
    match operation:
        case gateway.CreateCard(card_json=card):
            return _call(Api.CREATE_CARD, {"type": "card_json", "data": card})
        case gateway.UpdateCard(card_json=data):
            change: dict[str, object] = {"card": {"type": "card_json", "data": data}}
            api = Api.UPDATE_CARD
        case gateway.CardSettings(settings_json=settings):
            change, api = {"settings": settings}, Api.CARD_SETTINGS
        case gateway.ElementContent(content=content):
            change, api = {"content": content}, Api.ELEMENT_CONTENT
        case gateway.BatchUpdate(actions_json=actions):
            change, api = {"actions": actions}, Api.BATCH_UPDATE
        case gateway.PatchElement(partial_json=partial):
            change, api = {"partial_element": partial}, Api.PATCH_ELEMENT
        case _:
            return None
    where: dict[str, str] = {"card_id": operation.card_id}
    if isinstance(operation, gateway.ElementContent | gateway.PatchElement):
        where["element_id"] = operation.element_id
    body = {**change, "uuid": operation.uuid, "sequence": operation.sequence}
    return _call(api, body, where, resource=operation.card_id)


def _message_call(operation: gateway.Operation) -> HttpCall | None:
    match operation:
        case gateway.ReplyMessage() | gateway.CreateMessage() if place := place_of(
            operation.chat_id
        ):
            # A message into the thread of a comment is a reply to the comment.
            return _call(
                Api.REPLY_COMMENT,
                reply_body(operation.content_json),
                _thread(place),
                {"file_type": place.file_type},
                resource=operation.chat_id,
            )
        case gateway.ReplyMessage(message_id=message_id):
            return _call(
                Api.REPLY_MESSAGE,
                _message(operation) | ({"reply_in_thread": True} if operation.in_thread else {}),
                {"message_id": message_id},
                resource=operation.chat_id,
            )
        case gateway.CreateMessage(chat_id=chat_id):
            body = {"receive_id": chat_id, **_message(operation)}
            query = {"receive_id_type": receive_id_type(chat_id)}
            return _call(Api.CREATE_MESSAGE, body, query=query, resource=chat_id)
        case gateway.PatchMessage(message_id=message_id):
            body = {"content": operation.content_json}
            return _call(Api.PATCH_MESSAGE, body, {"message_id": message_id})
        case gateway.AddReaction(message_id=message_id):
            emoji = {"emoji_type": operation.emoji_type}
            return _call(Api.ADD_REACTION, {"reaction_type": emoji}, {"message_id": message_id})
        case gateway.RemoveReaction(message_id=message_id, reaction_id=reaction_id):
            where = {"message_id": message_id, "reaction_id": reaction_id}
            return _call(Api.REMOVE_REACTION, None, where)
    return None


def _reading_call(operation: gateway.Operation) -> HttpCall:
    match operation:
        case gateway.ListReactions(message_id=message_id, emoji_type=emoji_type):
            query = {"reaction_type": emoji_type, "page_size": str(REACTIONS_MAX)}
            return _call(Api.LIST_REACTIONS, None, {"message_id": message_id}, query)
        case gateway.GetMessage(message_id=message_id):
            # Of a card its short form may hold no more than that the client is too old.
            query = {"card_msg_content_type": "user_card_content"}
            return _call(Api.GET_MESSAGE, None, {"message_id": message_id}, query)
        case gateway.GetChat(chat_id=chat_id):
            return _call(Api.GET_CHAT, None, {"chat_id": chat_id})
        case gateway.GetChatMembers(chat_id=chat_id):
            query = {"member_id_type": "open_id", "page_size": str(MEMBERS_MAX)}
            return _call(Api.GET_CHAT_MEMBERS, None, {"chat_id": chat_id}, query)
        case gateway.FindPerson(email=email):
            query = {"user_id_type": "open_id"}
            return _call(Api.FIND_PERSON, {"emails": [email]}, query=query)
        case gateway.GetComment(place=place):
            query = {"file_type": place.file_type, "page_size": str(COMMENT_REPLIES_MAX)}
            return _call(Api.GET_COMMENT, None, _thread(place), query)
        case gateway.DownloadResource(message_id=message_id, file_key=file_key):
            where = {"message_id": message_id, "file_key": file_key}
            return _call(Api.GET_RESOURCE, None, where, {"type": operation.resource})
    raise TypeError(f"no call for {type(operation).__name__}")


def _message(operation: gateway.ReplyMessage | gateway.CreateMessage) -> dict[str, object]:
    return {
        "content": operation.content_json,
        "msg_type": operation.msg_type,
        "uuid": operation.uuid,
    }


def _thread(place: CommentPlace) -> dict[str, str]:
    return {"file_token": place.file_token, "comment_id": place.comment_id}


def _call(
    api: Api,
    body: Mapping[str, object] | None = None,
    where: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    *,
    resource: str | None = None,
) -> HttpCall:
    """Fill the path of *api*.

    Raises:
        InvalidIdError: a value of *where* is no id, and might reach outside of its part.
    """
    method, template = api.split(" ", 1)
    for name, value in (where or {}).items():
        if not is_platform_id(value):
            raise InvalidIdError(f"{name} {value[:60]!r} has not the form of an id")
    return HttpCall(
        api=api,
        method=method,
        path=_PATH_VALUE.sub(lambda found: quote((where or {})[found[1]], safe=""), template),
        params=tuple((query or {}).items()),
        body=body,
        resource=resource,
    )


def _form(api: Api, fields: Mapping[str, str], files: Mapping[str, Any]) -> HttpCall:
    method, path = api.split(" ", 1)
    return HttpCall(api=api, method=method, path=path, fields=fields, files=files)


def receive_id_type(receive_id: str) -> str:
    """Return of which kind an id is that a message is sent to: a chat, a person, an address."""
    if receive_id.startswith("ou_"):
        return "open_id"
    return "email" if "@" in receive_id else "chat_id"

"""Images and files a bot uploads or reads, and those that messages carry."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from starlette.datastructures import UploadFile
from starlette.responses import Response

from actors.sandbox.errors import PlatformError
from actors.sandbox.rest import ApiCall, ApiHandler, Raw
from actors.sandbox.world import StoredFile, World

IMAGE_BYTES_MAX: Final = 10 * 1024 * 1024
FILE_BYTES_MAX: Final = 30 * 1024 * 1024
_TYPES: Final = frozenset({"opus", "mp4", "pdf", "doc", "xls", "ppt", "stream"})


def uploads(world: World) -> list[tuple[str, str, ApiHandler]]:
    """Return the routes."""

    async def upload_image(call: ApiCall) -> Any:
        async with call.request.form(max_part_size=IMAGE_BYTES_MAX + 1) as form:
            if form.get("image_type") not in ("message", "avatar"):
                raise PlatformError(234001, "Invalid request param.")
            data = await _read(form.get("image"), IMAGE_BYTES_MAX)
        kept = StoredFile(data=data, name="image", kind="image", owner=call.app_id)
        return {"image_key": world.keep_file(kept)}

    async def upload_file(call: ApiCall) -> Any:
        async with call.request.form(max_part_size=FILE_BYTES_MAX + 1) as form:
            name, kind = form.get("file_name"), form.get("file_type")
            if kind not in _TYPES or not name:
                raise PlatformError(234001, "Invalid request param.")
            data = await _read(form.get("file"), FILE_BYTES_MAX)
        kept = StoredFile(data=data, name=str(name), kind=str(kind), owner=call.app_id)
        return {"file_key": world.keep_file(kept)}

    async def download_own(call: ApiCall) -> Any:
        file = world.files.get(call.path["key"])
        if file is None:
            raise PlatformError(234005, "The resource is deleted.")
        if file.owner != call.app_id:
            raise PlatformError(234008, "The app is not the resource sender.")
        raise _download(file)

    async def resource(call: ApiCall) -> Any:
        message = world.message(call.path["message_id"])
        key, kind = call.path["file_key"], call.query.get("type")
        if kind not in ("image", "file"):
            raise PlatformError(234001, "Invalid request param.")
        if message.recalled:
            raise PlatformError(230110, "Action unavailable as the message has been deleted.")
        file = world.files.get(key)
        if (
            file is None
            or key not in message.content
            or (file.kind == "image") != (kind == "image")
        ):
            raise PlatformError(234003, "File not in msg.")
        raise _download(file)

    return [
        ("POST", "/open-apis/im/v1/images", upload_image),
        ("GET", "/open-apis/im/v1/images/:key", download_own),
        ("POST", "/open-apis/im/v1/files", upload_file),
        ("GET", "/open-apis/im/v1/files/:key", download_own),
        ("GET", "/open-apis/im/v1/messages/:message_id/resources/:file_key", resource),
    ]


async def _read(part: object, bytes_max: int) -> bytes:
    if not isinstance(part, UploadFile):
        raise PlatformError(234001, "Invalid request param.")
    data = await part.read()
    if not data:
        raise PlatformError(234010, "File's size can't be 0.")
    if len(data) > bytes_max:
        raise PlatformError(234006, "The file size exceed the max value.")
    return data


def _download(file: StoredFile) -> Raw:
    plain = "".join(one if one.isascii() and one.isalnum() else "_" for one in file.name)
    named = quote(file.name, safe="")
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{named}",
    }
    return Raw(Response(file.data, headers=headers))

"""Files a bot uploads, kept so that messages can carry them."""

from __future__ import annotations

from typing import Any, Final

from starlette.datastructures import UploadFile
from starlette.responses import Response

from actors.sandbox.errors import PlatformError
from actors.sandbox.rest import Call, Handler, Raw
from actors.sandbox.world import World

FILE_BYTES_MAX: Final = 30 * 1024 * 1024
FILES_MAX: Final = 100
_TYPES: Final = frozenset({"opus", "mp4", "pdf", "doc", "xls", "ppt", "stream"})


def uploads(world: World) -> list[tuple[str, str, Handler]]:
    """Return the routes."""

    async def upload_file(call: Call) -> Any:
        async with call.request.form(max_part_size=FILE_BYTES_MAX + 1) as form:
            file, name = form.get("file"), form.get("file_name")
            if form.get("file_type") not in _TYPES or not isinstance(file, UploadFile) or not name:
                raise PlatformError(234001, "Invalid request param.")
            data = await file.read()
        if not data:
            raise PlatformError(234010, "File's size can't be 0.")
        if len(data) > FILE_BYTES_MAX:
            raise PlatformError(234006, "The file size exceed the max value.")
        key = f"file_v3_{world.rng.getrandbits(96):024x}"
        world.files[key] = data
        if len(world.files) > FILES_MAX:
            world.files.popitem(last=False)
        return {"file_key": key}

    async def resource(call: Call) -> Any:
        message = world.message(call.path["message_id"])
        key, kind = call.path["file_key"], call.query.get("type")
        if kind not in ("image", "file"):
            raise PlatformError(234001, "Invalid request param.")
        if key not in message.content:
            raise PlatformError(234003, "File not in msg.")
        data = (world.images if kind == "image" else world.files).get(key)
        if data is None:
            raise PlatformError(234003, "File not in msg.")
        disposition = f'attachment; filename="{key}"'
        raise Raw(
            Response(
                data,
                headers={
                    "Content-Type": "application/octet-stream",
                    "Content-Disposition": disposition,
                },
            )
        )

    return [
        ("POST", "/open-apis/im/v1/files", upload_file),
        ("GET", "/open-apis/im/v1/messages/:message_id/resources/:file_key", resource),
    ]

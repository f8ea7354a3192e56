"""Files a session sends: read within bounds, uploaded, and sent as what they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from actors.kit.real_files import read_real
from actors.messages import gateway
from actors.messages.outbound import Caller
from actors.outbound.peers import Peers
from protocol.ids import AccountId
from protocol.platform.outcomes import FileUploaded, ImageUploaded
from protocol.routing.channel_tools import ToolError

FILES_MAX: Final = 10
"""Of one reply."""
FILE_BYTES_MAX: Final = 30 * 1024 * 1024
IMAGE_BYTES_MAX: Final = 10 * 1024 * 1024
NAME_CHARACTERS_MAX: Final = 200
_IMAGES: Final = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".ico", ".tiff"})
_FILE_TYPES: Final[Mapping[str, gateway.FileType]] = {
    ".pdf": "pdf",
    ".doc": "doc",
    ".docx": "doc",
    ".xls": "xls",
    ".xlsx": "xls",
    ".ppt": "ppt",
    ".pptx": "ppt",
}


class Sendable(msgspec.Struct, frozen=True, kw_only=True):
    """What the platform takes for a file that was uploaded."""

    msg_type: gateway.MessageType
    content_json: str


class LocalFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was read whole."""

    name: str
    content: bytes

    def __repr__(self) -> str:
        return f"LocalFile({self.name}, {len(self.content)} bytes)"

    @property
    def is_image(self) -> bool:
        return Path(self.name).suffix.lower() in _IMAGES and len(self.content) <= IMAGE_BYTES_MAX


async def read_files(
    peers: Peers, caller: Caller, args: Mapping[str, Any]
) -> tuple[LocalFile, ...]:
    """Read the files of a call before anything is sent, so that a bad path sends nothing.

    A path is read where it really lies in the session's own directory; what lies elsewhere
    its proxy reads, and sends along as name and content.

    Raises:
        ToolError: not a list of absolute paths, too many, or one can't or may not be read.
    """
    files = args.get("files") or []
    if not isinstance(files, list) or not all(map(_is_file, files)):
        raise ToolError("files must be a list of paths")
    if len(files) > FILES_MAX:
        raise ToolError(f"{FILES_MAX} files a reply at most, not {len(files)}")
    return tuple([await trio.to_thread.run_sync(_file, peers, caller, one) for one in files])


def _is_file(given: object) -> bool:
    match given:
        case str():
            return bool(given)
        case {"name": str(), "content": bytes()}:
            return True
    return False


def _file(peers: Peers, caller: Caller, given: str | Mapping[str, Any]) -> LocalFile:
    if isinstance(given, str):
        content, name = _read(peers, caller, given), Path(given).name
    else:
        content, name = given["content"], Path(given["name"]).name or "file"
    shown = given if isinstance(given, str) else name
    if not content:
        raise ToolError(f"{shown}: is empty; the platform takes no empty file")
    if len(content) > FILE_BYTES_MAX:
        raise ToolError(f"{shown}: over {FILE_BYTES_MAX // 1024 // 1024} MB")
    if any(secret in content for secret in peers.secrets):
        raise ToolError(f"{shown}: holds a secret of larkd; it is not sent")
    return LocalFile(name=name[-NAME_CHARACTERS_MAX:], content=content)


def _read(peers: Peers, caller: Caller, given: str) -> bytes:
    if not Path(given).is_absolute():
        raise ToolError(f"{given}: give the absolute path")
    try:
        real = Path(given).resolve(strict=True)
        inside = caller.cwd is not None and real.is_relative_to(Path(caller.cwd).resolve())
        if not inside or not Path(caller.cwd or "").is_absolute():
            raise ToolError(f"{given}: does not lie in the session's directory; put it there")
        if any(real.is_relative_to(private) for private in peers.private()):
            raise ToolError(f"{given}: is of larkd itself; it is not sent")
        return read_real(real, FILE_BYTES_MAX + 1)
    except (OSError, ValueError, RuntimeError) as failed:
        reason = failed.strerror if isinstance(failed, OSError) else str(failed)
        raise ToolError(f"{given}: can't be read: {reason}") from failed


async def upload(peers: Peers, account: AccountId, file: LocalFile) -> Sendable:
    """Bring a file to the platform.

    Raises:
        ToolError: the platform does not take it.
    """
    if file.is_image:
        outcome = await peers.call(account, gateway.UploadImage(image=file.content))
        if isinstance(outcome, ImageUploaded):
            content = msgspec.json.encode({"image_key": outcome.image_key}).decode()
            return Sendable(msg_type="image", content_json=content)
    file_type = _FILE_TYPES.get(Path(file.name).suffix.lower(), "stream")
    outcome = await peers.call(
        account, gateway.UploadFile(file_type=file_type, name=file.name, content=file.content)
    )
    if not isinstance(outcome, FileUploaded):
        raise ToolError(f"{file.name}: the platform refused the upload: {outcome}")
    content = msgspec.json.encode({"file_key": outcome.file_key}).decode()
    return Sendable(msg_type="file", content_json=content)

"""What a message carries, brought to this machine by a proxy of a daemon elsewhere."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from actors.proxies.client import Proxy
from actors.proxies.errors import ProxyError
from protocol.wire import messages as wire

FETCHED: Final = Path(".larkd", "attachments")
"""Where they are put, in the directory of the session."""
TOOL: Final = "feishu_attachment"
PIECE_WITHIN_S: Final = 50.0
"""The daemon may have to fetch it from the platform first."""
ALL_WITHIN_S: Final = 90.0
BYTES_MAX: Final = 32 * 1024 * 1024
"""More than the daemon takes from the platform: whatever the other end answers, it ends."""
PRIVATE_DIR: Final = 0o700
PRIVATE_FILE: Final = 0o600


async def fetched(proxy: Proxy, deliver: wire.Deliver, folder: Path) -> wire.Deliver:
    """Return *deliver* with the files it names under *folder*, as far as they could be had.

    A daemon on this machine gives paths, and nothing is fetched. What can't be had keeps no
    path, and its note names why. *folder* is made, private, with what keeps git off it.
    """
    wanted = [one for one in deliver.attachments if one.path is None and one.note is None]
    if not wanted:
        return deliver
    found: dict[str, wire.Attachment] = {}

    async def fetch(number: int, one: wire.Attachment) -> None:
        path = folder / _name(deliver.event_id) / f"{number}-{_name(one.name)}"
        try:
            size = await _fetch(proxy, deliver.event_id, one.file_key, path)
        except (ProxyError, OSError, ValueError) as failed:
            found[one.file_key] = msgspec.structs.replace(one, note=str(failed)[:500])
        else:
            found[one.file_key] = msgspec.structs.replace(one, path=os.fspath(path), size=size)

    with trio.move_on_after(ALL_WITHIN_S):
        async with trio.open_nursery() as nursery:
            for number, one in enumerate(wanted, 1):
                nursery.start_soon(fetch, number, one)
    attachments = [
        found.get(one.file_key) or _late(one) if one in wanted else one
        for one in deliver.attachments
    ]
    return msgspec.structs.replace(deliver, attachments=attachments)


def _late(attachment: wire.Attachment) -> wire.Attachment:
    return msgspec.structs.replace(attachment, note=f"it took over {ALL_WITHIN_S:g} s")


def _name(given: str) -> str:
    """Return a file name that stays in its folder, whatever a daemon sends."""
    cleaned = "".join(" " if one in "/\\\0" else one for one in given).strip(". ")
    return cleaned[-120:] or "attachment"


async def _fetch(proxy: Proxy, event_id: str, file_key: str, path: Path) -> int:
    """Write the file, piece by piece; return its size. Failed or cancelled it leaves none.

    Raises:
        ProxyError: the daemon refused, or went away.
        ValueError: it answered with something else than pieces of a file.
        OSError: it can't be written.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        await trio.to_thread.run_sync(_make_folder, path.parent)
        async with await trio.open_file(part, "wb", opener=_private) as file:
            offset = 0
            while True:
                piece = await proxy.call_tool(
                    TOOL,
                    {"event_id": event_id, "file_key": file_key, "offset": offset},
                    within_s=PIECE_WITHIN_S,
                )
                data, after = _checked(piece, offset)
                await file.write(data)
                if after is None:
                    break
                offset = after
        part.replace(path)  # one system call on a local disk
        return offset + len(data)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)  # as above


def _checked(piece: Any, offset: int) -> tuple[bytes, int | None]:
    match piece:
        case {"data": bytes(data), "next": None}:
            return data, None
        case {"data": bytes(data), "next": int(after)} if offset < after <= BYTES_MAX:
            return data, after
    raise ValueError("the daemon answered with something else than a piece of the file")


def _make_folder(folder: Path) -> None:
    for one in (folder.parent.parent, folder.parent, folder):
        if one.is_symlink():  # as a repository may bring one
            raise OSError(errno.ELOOP, "it is a link to elsewhere", os.fspath(one))
    folder.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
    ignore = folder.parent / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, PRIVATE_FILE)

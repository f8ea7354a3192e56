"""``feishu_attachment``: what a message carries, for proxies that can't read our files.

What is not on this machine, because another node of the cluster fetched it, is fetched
again by its key.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
import trio

from actors.messages import gateway, journal
from actors.messages.outbound import Caller
from actors.outbound.peers import Peers, text_argument
from protocol.ids import AccountId, EventId, MessageId
from protocol.platform.content import ATTACHMENT_BYTES_MAX
from protocol.platform.outcomes import Downloaded
from protocol.routing.channel_tools import ToolError
from protocol.routing.delivery import Offer
from protocol.wire.messages import Attachment

PIECE_BYTES_MAX: Final = 1024 * 1024
"""Of one answer."""
FETCH_WITHIN_S: Final = 45.0
OFFER_WITHIN_S: Final = 20.0
"""For all that one offer carries; a row that was offered waits 30 s for its ack."""
PRIVATE_DIR: Final = 0o700
NOT_FOUND: Final = "attachment not found"

log = structlog.get_logger()


class Attachments:
    """The files of this node. One that is missing is fetched once, whoever asks for it."""

    def __init__(self, peers: Peers, folder: Path) -> None:
        self._to = peers
        self._folder = folder
        self._under_way: dict[Path, trio.Event] = {}

    async def tool(self, _peers: Peers, caller: Caller, args: Mapping[str, Any]) -> dict[str, Any]:
        """Answer ``feishu_attachment``: up to 1 MiB from an offset on.

        Raises:
            ToolError: this session was not given it, or it can't be fetched.
        """
        event_id = text_argument(args, "event_id")
        file_key = text_argument(args, "file_key")
        offset = args.get("offset", 0)
        if not isinstance(offset, int) or isinstance(offset, bool) or offset < 0:
            raise ToolError("offset must be a number from 0")
        given: journal.GivenAttachment | None = await self._to.ask_journal(
            lambda reply: journal.FindAttachment(
                session_id=caller.session_id,
                event_id=EventId(event_id),
                file_key=file_key,
                reply=reply,
            )
        )
        if given is None or given.account not in self._to.gateways:
            raise ToolError(NOT_FOUND)
        path: Path | None = None
        with trio.move_on_after(FETCH_WITHIN_S):
            path = await self._here(given.account, given.message_id, given.attachment)
        if path is None:
            raise ToolError("the platform does not give the attachment now; ask again later")
        try:
            data, size = await trio.to_thread.run_sync(_piece, path, offset)
        except OSError as failed:
            raise ToolError(f"the attachment can't be read: {failed.strerror}") from failed
        end = offset + len(data)
        return {"data": data, "size": size, "next": end if end < size else None}

    async def complete(self, offer: Offer) -> Offer:
        """Return the offer with what it carries on this machine, as far as that is possible."""
        missing = [
            one
            for one in offer.prompt.attachments
            if one.path is not None and not _is_here(one.path)
        ]
        if not missing or offer.account not in self._to.gateways:
            return offer
        found: dict[str, Path] = {}

        async def fetch(one: Attachment) -> None:
            assert one.path is not None
            # Of a prompt of several messages each names its own by where it was put.
            message_id = MessageId(Path(one.path).parent.name)
            path = await self._here(offer.account, message_id, one)
            if path is not None:
                found[one.file_key] = path

        with trio.move_on_after(OFFER_WITHIN_S):
            async with trio.open_nursery() as nursery:
                for one in missing:
                    nursery.start_soon(fetch, one)
        attachments = tuple(
            _at(one, found.get(one.file_key)) if one in missing else one
            for one in offer.prompt.attachments
        )
        return msgspec.structs.replace(
            offer, prompt=msgspec.structs.replace(offer.prompt, attachments=attachments)
        )

    async def _here(
        self, account: AccountId, message_id: MessageId, attachment: Attachment
    ) -> Path | None:
        """Return the file, fetched unless it is there; None: the platform does not give it."""
        name = f"1-{attachment.name}" if attachment.path is None else Path(attachment.path).name
        path = self._folder / message_id / name
        while (others := self._under_way.get(path)) is not None:
            await others.wait()
        if _is_here(path):
            return path
        done = self._under_way[path] = trio.Event()
        try:
            return path if await self._fetch(account, message_id, attachment, path) else None
        finally:
            del self._under_way[path]
            done.set()

    async def _fetch(
        self, account: AccountId, message_id: MessageId, attachment: Attachment, path: Path
    ) -> bool:
        try:
            path.parent.mkdir(mode=PRIVATE_DIR, exist_ok=True)  # a local disk
        except OSError as failed:
            log.warning("feishu.attachment_not_saved", reason=str(failed))
            return False
        download = gateway.DownloadResource(
            message_id=message_id,
            file_key=attachment.file_key,
            resource="image" if attachment.kind == "image" else "file",
            path=os.fspath(path),
            bytes_max=ATTACHMENT_BYTES_MAX,
        )
        outcome = await gateway.call(
            self._to.gateways[account], download, gateway.Priority.CREATE, within_s=FETCH_WITHIN_S
        )
        log.info(
            "feishu.attachment_fetched_again",
            message=message_id,
            kind=attachment.kind,
            outcome=type(outcome).__name__,
        )
        return isinstance(outcome, Downloaded)


def _is_here(path: str | Path) -> bool:
    return Path(path).is_file()  # a local disk


def _at(attachment: Attachment, path: Path | None) -> Attachment:
    if path is None:
        note = "it is not on this machine, and could not be fetched again"
        return msgspec.structs.replace(attachment, path=None, note=note)
    return msgspec.structs.replace(attachment, path=os.fspath(path))


def _piece(path: Path, offset: int) -> tuple[bytes, int]:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(offset)
        return file.read(PIECE_BYTES_MAX), size

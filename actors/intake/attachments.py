"""What a message carries and refers to, fetched before a session is given it.

Each fetch runs in a task of its own. Whatever fails is named in the text: a message
is never left waiting because of what it carries.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec
import structlog
import trio

from actors.intake.peers import Peers
from actors.intake.voice import Transcriber
from actors.kit.retry import Pauses, Tries, while_it_helps
from actors.messages import gateway
from protocol.ids import MessageId
from protocol.platform import quoting
from protocol.platform.comments import CommentPlace
from protocol.platform.content import ATTACHMENT_BYTES_MAX
from protocol.platform.events import CommentAdded, MessageReceived
from protocol.platform.outcomes import (
    CommentFound,
    Downloaded,
    FoundMessage,
    MessagesFound,
    NoAnswer,
    Outcome,
    Oversize,
    Rejected,
    again_after_s,
)
from protocol.routing.delivery import Prompt
from protocol.wire.messages import Attachment

FETCH_WITHIN_S: Final = 90.0
"""For all that one message carries: so long may it keep back what follows in its chat."""
QUOTE_WITHIN_S: Final = 5.0
"""For a message that is only quoted: the sender waits for an answer to the other one."""
AT_ONCE_MAX: Final = 4
_FETCH_TRIES: Final = Tries(
    again_after_s=again_after_s, pauses=Pauses(first_s=1.0, max_s=8.0), within_s=20.0
)
PRIVATE_DIR: Final = 0o700

log = structlog.get_logger()


def needs_fetching(message: MessageReceived, prompt: Prompt) -> bool:
    return (
        bool(prompt.attachments)
        or quoting.forwards(message)
        or quoting.quoted_id(message) is not None
    )


class Fetcher:
    """Fetches for one account, a few at once."""

    def __init__(self, peers: Peers, folder: Path) -> None:
        self._to = peers
        self._folder = folder
        self._at_once = trio.CapacityLimiter(AT_ONCE_MAX)
        self._transcriber = Transcriber(self._call)

    async def complete(self, message: MessageReceived, prompt: Prompt) -> Prompt:
        """Return *prompt* with all of its message that could be fetched, within a deadline."""
        fetched: dict[int, Attachment] = {}
        spoken: dict[int, str] = {}
        content = prompt.content
        with trio.move_on_after(FETCH_WITHIN_S):
            async with trio.open_nursery() as nursery:
                for at, attachment in enumerate(prompt.attachments):
                    nursery.start_soon(
                        self._fetch, message.message_id, at, attachment, fetched, spoken
                    )
                content = await self._with_messages(message, content)
        attachments = tuple(
            fetched.get(at) or _failed(attachment, "it took too long")
            for at, attachment in enumerate(prompt.attachments)
        )
        notes = [
            f"[{one.kind} {one.name} could not be downloaded: {one.note}]"
            for one in attachments
            if one.note is not None
        ]
        return msgspec.structs.replace(
            prompt,
            content="\n\n".join((content, *spoken.values(), *notes)),
            attachments=attachments,
        )

    async def comment(self, comment: CommentAdded) -> str | None:
        """Return the text of a comment; None: it can't be read."""
        place = CommentPlace(comment.file_type, comment.file_token, comment.comment_id)
        outcome = await self._call(gateway.GetComment(place=place))
        if not isinstance(outcome, CommentFound) or not outcome.replies:
            log.info("feishu.comment_not_found", outcome=type(outcome).__name__)
            return None
        by_id = {reply.reply_id: reply.markdown for reply in outcome.replies}
        text = by_id.get(comment.reply_id or "", outcome.replies[-1].markdown)
        first = outcome.replies[0].markdown
        return text if text == first else quoting.quoted_text(first) + text

    # ── messages it refers to ───────────────────────────────────────────────

    async def _with_messages(self, message: MessageReceived, markdown: str) -> str:
        if quoting.forwards(message):
            found = await self._messages(message.message_id)
            return quoting.with_forwarded(markdown, found, message.message_id)
        quoted = quoting.quoted_id(message)
        if quoted is None:
            return markdown
        found = await self._messages(quoted, within_s=QUOTE_WITHIN_S)
        return quoting.with_quote(markdown, found[0]) if found else markdown

    async def _messages(
        self, message_id: MessageId, *, within_s: float = FETCH_WITHIN_S
    ) -> tuple[FoundMessage, ...]:
        outcome: Outcome = NoAnswer(reason=f"no answer in {within_s:g} s")
        with trio.move_on_after(within_s):
            outcome = await self._call(gateway.GetMessage(message_id=message_id))
        if isinstance(outcome, MessagesFound):
            return outcome.messages
        log.info("feishu.message_not_found", message=message_id, outcome=type(outcome).__name__)
        return ()

    # ── what it carries ─────────────────────────────────────────────────────

    async def _fetch(
        self,
        message_id: MessageId,
        at: int,
        attachment: Attachment,
        fetched: dict[int, Attachment],
        spoken: dict[int, str],
    ) -> None:
        async with self._at_once:
            found = fetched[at] = await self._download(message_id, at, attachment)
        if found.kind == "audio" and found.path is not None:
            spoken[at] = await self._transcriber.text(found)

    async def _download(self, message_id: MessageId, at: int, attachment: Attachment) -> Attachment:
        folder = self._folder / message_id
        # The name was cleaned when the message was read; the number keeps two apart.
        path = folder / f"{at + 1}-{attachment.name}"
        try:
            folder.mkdir(mode=PRIVATE_DIR, exist_ok=True)  # a local disk
        except OSError as failed:
            return _failed(attachment, f"it could not be saved: {failed.strerror}")
        outcome = await self._call(
            gateway.DownloadResource(
                message_id=message_id,
                file_key=attachment.file_key,
                resource="image" if attachment.kind == "image" else "file",
                path=os.fspath(path),
                bytes_max=ATTACHMENT_BYTES_MAX,
            )
        )
        match outcome:
            case Downloaded(size=size):
                return msgspec.structs.replace(attachment, path=os.fspath(path), size=size)
            case Oversize(bytes_max=bytes_max):
                return _failed(attachment, f"it is over {bytes_max // (1024 * 1024)} MiB")
            case Rejected(code=code):
                return _failed(attachment, f"the platform refused it ({code})")
            case NoAnswer(reason=reason) if reason.startswith("it could not be saved"):
                return _failed(attachment, reason)
        return _failed(attachment, "the platform did not answer")

    async def _call(self, operation: gateway.Operation) -> Outcome:
        return await while_it_helps(
            lambda: self._to.call(operation, gateway.Priority.CREATE), _FETCH_TRIES
        )


def _failed(attachment: Attachment, why: str) -> Attachment:
    log.info("feishu.attachment_failed", kind=attachment.kind, reason=why)
    return msgspec.structs.replace(attachment, note=why)

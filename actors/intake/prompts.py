"""Prompts on their way to a session: prepared, committed as ready, and what senders hear.

Part of the intake. A batch of prompts is committed together; whoever has no room for
one more, or is not there, is told of to the sender.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from actors.intake.doors import Answers, Neighbours, Prompt, prepare_rows, who_hears
from actors.intake.marks import WaitingMarks
from actors.messages import ownership
from protocol import strings
from protocol.content import Content
from protocol.delivery import Inbound, Prepared
from protocol.events import MessageReceived
from protocol.ids import AccountId, ChatId

NOTICE_EVERY_MS: Final = 10 * 60 * 1_000
NOTICED_CHATS_MAX: Final = 4_096

Heard = Mapping[ChatId, ownership.ChatSession | None]


class Prompts:
    """The prompts taken and not ready yet, in order of receipt."""

    def __init__(
        self,
        account: AccountId,
        neighbours: Neighbours,
        answers: Answers,
        marks: WaitingMarks,
        now_ms: Callable[[], int],
    ) -> None:
        self._account = account
        self._to = neighbours
        self._answers = answers
        self._marks = marks
        self._now_ms = now_ms
        self._taken: list[Prompt] = []
        self._noticed: dict[ChatId, int] = {}

    def take(self, inbound: Inbound, message: MessageReceived, content: Content) -> None:
        """Take one more; it becomes ready with the batch."""
        prepared = Prepared(
            chat_id=message.chat_id,
            message_id=message.message_id,
            sender_id=message.sender_id,
            chat_type=message.chat_type,
            content=content.markdown,
            meta=_meta(self._account, message),
            attachments=content.attachments,
        )
        self._taken.append(Prompt(row_id=inbound.row_id, prepared=prepared))

    async def make_ready(self) -> None:
        """Commit the prompts taken so far as ready, and tell whom it concerns."""
        taken, self._taken = self._taken, []
        if not taken:
            return
        chats = {prompt.prepared.chat_id for prompt in taken}
        heard = {chat_id: await who_hears(self._to.ownership_tx, chat_id) for chat_id in chats}
        rooms = {chat_id: one.room for chat_id, one in heard.items() if one is not None}
        prompts = [
            msgspec.structs.replace(prompt, room=rooms.get(prompt.prepared.chat_id))
            for prompt in taken
        ]
        full = await prepare_rows(self._to.journal_tx, prompts, self._now_ms())
        ready = [prompt for prompt in prompts if prompt not in full]
        self._mark_waiting(ready, heard)
        for prompt in full:
            self._tell_full(prompt.prepared, heard[prompt.prepared.chat_id])
        last = {prompt.prepared.chat_id: prompt for prompt in ready}
        for chat_id, prompt in last.items():
            await self._to.ownership_tx.send(
                ownership.RowReady(row_id=prompt.row_id, account=self._account, chat_id=chat_id)
            )
            self._tell_if_nobody_hears(prompt.prepared, heard[chat_id])

    def _mark_waiting(self, ready: list[Prompt], heard: Heard) -> None:
        """Whoever has to wait for a turn in flight, or for one before it here, sees it landed."""
        busy = {one.session_id for one in heard.values() if one is not None and one.busy}
        for prompt in ready:
            hearer = heard[prompt.prepared.chat_id]
            if hearer is None or hearer.room is None:
                continue
            if hearer.session_id in busy:
                self._marks.put(prompt.prepared.message_id)
            busy.add(hearer.session_id)

    def _tell_full(self, message: Prepared, heard: ownership.ChatSession | None) -> None:
        text = strings.LANE_FULL.format(
            alias=heard.alias if heard else "", count=ownership.WAITING_ROWS_MAX
        )
        self._answers.send(message.message_id, message.chat_id, text, "full")

    def _tell_if_nobody_hears(self, message: Prepared, heard: ownership.ChatSession | None) -> None:
        if heard is None or heard.live:
            return
        now = self._now_ms()
        if now - self._noticed.get(message.chat_id, -NOTICE_EVERY_MS) < NOTICE_EVERY_MS:
            return
        if len(self._noticed) >= NOTICED_CHATS_MAX:
            self._noticed.pop(next(iter(self._noticed)))
        self._noticed[message.chat_id] = now
        self._answers.send(message.message_id, message.chat_id, strings.NO_SESSION, "nobody")


def _meta(account: AccountId, message: MessageReceived) -> dict[str, str]:
    known = {
        "kind": "message",
        "account": account,
        "chat_id": message.chat_id,
        "message_id": message.message_id,
        "chat_type": message.chat_type,
        "sender_id": message.sender_id,
        "create_time": None if message.create_time_ms is None else str(message.create_time_ms),
        "thread_id": message.thread_id,
        "parent_id": message.parent_id,
        "root_id": message.root_id,
    }
    return {key: value for key, value in known.items() if value is not None}

"""Which topics are places of their own: those of topic groups, or all by configuration.

Part of the intake. No event states a group's kind, so the platform is asked when the first
message of a topic comes. Until it answers, messages of that group stay in the journal, in
order; then they are read again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec
import structlog
import trio

from actors.intake.peers import Peers
from actors.messages import gateway, intake
from protocol.ids import ChatId
from protocol.platform.events import MessageReceived
from protocol.platform.outcomes import ChatFound

ASK_KIND_WITHIN_S: Final = 5.0
KIND_VALID_MS: Final = 60 * 60 * 1_000
"""A group can be made a topic group, and back."""
UNKNOWN_VALID_MS: Final = 60 * 1_000
"""How long a group of which the platform states nothing is taken for what it was."""
KINDS_MAX: Final = 4_096

log = structlog.get_logger()


class _Kind(msgspec.Struct, frozen=True):
    topics: bool
    until_ms: int


class Topics:
    """Gives each message the topic that is its place."""

    def __init__(
        self, peers: Peers, nursery: trio.Nursery, *, everywhere: bool, now_ms: Callable[[], int]
    ) -> None:
        self._to = peers
        self._nursery = nursery
        self._everywhere = everywhere
        self._now_ms = now_ms
        self._kinds: OrderedDict[ChatId, _Kind] = OrderedDict()
        self._asked: set[ChatId] = set()

    def placed(self, message: MessageReceived) -> MessageReceived | None:
        """Return the message with its topic, if that is a place; None: its group is asked for."""
        chat_id = message.chat_id
        if message.chat_type != "group":
            return message
        if self._everywhere:
            return msgspec.structs.replace(message, topic=message.thread_id)
        if chat_id in self._asked:
            return None
        if message.thread_id is None:
            return message
        kind = self._kinds.get(chat_id)
        if kind is None or kind.until_ms <= self._now_ms():
            self._asked.add(chat_id)
            self._nursery.start_soon(self._ask, chat_id)
            return None
        return msgspec.structs.replace(message, topic=message.thread_id) if kind.topics else message

    def learned(self, message: intake.KindLearned) -> None:
        """Keep what a group is. Of one that nothing is known of, topics are of the chat."""
        chat_id = message.chat_id
        self._asked.discard(chat_id)
        before = self._kinds.pop(chat_id, None)
        topics, valid_ms = message.topics, KIND_VALID_MS
        if topics is None:
            topics, valid_ms = before is not None and before.topics, UNKNOWN_VALID_MS
        self._kinds[chat_id] = _Kind(topics, self._now_ms() + valid_ms)
        if len(self._kinds) > KINDS_MAX:
            self._kinds.popitem(last=False)

    async def _ask(self, chat_id: ChatId) -> None:
        topics: bool | None = None
        with trio.move_on_after(ASK_KIND_WITHIN_S):
            outcome = await self._to.call(gateway.GetChat(chat_id=chat_id), gateway.Priority.CREATE)
            if isinstance(outcome, ChatFound):
                topics = outcome.has_topics_only
        if topics is None:
            log.warning("feishu.group_kind_unknown", account=self._to.account, chat=chat_id)
        await self._to.intake_tx.send(intake.KindLearned(chat_id=chat_id, topics=topics))

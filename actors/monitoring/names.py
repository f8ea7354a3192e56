"""What chats are called: asked of the platform once an hour, while somebody looks.

Each question is one call of the account's budget, at the lowest priority and one after the
other; a chat without an answer is shown by its id.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
import trio

from actors.messages import gateway
from actors.monitoring.peers import Peers
from protocol.ids import AccountId, ChatId
from protocol.platform.outcomes import ChatFound, ChatMembersFound, NoAnswer, Outcome

ANSWER_WITHIN_S: Final = 15.0
KNOWN_FOR_S: Final = 3_600.0
AGAIN_AFTER_S: Final = 300.0
"""Where the platform named nothing."""
KNOWN_MAX: Final = 1_000
WANTED_MAX: Final = 100
ASKED_AT_ONCE_MAX: Final = 10

ChatOfAccount = tuple[AccountId, ChatId]


class _Known(msgspec.Struct, frozen=True):
    name: str
    until: float


class Names:
    """The names of chats that are shown; :meth:`run` asks for those that are wanted."""

    def __init__(self, peers: Callable[[], Peers | None]) -> None:
        self._peers = peers
        self._known: OrderedDict[ChatOfAccount, _Known] = OrderedDict()
        self._wanted_tx, self._wanted = trio.open_memory_channel[ChatOfAccount](WANTED_MAX)
        self._asked: set[ChatOfAccount] = set()

    def of(self, chats: Iterable[ChatOfAccount]) -> dict[ChatOfAccount, str]:
        """Return the names that are known, and ask for the others."""
        found: dict[ChatOfAccount, str] = {}
        for chat in chats:
            known = self._known.get(chat)
            if known is not None and known.name:
                found[chat] = known.name
            if not self._is_fresh(chat):
                self._want(chat)
        return found

    async def within(
        self, chats: Iterable[ChatOfAccount], within_s: float
    ) -> dict[ChatOfAccount, str]:
        """Return the names that are known after *within_s*, asking for a few of the others.

        Without :meth:`run`: who asks once waits for the answer, and what is not known then is
        not asked for again at once.
        """
        wanted = list(dict.fromkeys(chats))
        new = [one for one in wanted if not self._is_fresh(one)][:ASKED_AT_ONCE_MAX]
        with trio.move_on_after(within_s):
            async with trio.open_nursery() as nursery:
                for chat in new:
                    self._learn(chat, "")
                    nursery.start_soon(self._find, chat)
        return {one: known.name for one in wanted if (known := self._known.get(one)) and known.name}

    async def _find(self, chat: ChatOfAccount) -> None:
        self._learn(chat, await self._ask(*chat))

    def _is_fresh(self, chat: ChatOfAccount) -> bool:
        known = self._known.get(chat)
        return known is not None and known.until >= trio.current_time()

    def _want(self, chat: ChatOfAccount) -> None:
        if chat in self._asked:
            return
        try:
            self._wanted_tx.send_nowait(chat)
        except trio.WouldBlock:
            return  # it is wanted again in a second
        self._asked.add(chat)

    async def run(self) -> None:
        """Ask for what is wanted; never returns."""
        self._asked.clear()
        with self._wanted.clone() as wanted:
            async for chat in wanted:
                name = await self._ask(*chat)
                self._asked.discard(chat)
                self._learn(chat, name)

    def _learn(self, chat: ChatOfAccount, name: str) -> None:
        before = self._known.pop(chat, None)
        if not name and before is not None:
            name = before.name
        valid_s = KNOWN_FOR_S if name else AGAIN_AFTER_S
        self._known[chat] = _Known(name, trio.current_time() + valid_s)
        while len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)

    async def _ask(self, account: AccountId, chat_id: ChatId) -> str:
        """Return the group's name, or of a direct chat whom it is with; empty: not known."""
        chat = await self._call(account, gateway.GetChat(chat_id=chat_id))
        if not isinstance(chat, ChatFound):
            return ""
        if chat.mode != "p2p":
            return chat.name
        members = await self._call(account, gateway.GetChatMembers(chat_id=chat_id))
        if isinstance(members, ChatMembersFound) and members.names:
            return next(iter(members.names.values()))
        return chat.name

    async def _call(self, account: AccountId, operation: gateway.Operation) -> Outcome:
        peers = self._peers()
        if peers is None or account not in peers.gateways:
            return NoAnswer(reason="the account is not served now")
        return await gateway.call(
            peers.gateways[account], operation, gateway.Priority.TICK, within_s=ANSWER_WITHIN_S
        )

"""What people can choose about the agent of a link: offered, chosen, chosen again.

What was chosen before is chosen again after the first offer of a connection. Until that
is done, 10 s at most, such a session is given no row; one without a choice never waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import trio

from actors.kit.mailbox import Reply
from actors.messages import link, ownership
from protocol.ids import ConnectionId, SessionId
from protocol.wire import messages as wire
from protocol.wire import vocabulary

CHOSEN_WITHIN_S: Final = 10.0
"""The contract's: no ``chosen`` in this time is a failure."""
CHOICES_AT_ONCE_MAX: Final = 16

SendToProxy = Callable[[wire.FromDaemon], None]


class _Asked(msgspec.Struct, frozen=True, eq=False):
    option: str
    choice: str
    reply: Reply[wire.Chosen] | None


class Options:
    """The choices of one link that wait for their ``chosen``."""

    def __init__(
        self,
        connection_id: ConnectionId,
        ownership_tx: trio.MemorySendChannel[ownership.OwnershipMessage],
        send: SendToProxy,
    ) -> None:
        self._id = connection_id
        self._ownership_tx = ownership_tx
        self._send = send
        self._session_id = SessionId("")
        self._remembered: Mapping[str, str] = {}
        self._asked: dict[int, _Asked] = {}
        self._numbers = 0
        self._offered = False
        self.ready = trio.Event()
        """Rows may be given: nothing is to be chosen again any more."""

    def admitted(self, register: wire.Register, remembered: Mapping[str, str]) -> None:
        self._session_id = SessionId(register.session_id)
        self._remembered = remembered
        if vocabulary.CAPABILITY_OPTIONS not in register.capabilities or not remembered:
            self.ready.set()

    async def offer(self, offer: wire.OptionsOffer) -> None:
        """The agent offers this now; the first time, choose again what was chosen before."""
        await self._ownership_tx.send(ownership.OptionsOffered(connection_id=self._id, offer=offer))
        if self._offered:
            return
        self._offered = True
        for option in offer.options:
            wanted = self._remembered.get(option.id)
            known = any(choice.id == wanted for choice in option.choices)
            if wanted is not None and known and wanted != option.value:
                self._choose(option.id, wanted, None)
        self._look()

    def choose(self, wish: link.ChooseOption) -> None:
        """Pass a choice on; it is answered by ``chosen``, or after 10 s."""
        self._asked = {
            n: one
            for n, one in self._asked.items()
            if (one.reply is None and not self.ready.is_set())
            or (one.reply is not None and not one.reply.abandoned)
        }
        if len(self._asked) >= CHOICES_AT_ONCE_MAX:
            wish.reply.send(wire.Chosen(n=0, ok=False, error="too many choices at once"))
            return
        self._choose(wish.option, wish.choice, wish.reply)

    async def chosen(self, chosen: wire.Chosen) -> None:
        asked = self._asked.pop(chosen.n, None)
        if asked is None:
            return
        if asked.reply is not None:
            asked.reply.send(chosen)
            if chosen.ok:
                await self._ownership_tx.send(
                    ownership.ChoiceMade(
                        session_id=self._session_id, option=asked.option, choice=asked.choice
                    )
                )
        self._look()

    def close(self) -> None:
        """The link is over: who waits is notified."""
        for asked in self._asked.values():
            if asked.reply is not None:
                asked.reply.close()

    def _choose(self, option: str, choice: str, reply: Reply[wire.Chosen] | None) -> None:
        self._numbers += 1
        self._asked[self._numbers] = _Asked(option, choice, reply)
        self._send(wire.Choose(n=self._numbers, option=option, choice=choice))

    def _look(self) -> None:
        if self._offered and not any(one.reply is None for one in self._asked.values()):
            self.ready.set()

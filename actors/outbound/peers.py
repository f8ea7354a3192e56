"""What the outbound tools send to, and the rule of where a session may speak.

A session may reply, react or edit only in a chat from which it was given a message, or
whose messages are routed to it now (the specification's access page, "Outbound").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from actors.kit.mailbox import Reply, ask_or
from actors.kit.retry import Pauses, Tries, while_it_helps
from actors.messages import gateway, journal, ownership
from protocol.ids import AccountId, ChatId, MessageId, PlaceKey, SessionId, place_key
from protocol.platform.outcomes import Outcome, again_after_s
from protocol.routing.access import Policy
from protocol.routing.channel_tools import ToolError

JOURNAL_WITHIN_S: Final = 4.0
ASK_WITHIN_S: Final = 2.0
CALL_WITHIN_S: Final = 30.0
_TRIES: Final = Tries(
    again_after_s=again_after_s, pauses=Pauses(first_s=0.5, max_s=8.0), within_s=60.0
)
"""Longer than any tool has: its own deadline ends it."""


class Peers(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What the tools send to, and what else they are given."""

    gateways: Mapping[AccountId, trio.MemorySendChannel[gateway.GatewayMessage]]
    journal_tx: trio.MemorySendChannel[journal.JournalMessage]
    ownership_tx: trio.MemorySendChannel[ownership.OwnershipMessage]
    policies: Mapping[AccountId, Policy]
    """The access policies as configured; what was paired on top is in the journal."""
    private: Callable[[], tuple[Path, ...]]
    """The real paths of which nothing is ever sent: the state directory, the configuration,
    private keys."""
    secrets: tuple[bytes, ...]
    """No file that holds one of them is sent: copies of configurations and secret files do."""
    random_bytes: Callable[[int], bytes]
    now_ms: Callable[[], int]
    eliciting: dict[str, bool] = msgspec.field(default_factory=dict)
    """The questions whose cards are on their way, and whether each was withdrawn meanwhile."""

    async def ask_journal(self, build: Callable[[Reply[Any]], journal.JournalMessage]) -> Any:
        """Ask the journal; the caller names the type of the answer.

        Raises:
            ToolError: it failed, or did not answer in time.
        """
        answer = await journal.ask_journal(self.journal_tx, build, within_s=JOURNAL_WITHIN_S)
        if isinstance(answer, journal.Failed):
            raise ToolError(f"the journal does not answer ({answer.reason}); try again")
        return answer

    async def call(self, account: AccountId, operation: gateway.Operation) -> Outcome:
        """Make one call to the platform, again while that may help and can't double it.

        Every send carries its own ``uuid``, so a repeat after a lost answer is harmless.
        Cancelled by the tool's own deadline.
        """
        return await while_it_helps(
            lambda: gateway.call(
                self.gateways[account],
                operation,
                gateway.Priority.CREATE,
                within_s=CALL_WITHIN_S,
            ),
            _TRIES,
        )

    async def account_of(self, session_id: SessionId, chat_id: ChatId) -> AccountId:
        """Return the account of a chat in which this session may speak.

        Raises:
            ToolError: it may not, in the words of the contract.
        """
        known: journal.Correspondence = await self.ask_journal(
            lambda reply: journal.Correspondent(session_id=session_id, chat_id=chat_id, reply=reply)
        )
        account = known.account
        if (
            account is None
            or account not in self.gateways
            or not (known.given or await self._is_target(session_id, place_key(account, chat_id)))
        ):
            raise ToolError(f"session {session_id} was never given a message from chat {chat_id}")
        return account

    async def _is_target(self, session_id: SessionId, place: PlaceKey) -> bool:
        nobody = ownership.ChatTarget(session_id=None, alias=None, live=False)
        routed: ownership.ChatTarget = await ask_or(
            self.ownership_tx,
            lambda reply: ownership.FindTarget(place=place, reply=reply),
            within_s=ASK_WITHIN_S,
            otherwise=lambda _reason: nobody,
        )
        return routed.live and routed.session_id == session_id

    async def message_at(self, session_id: SessionId, message_id: MessageId) -> journal.MessageAt:
        """Return where a message is, in a chat in which this session may speak.

        Raises:
            ToolError: it is not known, or the session may not.
        """
        found: journal.MessageAt | None = await self.ask_journal(
            lambda reply: journal.WhereIs(
                message_id=message_id, accounts=tuple(self.gateways), reply=reply
            )
        )
        if found is None:
            raise ToolError(
                f"message {message_id} is not known here; use the message_id of a message you"
                " were given, or of one you sent"
            )
        await self.account_of(session_id, found.chat_id)
        return found


def text_argument(args: Mapping[str, Any], key: str) -> str:
    """Return a required argument.

    Raises:
        ToolError: it is missing, empty or no text.
    """
    value = args.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ToolError(f"missing or empty required argument: {key}")
    return value

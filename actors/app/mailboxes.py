"""The mailboxes of the daemon: how large each is, and that it outlives who reads it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Generic, TypeVar

import msgspec
import trio

from actors.kit.mailbox import drain
from actors.messages import agents as to_agents
from actors.messages import approvals as to_approvals
from actors.messages import connection as to_connection
from actors.messages import gateway as to_gateway
from actors.messages import intake as to_intake
from actors.messages import journal as to_journal
from actors.messages import lane as to_lane
from actors.messages import ownership as to_ownership
from actors.messages import pictures as to_pictures
from actors.messages import shutdown as to_shutdown
from protocol.config.settings import AccountSettings
from protocol.ids import AccountId

JOURNAL_MAILBOX: Final = 1_024
"""Four of its largest batches."""
OWNERSHIP_MAILBOX: Final = 256
LANES_MAILBOX: Final = 1_024
"""An attach and a wake for each of the sessions that come back after a restart, in rounds."""
GATEWAY_MAILBOX: Final = 1_024
"""Taken at once; who waits for the rate budget waits inside."""
INTAKE_MAILBOX: Final = 1_024
"""Past it the connection waits; the events are safe in the journal."""
APPROVALS_MAILBOX: Final = 1_024
"""Taken at once; a turn's end must find capacity, or its question stands till it expires."""
AGENTS_MAILBOX: Final = 64
"""Taken at once; people type slower than that."""
PICTURES_MAILBOX: Final = 256
"""Taken at once; what is too many stays a link."""
SMALL_MAILBOX: Final = 8

MessageT = TypeVar("MessageT")


class Mailbox(Generic[MessageT]):
    """Both ends of one mailbox. It outlives the actor that reads it."""

    def __init__(self, messages_max: int) -> None:
        self.tx, self._rx = trio.open_memory_channel[MessageT](messages_max)

    def receiver(self) -> trio.MemoryReceiveChannel[MessageT]:
        """Return the receiving end for one run of the actor, without what an earlier run left."""
        drain(self._rx)
        return self._rx.clone()


class Account(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One Feishu app: its settings and the mailboxes of its actors."""

    settings: AccountSettings
    gateway: Mailbox[to_gateway.GatewayMessage]
    intake: Mailbox[to_intake.IntakeMessage]
    connection: Mailbox[to_connection.ConnectionMessage]


def accounts_of(settings: Iterable[AccountSettings]) -> dict[AccountId, Account]:
    """Make the mailboxes of every account, by its name."""
    return {
        account.account_id: Account(
            settings=account,
            gateway=Mailbox(GATEWAY_MAILBOX),
            intake=Mailbox(INTAKE_MAILBOX),
            connection=Mailbox(SMALL_MAILBOX),
        )
        for account in settings
    }


class Mailboxes:
    """Of the actors there is one of."""

    def __init__(self) -> None:
        self.journal = Mailbox[to_journal.JournalMessage](JOURNAL_MAILBOX)
        self.ownership = Mailbox[to_ownership.OwnershipMessage](OWNERSHIP_MAILBOX)
        self.lanes = Mailbox[to_lane.LaneMessage](LANES_MAILBOX)
        self.approvals = Mailbox[to_approvals.ApprovalsMessage](APPROVALS_MAILBOX)
        self.agents = Mailbox[to_agents.AgentsMessage](AGENTS_MAILBOX)
        self.pictures = Mailbox[to_pictures.PicturesMessage](PICTURES_MAILBOX)
        self.shutdown = Mailbox[to_shutdown.ShutdownMessage](SMALL_MAILBOX)

"""What every turn's actor is given: whom it sends to, and what holds for all turns."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import trio

from actors.kit.cleanup import CleanupBudget
from actors.kit.heavy import Heavy
from actors.messages import gateway, intake, journal, ownership, pictures
from protocol.ids import AccountId, SessionId, TurnId
from protocol.strings import Language


class GrantNotices(msgspec.Struct):
    """When the grant page was last sent, by account, chat and scopes; one a daemon.

    Read and written in one step, so that it needs no owner of its own.
    """

    cooldown_ms: int
    sent_at_ms: dict[tuple[str, str, tuple[str, ...]], int] = {}

    def due(self, key: tuple[str, str, tuple[str, ...]], now_ms: int) -> bool:
        """Return whether to send it now; if so it counts as sent."""
        self.sent_at_ms = {
            known: at for known, at in self.sent_at_ms.items() if now_ms - at < self.cooldown_ms
        }
        if key in self.sent_at_ms:
            return False
        self.sent_at_ms[key] = now_ms
        return True


class Peers(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Whom a turn sends to, and what else it is given."""

    gateways: dict[AccountId, trio.MemorySendChannel[gateway.GatewayMessage]]
    intakes: dict[AccountId, trio.MemorySendChannel[intake.IntakeMessage]]
    journal_tx: trio.MemorySendChannel[journal.JournalMessage]
    ownership_tx: trio.MemorySendChannel[ownership.OwnershipMessage]
    pictures_tx: trio.MemorySendChannel[pictures.PicturesMessage]
    picture_wait_s: float
    """How long plain replies wait for a picture before they are sent with a link."""
    cleanup: CleanupBudget
    language: Language
    now_ms: Callable[[], int]
    grants: GrantNotices
    stall_notice_s: dict[AccountId, float]
    """After so long without anything new the person is notified; 0: never."""
    heavy: Heavy = msgspec.field(default_factory=Heavy)
    """Where large messages wait for each other."""
    showing: set[tuple[SessionId, TurnId]] = msgspec.field(default_factory=set)
    """Turns with an actor, or with one that crashed and is being finished: nobody else
    touches their cards. Each adds itself before its first card and leaves at its end."""
    term: int = 0
    """Of this daemon: its generation on SQLite (``scale.md``)."""
    may_be_followed: bool = False
    """Whether another process may serve before this one can write again: it finishes the
    cards that the journal knows of, so none is shown before."""

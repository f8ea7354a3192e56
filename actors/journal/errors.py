"""Why a journal can't be opened. Each text names the file, the cause and the way out."""

from __future__ import annotations


class JournalError(Exception):
    """The journal can't be opened. The text names the cause and the remedy."""


class JournalNewer(JournalError):
    """A newer larkd wrote it. It was left as it is."""


class JournalForeign(JournalError):
    """It is no journal of ours. It was left as it is."""


class JournalDamaged(JournalError):
    """SQLite finds it damaged."""


class JournalUnavailable(JournalError):
    """It may be sound, but can't be used now: permissions, space, another writer."""


class JournalUnreachable(JournalUnavailable):
    """Nobody answers where it should be, now: a network, or a server that is starting."""

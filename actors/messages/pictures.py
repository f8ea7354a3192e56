"""What the actor that fetches pictures accepts."""

from __future__ import annotations

from actors.kit.mailbox import Reply
from actors.messages.base import Message
from protocol.ids import AccountId


class Resolve(Message, frozen=True, kw_only=True):
    """Fetch a picture of the public web and give it to the platform, for this account.

    Answers its image key; None: it stays a link.
    """

    account: AccountId
    url: str
    reply: Reply[str | None]


PicturesMessage = Resolve

"""``send``: Markdown and files to somebody who need not have written, unprompted.

Who may be written to is asked of the policy as it is at this moment, configuration and
pairings together: whoever was let out is written to no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import trio

from actors.kit.mailbox import Reply
from actors.messages import gateway, journal
from actors.messages.outbound import Caller
from actors.outbound.files import read_files
from actors.outbound.peers import Peers, text_argument
from actors.outbound.reply import Messages
from protocol.ids import AccountId, ChatId, OpenId
from protocol.platform.outcomes import MissingScope, Outcome, PersonFound
from protocol.routing import pairing, receivers
from protocol.routing.access import Policy
from protocol.routing.channel_tools import ToolError

SHOWN_CHARACTERS_MAX: Final = 100
LOOK_UP_WITHIN_S: Final = 10.0


async def send(peers: Peers, caller: Caller, args: Mapping[str, Any]) -> str:
    """Send; return the result for the model.

    Raises:
        ToolError: the policy or the platform refuses; the text names what was sent before.
    """
    to = text_argument(args, "to").strip()
    text = text_argument(args, "text")
    account, receiver = await _receiver(peers, to)
    files = await read_files(peers, caller, args)
    messages = Messages(peers, account, ChatId(receiver), None)
    await messages.send_all(text, files)
    return messages.done()


async def _receiver(peers: Peers, to: str) -> tuple[AccountId, str]:
    """Return who may write to *to*, one that names it before one open to all, and as what.

    Raises:
        ToolError: nobody may; the text has each account's reason.
    """
    known: journal.ChatKnownAs | None = None
    if receivers.kind_of(to) == "chat":
        known = await peers.ask_journal(
            lambda reply: journal.FindChat(chat_id=ChatId(to), reply=reply)
        )
    policies = await _policies(peers)
    if known is not None:
        # An id of a chat is one app's: what the others would answer about it means nothing.
        policies = {name: one for name, one in policies.items() if name == known.account}
    admitting: dict[AccountId, str] = {}
    reasons: set[str] = set()
    for name, policy in policies.items():
        receiver, why = await _decided(peers, name, policy, to, known)
        if why is None:
            admitting[name] = receiver
        else:
            reasons.add(why)
    if not admitting:
        raise ToolError(
            f"the bot may not write to {to[:SHOWN_CHARACTERS_MAX]}:"
            f" {'; '.join(sorted(reasons)) or 'no account has that chat'}. It"
            " writes to people and groups the access policy lets in; the operator changes that"
        )
    naming = (name for name, one in admitting.items() if _names(policies[name], one))
    account = next(naming, next(iter(admitting)))
    return account, admitting[account]


async def _decided(
    peers: Peers, account: AccountId, policy: Policy, to: str, known: journal.ChatKnownAs | None
) -> tuple[str, str | None]:
    """Return whom *to* means to this account, and why they may not be written to."""
    match receivers.kind_of(to):
        case "chat":
            chat = None if known is None else known.chat
            return to, receivers.why_no_chat(policy, ChatId(to), chat)
        case "person":
            return to, receivers.why_no_person(policy, OpenId(to))
        case "address":
            return await _by_address(peers, account, policy, to)


async def _by_address(
    peers: Peers, account: AccountId, policy: Policy, address: str
) -> tuple[str, str | None]:
    """Return whom an address means to this account, and why they may not be written to.

    One that the policy lists, or lets in like everybody, need not be looked up.
    """
    why = receivers.why_no_person(policy, OpenId(address))
    if why is None:
        return address, None
    outcome: Outcome | None = None
    with trio.move_on_after(LOOK_UP_WITHIN_S):
        outcome = await peers.call(account, gateway.FindPerson(email=address))
    match outcome:
        case PersonFound(open_id=str(open_id)):
            return open_id, receivers.why_no_person(policy, OpenId(open_id))
        case PersonFound():
            return address, why
        case MissingScope(scopes=scopes):
            return address, f"addresses can't be looked up: the app lacks {', '.join(scopes)}"
    return address, "addresses can't be looked up at this moment; name the person by open_id"


def _names(policy: Policy, to: str) -> bool:
    return to in policy.allow_from | policy.admins or to in policy.groups


async def _policies(peers: Peers) -> dict[AccountId, Policy]:
    """Return the policy in force of each account, pairings included."""
    found: dict[AccountId, Policy] = {}
    for name, configured in peers.policies.items():
        book: pairing.AccessBook = await peers.ask_journal(partial(_load_access, name))
        found[name] = pairing.in_force(configured, book)
    return found


def _load_access(account: AccountId, reply: Reply[Any]) -> journal.LoadAccess:
    return journal.LoadAccess(account=account, reply=reply)

"""``send``: Markdown and files to somebody who need not have written, unprompted.

Who may be written to is asked of the policy as it is at this moment, configuration and
pairings together: whoever was let out is written to no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from actors.kit.mailbox import Reply
from actors.messages import journal
from actors.messages.outbound import Caller
from actors.outbound.files import read_files
from actors.outbound.peers import Peers, ToolError, text_argument
from actors.outbound.reply import Messages
from protocol.ids import AccountId, ChatId, OpenId
from protocol.routing import pairing, receivers
from protocol.routing.access import Policy

SHOWN_CHARACTERS_MAX: Final = 100


async def send(peers: Peers, caller: Caller, args: Mapping[str, Any]) -> str:
    """Send; return the result for the model.

    Raises:
        ToolError: the policy or the platform refuses; the text names what was sent before.
    """
    to = text_argument(args, "to").strip()
    text = text_argument(args, "text")
    account = await _account_of(peers, to)
    files = await read_files(peers, caller, args)
    messages = Messages(peers, account, ChatId(to), None)
    await messages.send_all(text, files)
    return messages.done()


async def _account_of(peers: Peers, to: str) -> AccountId:
    """Return the account that may write to *to*: one that names it, before one open to all.

    Raises:
        ToolError: there is none; the text has each account's reason.
    """
    known: journal.ChatKnownAs | None = None
    if receivers.kind_of(to) == "chat":
        known = await peers.ask_journal(
            lambda reply: journal.FindChat(chat_id=ChatId(to), reply=reply)
        )
    policies = await _policies(peers)
    if known is not None:
        # An id of a chat is one app's: what the others would say of it means nothing.
        policies = {name: one for name, one in policies.items() if name == known.account}
    refusals: dict[AccountId, str | None] = {}
    for name, policy in policies.items():
        if receivers.kind_of(to) == "chat":
            refusals[name] = receivers.why_no_chat(
                policy, ChatId(to), None if known is None else known.chat
            )
        else:
            refusals[name] = receivers.why_no_person(policy, OpenId(to))
    admitting = [name for name, why in refusals.items() if why is None]
    if not admitting:
        reasons = sorted({why for why in refusals.values() if why}) or ["no account has that chat"]
        raise ToolError(
            f"the bot may not write to {to[:SHOWN_CHARACTERS_MAX]}: {'; '.join(reasons)}. It"
            " writes to people and groups the access policy lets in; the operator changes that"
        )
    return next((name for name in admitting if _names(policies[name], to)), admitting[0])


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

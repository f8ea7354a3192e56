"""One look at the whole daemon: its status, its open cards, its gateways; each within a second.

A part that does not answer is None, and that is a finding of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import trio

from actors.kit.mailbox import ActorGone, Reply, ask, ask_or
from actors.messages import approvals, gateway, journal, ownership
from actors.monitoring.peers import Peers
from protocol import __version__
from protocol.ids import AccountId, SessionId
from protocol.routing import channel_tools
from protocol.wire.vocabulary import CAPABILITY_OPERATOR

ANSWER_WITHIN_S: Final = 2.0
LINK_MESSAGES_MAX: Final = 1
"""What ownership might send to a connection like ours; it is dropped."""


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    status: Mapping[str, Any] | None
    """The map of ``feishu_channel_status``."""
    cards: tuple[journal.LedgerEntry, ...] | None
    """Cards in flight."""
    gateways: Mapping[AccountId, gateway.GatewayStatistics | None]
    rows: journal.RowsSeen | None = None
    approvals: tuple[approvals.AskedNow, ...] | None = None
    """Requests that wait for a press."""


NOTHING: Final = Overview(status=None, cards=None, gateways={})


async def look(peers: Peers, *, rows: int = 0) -> Overview:
    """Ask everybody at once.

    Args:
        peers: Whom to ask.
        rows: How many rows and chats to list at most; 0 counts them only.
    """
    found: dict[str, Any] = {}
    gateways: dict[AccountId, gateway.GatewayStatistics | None] = {}

    async def ask_status() -> None:
        answer = await call_tool(peers, channel_tools.STATUS, {})
        found["status"] = answer.result if isinstance(answer, ownership.ToolDone) else None

    async def ask_one(
        name: str,
        mailbox: trio.MemorySendChannel[Any],
        question: Callable[[Reply[Any]], Any],
    ) -> None:
        found[name] = await ask_or(
            mailbox, question, within_s=ANSWER_WITHIN_S, otherwise=lambda _: None
        )

    async def statistics(account: AccountId) -> None:
        await ask_one(
            account, peers.gateways[account], lambda reply: gateway.Statistics(reply=reply)
        )
        gateways[account] = found.pop(account)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask_status)
        nursery.start_soon(
            ask_one, "cards", peers.journal_tx, lambda reply: journal.OpenCards(reply=reply)
        )
        nursery.start_soon(
            ask_one,
            "rows",
            peers.journal_tx,
            lambda reply: journal.LookAtRows(limit=rows, reply=reply),
        )
        nursery.start_soon(
            ask_one, "approvals", peers.approvals_tx, lambda reply: approvals.Look(reply=reply)
        )
        for account in peers.gateways:
            nursery.start_soon(statistics, account)
    answers = {
        name: None if isinstance(answer, journal.Failed) else answer
        for name, answer in found.items()
    }
    entries = answers["cards"]
    return Overview(
        status=answers["status"],
        cards=None if entries is None else tuple(one for one in entries if one.is_card),
        gateways=gateways,
        rows=answers["rows"],
        approvals=answers["approvals"],
    )


async def call_tool(peers: Peers, name: str, args: dict[str, Any]) -> ownership.ToolAnswer:
    """Call a tool of the channel as an operator does, without a session."""
    connection_id = peers.next_connection_id()
    link_tx, link_rx = trio.open_memory_channel[Any](LINK_MESSAGES_MAX)
    with link_tx, link_rx:
        try:
            admitted: ownership.Admitted | ownership.NotAdmitted = await ask(
                peers.ownership_tx,
                lambda reply: ownership.RegisterSession(
                    connection_id=connection_id,
                    session_id=SessionId(f"operator:console-{connection_id}"),
                    role="dispatcher",
                    proven_by="dispatcher",
                    pid=os.getpid(),
                    proxy_version=__version__,
                    metadata={},
                    capabilities=frozenset({CAPABILITY_OPERATOR}),
                    link=link_tx,
                    reply=reply,
                ),
                within_s=ANSWER_WITHIN_S,
            )
            if isinstance(admitted, ownership.NotAdmitted):
                return ownership.ToolFailed(error=admitted.message)
            answer: ownership.ToolAnswer = await ask(
                peers.ownership_tx,
                lambda reply: ownership.CallTool(
                    connection_id=connection_id, name=name, args=args, reply=reply
                ),
                within_s=ANSWER_WITHIN_S,
            )
        except (trio.TooSlowError, ActorGone):
            return ownership.ToolFailed(error="ownership did not answer in time")
        finally:
            with trio.move_on_after(ANSWER_WITHIN_S, shield=True):
                await peers.ownership_tx.send(
                    ownership.ConnectionEnded(connection_id=connection_id)
                )
    return answer


def reasons_against(overview: Overview) -> list[str]:
    """Return why the daemon is not healthy: serving, its journal storing, Feishu connected."""
    if overview.status is None:
        return ["ownership does not answer"]
    reasons = []
    for account, about in overview.status.get("connection", {}).items():
        if about.get("state") != "connected":
            reasons.append(f"account {account}: the long connection is {about.get('state')}")
    if not overview.status.get("connection"):
        reasons.append("no long connection has begun")
    queue = overview.status.get("queue", {})
    if queue.get("error"):
        reasons.append(f"journal: {queue['error']}")
    if overview.cards is None:
        reasons.append("the journal does not answer")
    reasons += [
        f"account {account}: the gateway does not answer"
        for account, statistics in overview.gateways.items()
        if statistics is None
    ]
    return reasons

"""What ``larkd status`` and ``larkd top`` ask beside the channel's own status."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

import msgspec

from actors.messages import ownership
from actors.monitoring.names import ChatOfAccount, Names
from actors.monitoring.overview import Overview, look
from actors.monitoring.peers import Peers
from protocol.ids import AccountId, ChatId, PlaceKey, split_place
from protocol.wire import operating

LISTED_MAX: Final = 20
"""More than anybody reads at once."""
NAMED_WITHIN_S: Final = 1.0
"""Whoever looks waits so long for names, once; a slow platform leaves the ids."""


def onlookers_tools(peers: Peers) -> dict[str, ownership.OperatorTool]:
    """Return the tools by name."""
    known = Names(lambda: peers)

    async def overview(_args: Mapping[str, Any]) -> ownership.ToolAnswer:
        seen = await look(peers, rows=LISTED_MAX)
        names = await known.within(islice(chats_of(seen), LISTED_MAX), NAMED_WITHIN_S)
        return ownership.ToolDone(result=as_map(seen, names))

    return {operating.OVERVIEW: overview}


def chats_of(seen: Overview) -> Iterator[ChatOfAccount]:
    """Every chat that ``larkd status`` shows; those that wait come first."""
    for chat in seen.rows.waiting_chats if seen.rows is not None else ():
        yield chat.account, chat.chat_id
    for turn in turns(seen):
        yield AccountId(turn["account"]), ChatId(turn["chat_id"])
    for place in (seen.status or {}).get("bindings", {}):
        account, chat_id, _ = split_place(PlaceKey(place))
        yield account, chat_id


def as_map(seen: Overview, names: Mapping[ChatOfAccount, str]) -> dict[str, Any]:
    """Return what goes on, in snake_case; what did not answer is None. No text of a message."""
    rows = seen.rows
    chats: dict[str, dict[str, str]] = {}
    for (account, chat_id), name in names.items():
        chats.setdefault(account, {})[chat_id] = name
    return {
        "chat_names": chats,
        "turns": turns(seen),
        "cards_in_flight": None if seen.cards is None else len(seen.cards),
        "approvals_waiting": None if seen.approvals is None else len(seen.approvals),
        "rows": None if rows is None else {str(state): n for state, n in rows.counts.items()},
        "waiting_chats": [
            {
                "account": one.account,
                "chat_id": one.chat_id,
                "name": names.get((one.account, one.chat_id)),
                "waiting": one.waiting,
                "oldest_at": one.oldest_at_ms,
            }
            for one in (rows.waiting_chats if rows is not None else ())
        ],
        "budgets": budgets(seen),
    }


def turns(seen: Overview) -> list[dict[str, Any]]:
    """Return the turns in flight, the longest first: by their cards, else by their message.

    A turn without a card (plain replies) shows by the message its session has. So does
    what a channel session has not answered, which is no turn: that is for the reader, who
    knows the sessions' capabilities.
    """
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for card in seen.cards or ():
        key = (card.session_id, card.account, card.chat_id)
        found.setdefault(key, _turn(*key, card.opened_at_ms, "card"))
    for row in seen.rows.given if seen.rows is not None else ():
        key = (row.session_id, row.account, row.chat_id)
        found.setdefault(key, _turn(*key, row.at_ms, "message"))
    return sorted(found.values(), key=lambda turn: int(turn["since"]))


def _turn(session_id: str, account: str, chat_id: str, since: int, by: str) -> dict[str, Any]:
    return {
        "session_id": session_id,
        "account": account,
        "chat_id": chat_id,
        "since": since,
        "seen_by": by,
    }


def budgets(seen: Overview) -> list[dict[str, Any]]:
    """Return the use of every endpoint's budget, the fullest first."""
    listed = [
        {"account": account, **msgspec.to_builtins(use)}
        for account, found in seen.gateways.items()
        if found is not None
        for use in found.budgets
    ]
    return sorted(
        listed, key=lambda use: use["in_minute"] / max(1, use["minute_max"]), reverse=True
    )

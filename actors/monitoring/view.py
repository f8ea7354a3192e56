"""The console's page as data: what is known of the daemon, by name where there is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from actors.messages import approvals, journal
from actors.monitoring.names import ChatOfAccount
from actors.monitoring.overview import Overview
from actors.monitoring.tools import budgets, turns
from protocol.ids import AccountId, ChatId, PlaceKey, place_key, split_place
from protocol.routing.history import REASONS


def chats_of(seen: Overview) -> Iterator[ChatOfAccount]:
    """Every chat that is shown; those that wait come first."""
    rows = seen.rows
    for approval in seen.approvals or ():
        yield approval.account, approval.chat_id
    for card in seen.cards or ():
        yield card.account, card.chat_id
    for row in rows.waiting if rows is not None else ():
        if row.chat_id is not None:
            yield row.account, row.chat_id
    for chat in rows.chats if rows is not None else ():
        yield chat.account, chat.chat_id
    for place in (seen.status or {}).get("bindings", {}):
        account, chat_id, _ = split_place(PlaceKey(place))
        yield account, chat_id


def drawn(seen: Overview, names: Mapping[ChatOfAccount, str], *, texts: bool) -> dict[str, Any]:
    """Return what the page draws, in snake_case.

    Without *texts* there is nothing in it that people wrote, or that an agent asks for.
    """

    def named(account: AccountId, chat_id: ChatId | None) -> dict[str, Any]:
        name = None if chat_id is None else names.get((account, chat_id))
        return {"account": account, "chat_id": chat_id, "chat": name}

    rows = seen.rows
    return {
        "serving": seen.status is not None,
        "status": dict(seen.status or {}),
        "turns": [
            {**turn, **named(AccountId(turn["account"]), ChatId(turn["chat_id"]))}
            for turn in turns(seen)
        ],
        "cards_in_flight": None if seen.cards is None else len(seen.cards),
        "queue": [
            {**named(row.account, row.chat_id), **_waiting(row, texts=texts)}
            for row in (rows.waiting if rows is not None else ())
        ],
        "approvals": None
        if seen.approvals is None
        else [
            {**named(one.account, one.chat_id), **_approval(one, texts=texts)}
            for one in seen.approvals
        ],
        "chats": [
            {**named(account, chat_id), "topic": topic, **about}
            for (account, chat_id, topic), about in _chats(seen).items()
        ],
        "budgets": budgets(seen),
        "refused": [
            {
                "account": account,
                "reason": {"en": reason, "zh": REASONS.get(reason, reason)},
                "count": count,
            }
            for account, about in (seen.status or {}).get("connection", {}).items()
            for reason, count in about.get("refused", {}).items()
        ],
    }


def _waiting(row: journal.RowWaiting, *, texts: bool) -> dict[str, Any]:
    return {
        "message_id": row.message_id,
        "topic": row.topic,
        "state": row.state,
        "session_id": row.session_id,
        "received_at": row.received_at_ms,
        "attempt": row.attempt,
        "text": row.text if texts else None,
    }


def _approval(one: approvals.AskedNow, *, texts: bool) -> dict[str, Any]:
    return {
        "session_id": one.session_id,
        "alias": one.alias,
        "of_admins": one.of_admins,
        "expires_at": one.expires_at_ms,
        "title": one.title if texts else None,
        "detail": one.detail if texts else None,
    }


Place = tuple[AccountId, ChatId, str | None]


def _chats(seen: Overview) -> dict[Place, dict[str, Any]]:
    """Return the chats that wrote lately, and those bound to a session: whom each is routed to."""
    status = seen.status or {}
    bindings: Mapping[str, str] = status.get("bindings", {})
    target = status.get("effective_target_session_id")
    found: dict[Place, dict[str, Any]] = {}
    for chat in seen.rows.chats if seen.rows is not None else ():
        place = (chat.account, chat.chat_id, chat.topic)
        bound = bindings.get(place_key(*place)) or bindings.get(place_key(*place[:2]))
        found[place] = {
            "session_id": bound or target,
            "bound": bound is not None,
            "last_at": chat.last_at_ms,
        }
    for key, session_id in bindings.items():
        found.setdefault(
            split_place(PlaceKey(key)), {"session_id": session_id, "bound": True, "last_at": None}
        )
    return found

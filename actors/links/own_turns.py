"""Turns that the session of a link opens by itself: where they may be shown."""

from __future__ import annotations

from typing import Final

import msgspec
import trio

from actors.kit.mailbox import ask_or
from actors.messages import journal, lane, turn
from protocol.ids import AccountId, ChatId, ConnectionId, SessionId, TurnId
from protocol.wire import messages as wire

ASK_WITHIN_S: Final = 4.0


class OwnTurnPeers(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Who knows where a session was spoken to, and who shows its turns."""

    journal_tx: trio.MemorySendChannel[journal.JournalMessage]
    lanes_tx: trio.MemorySendChannel[lane.LaneMessage]


class OwnTurn(msgspec.Struct, frozen=True, kw_only=True):
    place: journal.TurnPlace
    turn: turn.InputSender


async def open_own_turn(
    peers: OwnTurnPeers | None,
    session_id: SessionId,
    connection_id: ConnectionId,
    wish: wire.TurnOpen,
    *,
    earlier_ended: bool,
) -> OwnTurn | str:
    """Open the turn where the session was last given a message, or where it names; or why not.

    *earlier_ended*: the session has ended every turn that it opened before.
    """
    if peers is None:
        return "this daemon shows no turns"
    place: journal.TurnPlace | journal.Failed | None = await journal.ask_journal(
        peers.journal_tx,
        lambda reply: journal.FindTurnPlace(
            session_id=session_id,
            account=None if wish.account is None else AccountId(wish.account),
            chat_id=None if wish.chat_id is None else ChatId(wish.chat_id),
            thread_id=wish.thread_id,
            reply=reply,
        ),
        within_s=ASK_WITHIN_S,
    )
    if isinstance(place, journal.Failed):
        return f"{place.reason}; try again"
    if place is None:
        named = wish.account or wish.chat_id or wish.thread_id
        return (
            "the session was never given a message from there"
            if named
            else "the session was never given a message; there is nowhere to show it"
        )
    if wish.chat_id is not None and wish.thread_id is None:
        place = msgspec.structs.replace(place, thread_id=None, topic=None)
    opened: lane.OwnTurnOpened | lane.OwnTurnRefused = await ask_or(
        peers.lanes_tx,
        lambda reply: lane.OpenOwnTurn(
            session_id=session_id,
            connection_id=connection_id,
            turn_id=TurnId(wish.turn_id),
            place=place,
            title=wish.title,
            earlier_ended=earlier_ended,
            reply=reply,
        ),
        within_s=ASK_WITHIN_S,
        otherwise=lambda reason: lane.OwnTurnRefused(why=f"{reason}; try again"),
    )
    if isinstance(opened, lane.OwnTurnRefused):
        return opened.why
    return OwnTurn(place=place, turn=opened.turn)

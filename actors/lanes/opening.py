"""How a turn starts: where it is shown, as what, and what its proxy is given."""

from __future__ import annotations

from actors.lanes.settings import LaneSettings, streams_in
from actors.messages import lane, ownership, turn
from protocol.ids import TurnId
from protocol.routing.delivery import Offer
from protocol.wire import messages as wire


def deliver(row: Offer, turn_id: TurnId) -> wire.Deliver:
    return wire.Deliver(
        event_id=row.event_id,
        turn_id=turn_id,
        attempt=row.attempt,
        lease_epoch=row.lease_epoch,
        chat_id=row.prepared.chat_id,
        content=row.prepared.content,
        meta=row.prepared.meta,
        attachments=list(row.prepared.attachments),
    )


def turn_opening(
    peer: lane.Attached, fetched: ownership.NextRow, turn_id: TurnId, settings: LaneSettings
) -> turn.TurnOpening:
    """Return the opening of a turn that answers a message."""
    row = fetched.offer
    prepared = row.prepared
    streams = streams_in(settings, row.account, prepared.chat_id, prepared.chat_type)
    return turn.TurnOpening(
        turn_id=turn_id,
        session_id=peer.session_id,
        alias=peer.alias,
        account=row.account,
        chat_id=prepared.chat_id,
        message_id=prepared.message_id,
        sender_id=prepared.sender_id,
        chat_type=prepared.chat_type,
        mode="streaming" if streams else "static",
        reply_mode=fetched.reply_mode or settings.session_reply_mode,
        topic=prepared.topic,
    )


def own_turn_opening(
    wish: lane.OpenOwnTurn, alias: str, settings: LaneSettings
) -> turn.TurnOpening:
    """Return the opening of a session's own turn.

    Its card is sent to the chat, or as a reply into the topic it is of. Who wrote there
    last may stop it, and is asked for leave.
    """
    place = wish.place
    streams = streams_in(settings, place.account, place.chat_id, place.chat_type)
    return turn.TurnOpening(
        turn_id=wish.turn_id,
        session_id=wish.session_id,
        alias=alias,
        account=place.account,
        chat_id=place.chat_id,
        message_id=place.message_id if place.thread_id else None,
        sender_id=place.sender_id,
        chat_type=place.chat_type,
        mode="streaming" if streams else "static",
        reply_mode=settings.session_reply_mode,
        title=wish.title,
        topic=place.topic,
    )

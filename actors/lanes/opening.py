"""How a turn starts: where it is shown, and as what."""

from __future__ import annotations

from actors.lanes.settings import LaneSettings, streams_in
from actors.messages import lane, turn
from protocol.ids import TurnId
from protocol.routing.delivery import Offer


def turn_opening(
    peer: lane.Attached, row: Offer, turn_id: TurnId, settings: LaneSettings
) -> turn.TurnOpening:
    """Return the opening of a turn that answers a message."""
    prompt = row.prompt
    streams = streams_in(settings, row.account, prompt.chat_id, prompt.chat_type)
    return turn.TurnOpening(
        turn_id=turn_id,
        session_id=peer.session_id,
        alias=peer.alias,
        account=row.account,
        chat_id=prompt.chat_id,
        message_id=prompt.message_id,
        sender_id=prompt.sender_id,
        chat_type=prompt.chat_type,
        mode="streaming" if streams else "static",
        reply_mode=row.reply_mode or settings.session_reply_mode,
        topic=prompt.topic,
    )


def own_turn_opening(
    wish: lane.OpenOwnTurn, alias: str, settings: LaneSettings, nonce: str
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
        nonce=nonce,
        topic=place.topic,
    )

"""Turns that nobody asked for: where they are shown, and as what."""

from __future__ import annotations

from actors.lanes.settings import LaneSettings, streams_in
from actors.messages import lane, turn


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

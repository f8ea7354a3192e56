"""A turn that ended while its chat was on another session: a short message, once."""

from __future__ import annotations

from typing import Final

import msgspec

from actors.kit.mailbox import ask_or
from actors.kit.retry import Pauses, Tries, while_it_helps
from actors.messages import gateway, ownership
from actors.turns.client import TurnClient
from protocol.cards.turn import TurnState
from protocol.ids import idempotency_key
from protocol.platform.outcomes import Gone, Outcome, again_after_s
from protocol.strings import in_chat

ASK_WITHIN_S: Final = 5.0
_TRIES: Final = Tries(
    again_after_s=again_after_s, pauses=Pauses(first_s=0.5, max_s=8.0), within_s=60.0
)
_NOTICES: Final = {
    TurnState.COMPLETE: in_chat.BACKGROUND_DONE,
    TurnState.ERROR: in_chat.BACKGROUND_FAILED,
}


async def is_background(client: TurnClient, state: TurnState) -> bool:
    """Ask, as the turn ends, whether its chat is on another session now.

    If so there is something unread, and :func:`send_background_notice` notifies of it once
    the card holds the result. A stopped turn sends nothing.
    """
    if state not in _NOTICES:
        return False
    opening = client.opening
    return await ask_or(
        client.peers.ownership_tx,
        lambda reply: ownership.TurnShown(
            session_id=opening.session_id,
            place=opening.place,
            reply=reply,
        ),
        within_s=ASK_WITHIN_S,
        otherwise=lambda _reason: False,
    )


async def send_background_notice(client: TurnClient, state: TurnState) -> None:
    """Send to its chat or topic that the turn is done, or failed; within a minute, or not."""
    opening, form = client.opening, _NOTICES[state]
    text = form.format(alias=opening.alias).speak(client.peers.language)
    content = msgspec.json.encode({"text": text}).decode()
    to_chat = gateway.CreateMessage(
        chat_id=opening.chat_id,
        msg_type="text",
        content_json=content,
        uuid=idempotency_key(opening.key, "background"),
    )
    in_topic = client.reply("text", content, "background-topic")
    for notice in in_topic if opening.topic is not None else (to_chat,):
        if not isinstance(await _send(client, notice), Gone):
            return


async def _send(client: TurnClient, notice: gateway.Operation) -> Outcome:
    return await while_it_helps(lambda: client.call(notice, gateway.Priority.CREATE), _TRIES)

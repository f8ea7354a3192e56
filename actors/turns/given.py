"""What a channel session was given is marked until it is over; its sender learns of it unread."""

from __future__ import annotations

from typing import Final

import msgspec
import trio

from actors.kit.cleanup import CleanupBudget
from actors.kit.retry import Pauses, Tries, while_it_helps
from actors.messages import gateway, lane
from actors.turns.peers import Peers
from actors.turns.typing_mark import TypingMark, mark_until
from protocol.ids import idempotency_key
from protocol.platform.outcomes import Outcome, again_after_s
from protocol.strings import on_card

UNREAD_S: Final = 120.0
"""A session that neither answered nor called a tool for so long has not read it."""
CALL_WITHIN_S: Final = 30.0
_TRIES: Final = Tries(
    again_after_s=again_after_s, pauses=Pauses(first_s=0.5, max_s=8.0), within_s=60.0
)


async def show_given(given: lane.Given, peers: Peers, cleanup: CleanupBudget) -> None:
    """Mark the message until it is over, or until cancelled: then the mark goes too."""
    message_id = given.offer.prompt.message_id
    mark = TypingMark(given.offer.account, message_id, given.turn_id, peers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_notify_if_unread, given, peers)
        await mark_until(given.over, mark, cleanup)


async def _notify_if_unread(given: lane.Given, peers: Peers) -> None:
    """Wait until it is read; after two minutes let its sender know that it is not, once."""
    with trio.move_on_after(UNREAD_S):
        await given.read.wait()
        return
    prompt = given.offer.prompt
    text = on_card.NOT_READ_YET.format(alias=given.alias).speak(peers.language)
    notice = gateway.ReplyMessage(
        message_id=prompt.message_id,
        chat_id=prompt.chat_id,
        in_thread=prompt.topic is not None,
        msg_type="text",
        content_json=msgspec.json.encode({"text": text}).decode(),
        # The same for every offer of the message: it is sent once.
        uuid=idempotency_key(prompt.message_id, "unread"),
    )

    async def send() -> Outcome:
        return await gateway.call(
            peers.gateways[given.offer.account],
            notice,
            gateway.Priority.FINAL,
            within_s=CALL_WITHIN_S,
        )

    await while_it_helps(send, _TRIES)

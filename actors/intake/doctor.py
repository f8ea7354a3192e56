"""``/doctor``: what an admin can learn of the daemon from a chat, each finding with its remedy.

What needs the machine (disk, clock, files) is looked at by ``larkd doctor`` there, and so is
every scope; here those are named that a call has missed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import trio

from actors.intake.peers import COMMAND_WITHIN_S, Peers
from actors.kit.mailbox import ActorGone, ask
from actors.messages import gateway, journal, ownership
from protocol.routing.roster import SessionView
from protocol.strings import Text, amounts, in_chat

LATE_MS: Final = 10 * 60 * 1_000
"""Over it a waiting message is a finding, as for ``larkd doctor``."""


async def examine(peers: Peers, state: ownership.ChatState, now_ms: Callable[[], int]) -> Text:
    """Return the findings as one text."""
    queue: journal.QueueState | journal.Failed = await journal.ask_journal(
        peers.journal_tx, lambda reply: journal.Queue(reply=reply), within_s=COMMAND_WITHIN_S
    )
    calls = await _calls(peers)
    current = next((one for one in state.sessions if one.session.session_id == state.current), None)
    findings = [*_of_session(current), *_of_queue(queue, now_ms()), *_of_calls(calls)]
    text = findings[0] if findings else in_chat.DOCTOR_FINE
    for finding in findings[1:]:
        text = text.plus("\n").joined(finding)
    return text.joined(in_chat.DOCTOR_MORE)


async def _calls(peers: Peers) -> gateway.GatewayStatistics | None:
    try:
        found: gateway.GatewayStatistics = await ask(
            peers.gateway_tx,
            lambda reply: gateway.Statistics(reply=reply),
            within_s=COMMAND_WITHIN_S,
        )
    except (trio.TooSlowError, ActorGone):
        return None
    return found


def _of_session(current: SessionView | None) -> Iterator[Text]:
    if current is None:
        yield in_chat.DOCTOR_NOBODY
    elif not current.live:
        yield in_chat.DOCTOR_AWAY.format(alias=current.session.alias)


def _of_queue(queue: journal.QueueState | journal.Failed, now_ms: int) -> Iterator[Text]:
    if isinstance(queue, journal.Failed):
        yield in_chat.DOCTOR_JOURNAL.format(reason=queue.reason)
        return
    if queue.last_error is not None:
        yield in_chat.DOCTOR_JOURNAL.format(reason=queue.last_error)
    oldest = queue.oldest_pending_at_ms
    if oldest is not None and now_ms - oldest > LATE_MS:
        age = amounts.duration((now_ms - oldest) / 1_000)
        yield in_chat.DOCTOR_QUEUE.format(pending=queue.pending, age=age)


def _of_calls(calls: gateway.GatewayStatistics | None) -> Iterator[Text]:
    if calls is None:
        yield in_chat.DOCTOR_GATEWAY
    elif calls.missed:
        for one in calls.missed:
            scopes = ", ".join(one.scopes)
            yield in_chat.DOCTOR_SCOPES.format(scopes=scopes, url=one.grant_url)
    elif calls.last_error is not None:
        yield in_chat.DOCTOR_CALLS.format(reason=calls.last_error)

"""The intake's peers, and the question it asks in many places."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Final

import msgspec
import trio

from actors.kit.mailbox import ActorGone, Answer, Reply, ask, ask_or, put
from actors.messages import agents, approvals, gateway, intake, journal, lane, ownership
from protocol.ids import AccountId, PlaceKey, place_key
from protocol.platform.events import MessageReceived
from protocol.platform.outcomes import Outcome
from protocol.routing.delivery import Prompt

ASK_WITHIN_S: Final = 1.2
"""A person is waiting; the platform gives a press 3 s, for two questions at most."""
COMMAND_WITHIN_S: Final = 6.0
"""Of each question of a command: more than ownership takes for a commit that fails."""
CALL_WITHIN_S: Final = 30.0


class Peers(msgspec.Struct, frozen=True, kw_only=True):
    """The intake's own mailbox, for its children, and those of the actors it writes to."""

    account: AccountId
    """Whose events they are about."""
    intake_tx: trio.MemorySendChannel[intake.IntakeMessage]
    intakes: Mapping[AccountId, trio.MemorySendChannel[intake.IntakeMessage]]
    """Of every account: a queue has prompts of all of them."""
    journal_tx: trio.MemorySendChannel[journal.JournalMessage]
    ownership_tx: trio.MemorySendChannel[ownership.OwnershipMessage]
    lanes_tx: trio.MemorySendChannel[lane.LaneMessage]
    gateway_tx: trio.MemorySendChannel[gateway.GatewayMessage]
    approvals_tx: trio.MemorySendChannel[approvals.ApprovalsMessage]
    agents_tx: trio.MemorySendChannel[agents.AgentsMessage]

    def place(self, of: MessageReceived | Prompt) -> PlaceKey:
        """Return the chat or topic of a message as this account sees it."""
        return place_key(self.account, of.chat_id, of.topic)

    async def call(self, operation: gateway.Operation, priority: gateway.Priority) -> Outcome:
        return await gateway.call(self.gateway_tx, operation, priority, within_s=CALL_WITHIN_S)

    async def look_up(self, place: PlaceKey) -> ownership.ChatState | None:
        """Ask which sessions there are for a place; None: ownership does not answer in time."""
        unknown: ownership.ChatState | None = None
        return await ask_or(
            self.ownership_tx,
            lambda reply: ownership.LookUp(place=place, reply=reply),
            within_s=COMMAND_WITHIN_S,
            otherwise=lambda _reason: unknown,
        )

    async def own(self, build: ownership.BuildStored) -> bool:
        """Have ownership change something; return whether that is stored, for sure."""
        stored: ownership.Stored = await ask_or(
            self.ownership_tx,
            build,
            within_s=COMMAND_WITHIN_S,
            otherwise=lambda _reason: ownership.Stored(done=False),
        )
        return stored.done


async def find_targets(
    peers: Peers, places: Collection[PlaceKey]
) -> dict[PlaceKey, ownership.ChatTarget | None]:
    """Ask which session each place is routed to, all at once, as :func:`find_target` does."""
    answers: dict[PlaceKey, Answer[ownership.ChatTarget]] = {place: Answer() for place in places}
    with trio.move_on_after(ASK_WITHIN_S), suppress(trio.BrokenResourceError):
        for place, answer in answers.items():
            await put(peers.ownership_tx, ownership.FindTarget(place=place, reply=Reply(answer)))
        for answer in answers.values():
            with suppress(ActorGone):
                await answer.receive()
    found: dict[PlaceKey, ownership.ChatTarget | None] = dict.fromkeys(places)
    for place, answer in answers.items():
        with answer, suppress(ActorGone, trio.WouldBlock):
            found[place] = answer.receive_nowait()
    return found


async def find_target(peers: Peers, place: PlaceKey) -> ownership.ChatTarget | None:
    """Ask which session a place is routed to; None where ownership does not answer in time."""
    try:
        target: ownership.ChatTarget = await ask(
            peers.ownership_tx,
            lambda reply: ownership.FindTarget(place=place, reply=reply),
            within_s=ASK_WITHIN_S,
        )
    except (trio.TooSlowError, ActorGone):
        return None
    return target

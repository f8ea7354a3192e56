"""The lanes' host: opens a lane per session on demand and passes each its messages.

A lane that crashes is its session's failure only: its cards are brought to a final
state on the way out, and its proxy is asked to connect again, which opens a new one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import structlog
import trio

from actors.kit.keyed import KeyedChildren
from actors.kit.mailbox import ActorGone, ask, offer, put
from actors.messages import lane, link
from protocol.ids import PlaceKey, SessionId, place_key

LANE_MAILBOX_MESSAGES_MAX: Final = 256
"""A lane handles its messages without waiting, so this is one scheduling round of it."""
STOP_ALL_WITHIN_S: Final = 1.0
RETRY_AFTER_MS: Final = 1_000

log = structlog.get_logger()

RunLane = Callable[
    [
        SessionId,
        trio.MemoryReceiveChannel[lane.LaneMessage],
        trio.MemorySendChannel[lane.LaneMessage],
        Callable[[], None],
    ],
    Awaitable[None],
]
"""``run(session_id, inbox, own, retire)``: one run of one lane."""


async def run(
    inbox: trio.MemoryReceiveChannel[lane.LaneMessage],
    run_lane: RunLane,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; the lanes' cards reach their final states on the way out."""
    with inbox:
        async with trio.open_nursery() as nursery:
            host = _Host(nursery, run_lane)
            task_status.started()
            async for message in inbox:
                await host.handle(message)


class _Host:
    def __init__(self, nursery: trio.Nursery, run_lane: RunLane) -> None:
        self._run_lane = run_lane
        self._links: dict[SessionId, trio.MemorySendChannel[link.LinkMessage]] = {}
        self._own_turns: dict[SessionId, PlaceKey] = {}
        """Where each session opened its last turn of its own; the latest last."""
        self._lanes: KeyedChildren[SessionId, lane.LaneMessage] = KeyedChildren(
            nursery,
            self._run,
            mailbox_messages_max=LANE_MAILBOX_MESSAGES_MAX,
            crashed=self._crashed,
        )

    async def handle(self, message: lane.LaneMessage) -> None:
        match message:
            case lane.Attached(session_id=session_id):
                self._links[session_id] = message.link
                # Where the lane crashes before it has this, the link is asked to connect again.
                await self._post(self._lanes.open(session_id), message)
            case lane.OpenOwnTurn(session_id=session_id):
                if self._lanes.get(session_id) is None:
                    message.reply.send(lane.OwnTurnRefused(why="the session is not attached"))
                else:
                    self._own_turns.pop(session_id, None)
                    where = message.place
                    self._own_turns[session_id] = place_key(
                        where.account, where.chat_id, where.topic
                    )
                await self._send(session_id, message)
            case lane.FindOwnTurns(place=place):
                with message.reply:
                    latest_first = reversed(self._own_turns.items())
                    message.reply.send(tuple(one for one, at in latest_first if at == place))
            case lane.StopTurn(session_id=session_id):
                if self._lanes.get(session_id) is None:
                    message.reply.send(lane.NothingRunning())
                await self._send(session_id, message)
            case lane.StopShown(session_id=session_id):
                if self._lanes.get(session_id) is None:
                    message.reply.send(False)  # it crashed, or ended with its session
                await self._send(session_id, message)
            case (
                lane.Detached(session_id=session_id)
                | lane.Wake(session_id=session_id)
                | lane.RowClosed(session_id=session_id)
                | lane.ToolCalled(session_id=session_id)
                | lane.RowRevoked(session_id=session_id)
            ):
                await self._send(session_id, message)
            case lane.StopRecalled():
                for mailbox in self._lanes.mailboxes():
                    await self._post(mailbox, message)
            case lane.StopAll():
                with message.reply:
                    await self._stop_all()
                    message.reply.send(None)

    async def _run(
        self,
        session_id: SessionId,
        inbox: trio.MemoryReceiveChannel[lane.LaneMessage],
        own: trio.MemorySendChannel[lane.LaneMessage],
    ) -> None:
        await self._run_lane(session_id, inbox, own, lambda: self._lanes.forget(session_id, own))
        if self._lanes.get(session_id) is None:
            self._links.pop(session_id, None)
            self._own_turns.pop(session_id, None)

    def _crashed(self, session_id: SessionId, crash: ExceptionGroup[Exception]) -> None:
        log.error("lane.crashed", session=session_id, exc_info=crash)
        mailbox = self._links.pop(session_id, None)
        if mailbox is not None:
            offer(mailbox, link.LeaveLink(reason="shutdown", retry_after_ms=RETRY_AFTER_MS))

    async def _send(self, session_id: SessionId, message: lane.LaneMessage) -> None:
        mailbox = self._lanes.get(session_id)
        if mailbox is not None:
            await self._post(mailbox, message)

    @staticmethod
    async def _post(
        mailbox: trio.MemorySendChannel[lane.LaneMessage], message: lane.LaneMessage
    ) -> None:
        try:
            await put(mailbox, message)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the lane has just ended, and its turns with it

    async def _stop_all(self) -> None:
        async with trio.open_nursery() as nursery:
            for mailbox in self._lanes.mailboxes():
                nursery.start_soon(self._stop_lane, mailbox)

    @staticmethod
    async def _stop_lane(mailbox: trio.MemorySendChannel[lane.LaneMessage]) -> None:
        try:
            await ask(mailbox, lambda reply: lane.StopAll(reply=reply), within_s=STOP_ALL_WITHIN_S)
        except (trio.TooSlowError, ActorGone):
            log.warning("lane.slow_to_stop")

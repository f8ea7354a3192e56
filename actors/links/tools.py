"""Which actor answers a tool that a proxy calls, and that every call is answered once.

The channel's own tools go to ownership one after the other, so that a proxy's second
call sees what its first one did. The rest may take long (a reply waits for the
platform), so each has a task of its own, a bounded number at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec
import trio

from actors.kit.mailbox import ask_or, offer
from actors.links.frame_memory import Reservation
from actors.links.own_turns import OwnTurnPeers
from actors.messages import lane, outbound, ownership
from protocol.ids import ConnectionId, SessionId
from protocol.routing import channel_tools
from protocol.wire import messages as wire
from protocol.wire import vocabulary
from protocol.wire.inside import speaks_for_session

ASK_WITHIN_S: Final = 5.0
CALLS_AT_ONCE_MAX: Final = 16
"""Of one link, beside the channel's own tools; one more is refused with a reason."""


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """The tools beside the channel's own, by name."""

    of_operators: Mapping[str, ownership.OperatorTool] = {}
    """To everybody else there are none such."""
    of_onlookers: Mapping[str, ownership.OperatorTool] = {}
    """Of operators that proved any role, an observer's too: they change nothing."""
    of_sessions: Mapping[str, outbound.SessionTool] = {}
    own_turns: OwnTurnPeers | None = None
    """None where a session may open no turns by itself."""


class ToolCalls:
    """Takes the calls of one link; *send* sends the answers."""

    def __init__(
        self,
        connection_id: ConnectionId,
        tools: Tools,
        ownership_tx: trio.MemorySendChannel[ownership.OwnershipMessage],
        send: Callable[[wire.FromDaemon], None],
    ) -> None:
        self._id = connection_id
        self._tools = tools
        self._ownership_tx = ownership_tx
        self._send = send
        self._registered: wire.Register | None = None
        self._has_session = False
        self._cwd: str | None = None
        self._under_way = 0

    def admitted(self, register: wire.Register, proven_by: vocabulary.Role, *, here: bool) -> None:
        """From now on calls are of this session, of one it speaks for, or of an operator.

        *here* is whether the proxy is on this machine.
        """
        self._registered = register
        self._cwd = register.metadata.get("cwd") if here else None
        self._has_session = register.role != "observer" or speaks_for_session(
            register.role, register.capabilities, proven_by
        )

    async def use(
        self, tool: wire.Tool, nursery: trio.Nursery, holding: Reservation | None = None
    ) -> None:
        """Answer a call, here or in *nursery*; *holding* is of its frame, and freed after."""
        slow = self._slow(tool)
        if slow is None:
            self._answer(tool, await self._ask_ownership(tool))
            return
        await trio.lowlevel.checkpoint()
        if self._under_way >= CALLS_AT_ONCE_MAX:
            busy = f"{CALLS_AT_ONCE_MAX} calls of this session are under way; wait for one"
            self._answer(tool, ownership.ToolFailed(error=busy))
            return
        self._under_way += 1
        if holding is not None:
            holding.kept = True
        nursery.start_soon(self._beside, tool, slow, holding)

    def _slow(self, tool: wire.Tool) -> Callable[[], Awaitable[ownership.ToolAnswer]] | None:
        """Return what answers the call beside the reader, if it is no tool of the channel."""
        register = self._registered
        if register is None:
            return None
        if tool.name in self._tools.of_operators and vocabulary.is_operator(
            register.role, register.capabilities
        ):
            of_operators = self._tools.of_operators[tool.name]
            return lambda: of_operators(tool.args)
        if (
            tool.name in self._tools.of_onlookers
            and vocabulary.CAPABILITY_OPERATOR in register.capabilities
        ):
            of_onlookers = self._tools.of_onlookers[tool.name]
            return lambda: of_onlookers(tool.args)
        if tool.name in self._tools.of_sessions:
            if not self._has_session:
                return _observer
            of_sessions = self._tools.of_sessions[tool.name]
            caller = outbound.Caller(session_id=SessionId(register.session_id), cwd=self._cwd)
            if self._tools.own_turns is not None:
                called = lane.ToolCalled(session_id=caller.session_id)
                offer(self._tools.own_turns.lanes_tx, called)
            return lambda: of_sessions(caller, tool.args)
        return None

    async def _beside(
        self,
        tool: wire.Tool,
        answer: Callable[[], Awaitable[ownership.ToolAnswer]],
        holding: Reservation | None,
    ) -> None:
        try:
            self._answer(tool, await answer())
        finally:
            self._under_way -= 1
            if holding is not None:
                holding.free()

    async def _ask_ownership(self, tool: wire.Tool) -> ownership.ToolAnswer:
        return await ask_or(
            self._ownership_tx,
            lambda reply: ownership.CallTool(
                connection_id=self._id, name=tool.name, args=tool.args, reply=reply
            ),
            within_s=ASK_WITHIN_S,
            otherwise=lambda reason: ownership.ToolFailed(
                error=f"larkd: {tool.name}: {reason};"
                " ask feishu_channel_status whether it took effect"
            ),
        )

    def _answer(self, tool: wire.Tool, answer: ownership.ToolAnswer) -> None:
        match answer:
            case ownership.ToolDone(result=result):
                self._send(wire.ToolResult(id=tool.id, ok=True, result=result))
            case ownership.ToolFailed(error=error):
                self._send(wire.ToolResult(id=tool.id, ok=False, error=error))


async def _observer() -> ownership.ToolAnswer:
    await trio.lowlevel.checkpoint()
    return ownership.ToolFailed(error=channel_tools.OBSERVER_ONLY_STATUS)

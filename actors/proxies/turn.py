"""One message given to the session, and the way to answer it."""

from __future__ import annotations

import secrets
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import msgspec
import trio

from actors.proxies.errors import Disconnected
from actors.proxies.questions import ElicitRequest
from protocol.wire import messages as wire
from protocol.wire import vocabulary

if TYPE_CHECKING:
    from protocol.cards.question import Elicitation  # loaded by who makes one

TEXT_CHARACTERS_MAX: Final = 256 * 1024
"""Of one delta; longer texts go as several."""


class TurnLink(Protocol):
    """What a turn is sent through."""

    @property
    def over(self) -> bool: ...

    async def send(self, message: wire.FromProxy) -> None:
        """Send, waiting while the daemon is slow. Raises Disconnected."""

    async def ask_permission(self, request: wire.PermissionRequest) -> wire.PermissionVerdict:
        """Ask the people of the chat, and wait. Raises Disconnected."""

    async def elicit(self, asked: ElicitRequest) -> wire.ElicitAnswer:
        """Ask on a card, and wait. Raises ToolCallFailed, Disconnected."""


class ProxyTurn:
    """One message given to the session, and the way to answer it.

    As ``async with turn:`` it acks at the start, runs the block in a scope that the
    daemon's ``cancel`` ends, and ends the turn: ``aborted`` if cancelled, ``error`` if
    the block raised (the exception goes no further), else ``complete``. Where the link
    to the daemon drops, the block is cancelled too; the daemon has ended the turn then.
    """

    def __init__(self, deliver: wire.Deliver, link: TurnLink, *, ends: bool) -> None:
        self.deliver = deliver
        self._link = link
        self._ends = ends
        self._scope = trio.CancelScope()
        self.ended = False
        self.cancel_reason: vocabulary.CancelReason | None = None

    @property
    def lost(self) -> bool:
        """Whether the link that brought it is over: nothing sent of it arrives any more."""
        return self._link.over

    @property
    def text(self) -> str:
        """The message, as Markdown."""
        return self.deliver.content

    async def ack(self) -> None:
        """Acknowledge to the daemon that the session has the message."""
        await self._link.send(
            wire.Ack(event_id=self.deliver.event_id, attempt=self.deliver.attempt)
        )

    async def send_message(
        self, message: wire.Delta | wire.ToolEvent | wire.Plan | wire.Usage
    ) -> None:
        """Send a message of this turn as it is."""
        await self._link.send(message)

    async def send(self, text: str) -> None:
        """Append to the answer, verbatim. Waits while the daemon is slow."""
        await self._delta(text, "answer")

    async def think(self, text: str) -> None:
        """Append to the reasoning."""
        await self._delta(text, "reasoning")

    async def _delta(self, text: str, channel: vocabulary.DeltaChannel) -> None:
        for at in range(0, len(text), TEXT_CHARACTERS_MAX):
            piece = text[at : at + TEXT_CHARACTERS_MAX]
            await self._link.send(
                wire.Delta(turn_id=self.deliver.turn_id, text=piece, channel=channel)
            )

    async def tool(  # noqa: PLR0913  # the fields of the message
        self,
        call_id: str,
        *,
        name: str | None = None,
        kind: vocabulary.ToolKind | None = None,
        status: vocabulary.ToolStatus | None = None,
        summary: str | None = None,
        input: Any = None,  # noqa: A002  # the field's name in the contract
        parent_id: str | None = None,
        duration_ms: int | None = None,
    ) -> None:
        """Open a tool step, or update what is given of it."""
        await self._link.send(
            wire.ToolEvent(
                turn_id=self.deliver.turn_id,
                call_id=call_id,
                name=name,
                kind=kind,
                status=status,
                summary=summary,
                input=input,
                parent_id=parent_id,
                duration_ms=duration_ms,
            )
        )

    async def plan(self, entries: list[tuple[str, vocabulary.PlanStatus]]) -> None:
        """Replace the plan."""
        listed = [wire.PlanEntry(content=content, status=status) for content, status in entries]
        await self._link.send(wire.Plan(turn_id=self.deliver.turn_id, entries=listed))

    async def usage(
        self,
        *,
        used: int | None = None,
        size: int | None = None,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
    ) -> None:
        """Replace the usage figures."""
        await self._link.send(
            wire.Usage(
                turn_id=self.deliver.turn_id,
                used=used,
                size=size,
                input_tokens=input_tokens,
                output_tokens=output_tokens,
            )
        )

    async def ask_permission(
        self,
        title: str,
        options: list[wire.PermissionOption],
        *,
        detail: str | None = None,
        request_id: str | None = None,
    ) -> wire.PermissionVerdict:
        """Show a question with buttons in the chat, and wait for who decides.

        The daemon answers ``cancelled`` when nobody does in time, and when the turn ends.

        Raises:
            Disconnected: the link dropped; nobody can answer any more.
        """
        return await self._link.ask_permission(
            wire.PermissionRequest(
                request_id=request_id or f"{self.deliver.turn_id}-{secrets.token_hex(8)}",
                turn_id=self.deliver.turn_id,
                title=title,
                detail=detail,
                options=options,
            )
        )

    async def elicit(self, elicited: Elicitation) -> wire.ElicitAnswer:
        """Ask on a card of the chat, and wait for who answers, or declines.

        Cancelled, it takes the question back, unless the daemon is leaving: an answer that
        comes after its restart is a message to the session.

        Raises:
            ToolCallFailed: it can't be asked.
            Disconnected: the link dropped; the question is still open there.
        """
        return await self._link.elicit(
            ElicitRequest(
                elicitation=msgspec.to_builtins(elicited),
                chat_id=self.deliver.chat_id,
                message_id=self.deliver.meta.get("message_id", ""),
                turn_id=self.deliver.turn_id,
                is_withdrawn=lambda: self.cancel_reason not in ("shutdown", "timeout"),
            )
        )

    async def end(
        self,
        status: vocabulary.TurnStatus = "complete",
        *,
        text: str | None = None,
        error: str | None = None,
    ) -> None:
        """End the turn; *text* is a tail below what was sent. Later calls do nothing."""
        if self.ended or not self._ends:
            return
        self.ended = True
        await self._link.send(
            wire.TurnEnd(turn_id=self.deliver.turn_id, status=status, text=text, error=error)
        )

    def cancel(self, reason: vocabulary.CancelReason) -> None:
        """Interrupt the block of ``async with turn``."""
        self.cancel_reason = reason
        self._scope.cancel(reason=f"turn cancelled: {reason}")

    def interruption(self) -> trio.CancelScope:
        """Return the scope that the daemon's ``cancel`` ends; see ``cancel_reason`` then."""
        return self._scope

    def lose(self) -> None:
        """The link is over; the daemon lets the message come again, or has ended the turn."""
        self.cancel("timeout")

    async def __aenter__(self) -> Self:
        with suppress(Disconnected):  # the block is cancelled then, before its first step
            await self.ack()
        self._scope.__enter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        swallowed = bool(self._scope.__exit__(kind, raised, trace))
        try:
            if self.cancel_reason is not None:
                await self.end("aborted")  # noqa: ASYNC102  # our scope has ended
            elif isinstance(raised, Exception):
                error = f"{type(raised).__name__}: {raised}"
                await self.end("error", error=error)  # noqa: ASYNC102  # not cancelled
                swallowed = True
            elif raised is None:
                await self.end()  # noqa: ASYNC102  # not cancelled
        except Disconnected:
            return swallowed or isinstance(raised, Exception)  # the daemon knows it as lost
        return swallowed

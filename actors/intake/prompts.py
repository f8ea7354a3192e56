"""Prompts on their way to a session: prepared, committed as ready, or refused for a full lane.

Part of the intake. A batch of prompts is committed together; the
sender is notified where a lane is full or no session is there.

What a message carries is fetched in a task of its own. Until it is there, and while more
may join it, the message and all that follow it in its place are held here, in order; others
go on, and so do commands. A held prompt is bound to the session its chat was on when it came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import trio

from actors.intake.answers import Answers
from actors.intake.attachments import Fetcher, needs_fetching
from actors.intake.holding import HeldPrompt, HeldPrompts
from actors.intake.marks import WaitingMarks
from actors.intake.peers import Peers, find_target, find_targets
from actors.intake.rows import close_row, prepare_rows, store
from actors.kit.mailbox import put
from actors.messages import intake, journal, ownership
from actors.messages.journal import PreparedRow
from protocol.ids import MessageId, PlaceKey, RowId
from protocol.platform.events import CommentAdded, MessageReceived
from protocol.platform.prompts import of_comment
from protocol.routing import history, joining
from protocol.routing.delivery import Prompt, RowState, StoredEvent
from protocol.strings import in_chat

NOTICE_EVERY_MS: Final = 10 * 60 * 1_000
NOTICED_PLACES_MAX: Final = 4_096
HELD_MAX: Final = 256
"""Prompts held here; past it they stay in the journal until these are gone."""

Targets = Mapping[PlaceKey, ownership.ChatTarget | None]


class Prompts:
    """The prompts taken and not ready yet, in order of receipt in each place."""

    def __init__(  # noqa: PLR0913  # the other parts of the intake
        self,
        peers: Peers,
        answers: Answers,
        marks: WaitingMarks,
        *,
        agents: tuple[str, ...],
        fetcher: Fetcher,
        nursery: trio.Nursery,
        now_ms: Callable[[], int],
    ) -> None:
        self._to = peers
        self._answers = answers
        self._marks = marks
        self._agents = agents
        self._fetcher = fetcher
        self._nursery = nursery
        self._now_ms = now_ms
        self._taken: list[HeldPrompt] = []
        self._held = HeldPrompts()
        self._refused: dict[RowId, HeldPrompt] = {}
        self._noticed: dict[PlaceKey, int] = {}

    async def take(self, event: StoredEvent, message: MessageReceived, prompt: Prompt) -> None:
        """Take one more; it becomes ready with a batch, in its turn, alone or with others."""
        place, fetches = self._to.place(prompt), needs_fetching(message, prompt)
        row = PreparedRow(row_id=event.row_id, prompt=prompt)
        opens = joining.opens(message.message_type)
        if not fetches and not opens and self._held.is_free(place):
            self._taken.append(HeldPrompt([row], event.row_id))
            return
        held = self._held.join(place, message.sender_id, row, event.received_at_ms)
        if held is None:
            held = HeldPrompt([row], event.row_id)
            if opens:
                held.window = joining.opened(message.sender_id, event.received_at_ms)
            self._held.add(place, held)
        if held.window is not None:
            left_ms = min(held.window.closes_at_ms - self._now_ms(), joining.WINDOW_MS)
            held.closes_at_s = trio.current_time() + max(0, left_ms) / 1_000
        if fetches:
            held.fetching.add(event.row_id)
            self._nursery.start_soon(self._fetch, row, message)
        await self._advance(place)

    def has(self, row_id: RowId) -> bool:
        """Whether the row is on its way here."""
        going = (*self._taken, *self._refused.values())
        return row_id in self._held or any(row_id in prompt.row_ids for prompt in going)

    def holds(self, place: PlaceKey) -> bool:
        """Whether a prompt of this place is not ready yet."""
        return self._held.holds(place)

    @property
    def full(self) -> bool:
        """Whether one more has to stay in the journal until some held here are gone."""
        return len(self._held) + len(self._refused) >= HELD_MAX

    def add_barrier(self, place: PlaceKey, row_id: RowId, *, moves: bool) -> None:
        """Prompts of this place that come from now on wait for a command.

        Where it *moves* the place to another session, nothing joins what came before it.
        """
        if moves:
            self._held.close_windows(place)
        self._held.add_barrier(place, row_id)

    async def lift_barrier(self, place: PlaceKey, row_id: RowId) -> None:
        """The command took effect: bind what waited for it, and let go what can go."""
        self._held.lift_barrier(place, row_id)
        await self._advance(place)

    @property
    def window_due_s(self) -> float | None:
        """When a window closes next, on the loop's clock; None: none is open."""
        return self._held.next_due_s()

    async def close_due(self) -> None:
        """Let go what no more messages may join."""
        for place in self._held.close_due(trio.current_time()):
            await self._advance(place)

    async def leave_out(self, message_id: MessageId) -> None:
        """A message was recalled: its prompt goes on without it."""
        for taken in self._taken:
            taken.leave_out(message_id)
        self._taken = [one for one in self._taken if one.rows]
        place = self._held.leave_out(message_id)
        if place is not None:
            await self._advance(place)

    async def _advance(self, place: PlaceKey) -> None:
        """Bind the prompts no command is before; let go those that are complete, in order."""
        for held in self._held.unbound(place):
            await self._bind(place, held)
        self._taken += self._held.take_ready(place)

    async def _bind(self, place: PlaceKey, held: HeldPrompt) -> None:
        target = await find_target(self._to, place)
        await store(
            self._to.journal_tx,
            lambda reply: journal.Dispatch(
                row_id=held.first_row,
                chat_id=held.prompt.chat_id,
                topic=held.prompt.topic,
                reply=reply,
            ),
        )
        held.bound = True
        if target is None:
            return
        held.dispatched_to = target.session_id
        if target.live and target.capacity is None:
            held.window = None  # it has no turns: it is given rows as they come
        elif target.busy and held.window is not None:
            self._marks.put(held.prompt.message_id)

    async def take_comment(self, event: StoredEvent, comment: CommentAdded) -> None:
        """Take a comment of a document; its text is fetched first."""
        prompt = of_comment(comment)
        place = self._to.place(prompt)
        row = PreparedRow(row_id=event.row_id, prompt=prompt)
        self._held.add(place, HeldPrompt([row], event.row_id, fetching={event.row_id}))
        self._nursery.start_soon(self._fetch_comment, row, comment)
        await self._advance(place)

    async def _fetch_comment(self, row: PreparedRow, comment: CommentAdded) -> None:
        text = await self._fetcher.comment(comment)
        content = "[comment that could not be read]" if text is None else text
        whole = msgspec.structs.replace(row.prompt, content=content)
        await self._to.intake_tx.send(msgspec.structs.replace(row, prompt=whole))

    async def _fetch(self, row: PreparedRow, message: MessageReceived) -> None:
        whole = await self._fetcher.complete(message, row.prompt)
        await self._to.intake_tx.send(msgspec.structs.replace(row, prompt=whole))

    async def fetched(self, row: PreparedRow) -> None:
        """What a message carries is here: let go what can go, in order."""
        place = self._to.place(row.prompt)
        self._held.fetched(place, row)
        await self._advance(place)

    async def make_ready(self) -> None:
        """Commit the prompts taken so far as ready, and notify ownership."""
        taken, self._taken = self._taken, []
        if not taken:
            return
        places = {self._to.place(one.prompt) for one in taken}
        targets = await find_targets(self._to, places)
        for one in taken:
            target = targets[self._to.place(one.prompt)]
            one.capacity = target.capacity if target else None
        full = await prepare_rows(self._to.journal_tx, taken)
        ready = [one for one in taken if one not in full]
        self._mark_waiting(ready, targets)
        for one in full:
            self._refused[one.row_ids[0]] = one
            self._nursery.start_soon(self._refuse, one, targets[self._to.place(one.prompt)])
        last = {(self._to.place(one.prompt), one.dispatched_to): one for one in ready}
        for (place, _), one in last.items():
            await put(
                self._to.ownership_tx,
                ownership.RowReady(
                    row_id=one.row_ids[0],
                    place=place,
                    dispatched_to=one.dispatched_to,
                ),
            )
            self._notify_if_nobody_is_there(one.prompt, targets[place])

    def _mark_waiting(self, ready: list[HeldPrompt], targets: Targets) -> None:
        """Whoever has to wait for a turn in flight, or for one before it here, sees it landed."""
        busy = {one.session_id for one in targets.values() if one is not None and one.busy}
        for one in ready:
            target = targets[self._to.place(one.prompt)]
            if target is None or target.capacity is None:
                continue
            if target.session_id in busy:
                self._marks.put(one.prompt.message_id)
            busy.add(target.session_id)

    async def _refuse(self, held: HeldPrompt, target: ownership.ChatTarget | None) -> None:
        """Notify the sender that the lane is full. Until that is done the row is not closed."""
        text = in_chat.LANE_FULL.format(
            alias=target.alias if target else "", count=ownership.WAITING_ROWS_MAX
        )
        message = held.prompt
        delivered = await self._answers.deliver(message, text, "full")
        await self._to.intake_tx.send(
            intake.RefusalSent(row_id=held.row_ids[0], delivered=delivered)
        )

    async def refused(self, message: intake.RefusalSent) -> bool:
        """Close the row whose sender was notified.

        Return whether it is to be read again: its sender could not be notified.
        """
        prompt = self._refused.get(message.row_id)  # None: an earlier run's
        row_ids = (message.row_id,) if prompt is None else prompt.row_ids
        for row_id in row_ids if message.delivered else ():
            await close_row(
                self._to.journal_tx,
                row_id,
                RowState.ANSWERED,
                history.LANE_FULL,
                self._now_ms(),
            )
        self._refused.pop(message.row_id, None)
        return not message.delivered

    def _notify_if_nobody_is_there(
        self, message: Prompt, target: ownership.ChatTarget | None
    ) -> None:
        if target is None or target.live:
            return
        now, place = self._now_ms(), self._to.place(message)
        if now - self._noticed.get(place, -NOTICE_EVERY_MS) < NOTICE_EVERY_MS:
            return
        if len(self._noticed) >= NOTICED_PLACES_MAX:
            self._noticed.pop(next(iter(self._noticed)))
        self._noticed[place] = now
        text = in_chat.NO_SESSION
        if self._agents:
            text = text.joined(in_chat.NO_SESSION_START_ONE.format(agent=self._agents[0]))
        self._answers.send(message, text, "nobody")

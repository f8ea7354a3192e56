"""Prompts on their way to a session: prepared, committed as ready, or refused for a full lane.

Part of the intake. A batch of prompts is committed together; the
sender is notified where a lane is full or no session is there.

What a message carries is fetched in a task of its own. Until it is there, the message
and all that follow it in its place are held here, in order; others go on, and so do
commands. A held prompt is bound to the session its chat was on when it came.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import trio

from actors.intake.answers import Answers
from actors.intake.attachments import Fetcher, needs_fetching
from actors.intake.marks import WaitingMarks
from actors.intake.peers import Peers, find_target
from actors.intake.rows import Prompt, close_row, prepare_rows, store
from actors.messages import intake, journal, ownership
from protocol import strings
from protocol.ids import AccountId, OpenId, PlaceKey, RowId
from protocol.platform import comments
from protocol.platform.content import Content
from protocol.platform.events import CommentAdded, MessageReceived
from protocol.routing import history
from protocol.routing.delivery import Inbound, Prepared, RowState

NOTICE_EVERY_MS: Final = 10 * 60 * 1_000
NOTICED_PLACES_MAX: Final = 4_096
HELD_MAX: Final = 256
"""Prompts held here; past it they stay in the journal until these are gone."""

Targets = Mapping[PlaceKey, ownership.ChatTarget | None]


class _Held(msgspec.Struct):
    """A prompt that waits for what it carries, or for what came before it in its chat."""

    prompt: Prompt
    complete: bool
    """Whether all it carries is here."""
    bound: bool = False
    """Whether the session it is for is settled: the one its chat was on when its turn came."""


class _Barrier(msgspec.Struct):
    """A command not carried out yet: what came after it follows what it changes."""

    row_id: RowId
    done: bool = False


class Prompts:
    """The prompts taken and not ready yet, in order of receipt in each place."""

    def __init__(  # noqa: PLR0913  # the other parts of the intake
        self,
        account: AccountId,
        peers: Peers,
        answers: Answers,
        marks: WaitingMarks,
        *,
        agents: tuple[str, ...],
        fetcher: Fetcher,
        nursery: trio.Nursery,
        now_ms: Callable[[], int],
        is_admin: Callable[[OpenId], bool],
    ) -> None:
        self._account = account
        self._is_admin = is_admin
        self._to = peers
        self._answers = answers
        self._marks = marks
        self._agents = agents
        self._fetcher = fetcher
        self._nursery = nursery
        self._now_ms = now_ms
        self._taken: list[Prompt] = []
        self._held: dict[PlaceKey, deque[_Held | _Barrier]] = {}
        self._held_rows: set[RowId] = set()
        self._refused: set[RowId] = set()
        self._noticed: dict[PlaceKey, int] = {}

    async def take(self, inbound: Inbound, message: MessageReceived, content: Content) -> None:
        """Take one more; it becomes ready with a batch, in its turn."""
        fetches = needs_fetching(message, content)
        if not fetches and self._to.place(message) not in self._held:
            self._taken.append(
                Prompt(row_id=inbound.row_id, prepared=self._prepared(message, content))
            )
            return
        prepared = self._prepared(message, content)
        await self._hold(inbound.row_id, prepared, complete=not fetches)
        if fetches:
            self._nursery.start_soon(self._fetch, inbound.row_id, message, content)

    def has(self, row_id: RowId) -> bool:
        """Whether the row is on its way here."""
        taken = any(prompt.row_id == row_id for prompt in self._taken)
        return taken or row_id in self._held_rows or row_id in self._refused

    @property
    def full(self) -> bool:
        """Whether one more has to stay in the journal until some held here are gone."""
        return len(self._held_rows) + len(self._refused) >= HELD_MAX

    async def _hold(self, row_id: RowId, prepared: Prepared, *, complete: bool) -> None:
        place = self._to.place(prepared)
        held = self._held.setdefault(place, deque())
        held.append(_Held(Prompt(row_id=row_id, prepared=prepared), complete))
        self._held_rows.add(row_id)
        await self._advance(place)

    def add_barrier(self, place: PlaceKey, row_id: RowId) -> None:
        """Prompts of this place that come from now on wait for a command."""
        self._held.setdefault(place, deque()).append(_Barrier(row_id))

    async def lift_barrier(self, place: PlaceKey, row_id: RowId) -> None:
        """The command took effect: bind what waited for it, and let go what can go."""
        for one in self._held.get(place, ()):
            if isinstance(one, _Barrier) and one.row_id == row_id:
                one.done = True
        await self._advance(place)

    async def _advance(self, place: PlaceKey) -> None:
        """Bind the prompts no command is before; let go those that are complete, in order."""
        held = self._held.get(place, deque())
        for one in held:
            if isinstance(one, _Barrier):
                if not one.done:
                    break
            elif not one.bound:
                await self._bind(one)
        while held:
            first = held[0]
            if isinstance(first, _Barrier):
                if not first.done:
                    return
            elif first.complete and first.bound:
                self._held_rows.discard(first.prompt.row_id)
                self._taken.append(first.prompt)
            else:
                return
            held.popleft()
        self._held.pop(place, None)

    async def _bind(self, one: _Held) -> None:
        row_id, prepared = one.prompt.row_id, one.prompt.prepared
        target = await find_target(self._to, self._to.place(prepared))
        await store(
            self._to.journal_tx,
            lambda reply: journal.Dispatch(
                row_id=row_id, chat_id=prepared.chat_id, topic=prepared.topic, reply=reply
            ),
        )
        dispatched_to = target.session_id if target else None
        one.prompt = msgspec.structs.replace(one.prompt, dispatched_to=dispatched_to)
        one.bound = True

    async def take_comment(self, inbound: Inbound, comment: CommentAdded) -> None:
        """Take a comment of a document; its text is fetched first."""
        prepared = _prepared_comment(self._account, comment)
        await self._hold(inbound.row_id, prepared, complete=False)
        self._nursery.start_soon(self._fetch_comment, inbound.row_id, comment, prepared)

    async def _fetch_comment(
        self, row_id: RowId, comment: CommentAdded, prepared: Prepared
    ) -> None:
        text = await self._fetcher.comment(comment)
        content = "[comment that could not be read]" if text is None else text
        whole = msgspec.structs.replace(prepared, content=content)
        await self._to.intake_tx.send(intake.ContentFetched(row_id=row_id, prepared=whole))

    async def _fetch(self, row_id: RowId, message: MessageReceived, content: Content) -> None:
        whole = await self._fetcher.complete(message, content)
        prepared = self._prepared(message, whole)
        await self._to.intake_tx.send(intake.ContentFetched(row_id=row_id, prepared=prepared))

    async def completed(self, message: intake.ContentFetched) -> None:
        """What a prompt carries is here: let go what can go, in order."""
        place = self._to.place(message.prepared)
        for one in self._held.get(place, ()):
            if isinstance(one, _Held) and one.prompt.row_id == message.row_id:
                one.prompt = msgspec.structs.replace(one.prompt, prepared=message.prepared)
                one.complete = True
        await self._advance(place)

    async def make_ready(self) -> None:
        """Commit the prompts taken so far as ready, and notify ownership."""
        taken, self._taken = self._taken, []
        if not taken:
            return
        places = {self._to.place(prompt.prepared) for prompt in taken}
        targets = {place: await find_target(self._to, place) for place in places}
        capacities = {place: one.capacity for place, one in targets.items() if one is not None}
        prompts = [
            msgspec.structs.replace(
                prompt, capacity=capacities.get(self._to.place(prompt.prepared))
            )
            for prompt in taken
        ]
        full = await prepare_rows(self._to.journal_tx, prompts)
        ready = [prompt for prompt in prompts if prompt not in full]
        self._mark_waiting(ready, targets)
        for prompt in full:
            self._refused.add(prompt.row_id)
            self._nursery.start_soon(self._refuse, prompt, targets[self._to.place(prompt.prepared)])
        last = {(self._to.place(one.prepared), one.dispatched_to): one for one in ready}
        for (place, _), prompt in last.items():
            await self._to.ownership_tx.send(
                ownership.RowReady(
                    row_id=prompt.row_id,
                    place=place,
                    dispatched_to=prompt.dispatched_to,
                )
            )
            self._notify_if_nobody_is_there(prompt.prepared, targets[place])

    def _mark_waiting(self, ready: list[Prompt], targets: Targets) -> None:
        """Whoever has to wait for a turn in flight, or for one before it here, sees it landed."""
        busy = {one.session_id for one in targets.values() if one is not None and one.busy}
        for prompt in ready:
            target = targets[self._to.place(prompt.prepared)]
            if target is None or target.capacity is None:
                continue
            if target.session_id in busy:
                self._marks.put(prompt.prepared.message_id)
            busy.add(target.session_id)

    async def _refuse(self, prompt: Prompt, target: ownership.ChatTarget | None) -> None:
        """Notify the sender that the lane is full. Until that is done the row is not closed."""
        text = strings.LANE_FULL.format(
            alias=target.alias if target else "", count=ownership.WAITING_ROWS_MAX
        )
        message = prompt.prepared
        delivered = await self._answers.deliver(message.message_id, message.chat_id, text, "full")
        await self._to.intake_tx.send(intake.RefusalSent(row_id=prompt.row_id, delivered=delivered))

    async def refused(self, message: intake.RefusalSent) -> bool:
        """Close the row whose sender was notified.

        Return whether it is to be read again: its sender could not be notified.
        """
        if message.delivered:
            await close_row(
                self._to.journal_tx,
                message.row_id,
                RowState.ANSWERED,
                history.LANE_FULL,
                self._now_ms(),
            )
        self._refused.discard(message.row_id)
        return not message.delivered

    def _prepared(self, message: MessageReceived, content: Content) -> Prepared:
        prepared = _prepared(self._account, message, content)
        if self._is_admin(message.sender_id):
            # Proxies take a typed answer to a question without a turn from an admin alone.
            prepared.meta["sender_role"] = "admin"
        return prepared

    def _notify_if_nobody_is_there(
        self, message: Prepared, target: ownership.ChatTarget | None
    ) -> None:
        if target is None or target.live:
            return
        now, place = self._now_ms(), self._to.place(message)
        if now - self._noticed.get(place, -NOTICE_EVERY_MS) < NOTICE_EVERY_MS:
            return
        if len(self._noticed) >= NOTICED_PLACES_MAX:
            self._noticed.pop(next(iter(self._noticed)))
        self._noticed[place] = now
        text = strings.NO_SESSION
        if self._agents:
            text = text.joined(strings.NO_SESSION_START_ONE.format(agent=self._agents[0]))
        self._answers.send(message.message_id, message.chat_id, text, "nobody")


def _prepared(account: AccountId, message: MessageReceived, content: Content) -> Prepared:
    return Prepared(
        chat_id=message.chat_id,
        message_id=message.message_id,
        sender_id=message.sender_id,
        chat_type=message.chat_type,
        content=content.markdown,
        meta=_meta(account, message),
        attachments=content.attachments,
        topic=message.topic,
    )


def _prepared_comment(account: AccountId, comment: CommentAdded) -> Prepared:
    place = comments.Place(comment.file_type, comment.file_token, comment.comment_id)
    message_id = comments.message_id_of(comment.reply_id or comment.comment_id)
    meta = {
        "kind": comments.KIND,
        "account": account,
        "chat_id": place.chat_id,
        "message_id": message_id,
        "chat_type": "p2p",
        "sender_id": comment.sender_id,
        "file_type": comment.file_type,
        "file_token": comment.file_token,
        "comment_id": comment.comment_id,
    }
    if comment.create_time_ms is not None:
        meta["create_time"] = str(comment.create_time_ms)
    return Prepared(
        chat_id=place.chat_id,
        message_id=message_id,
        sender_id=comment.sender_id,
        chat_type="p2p",
        content="",
        meta=meta,
    )


def _meta(account: AccountId, message: MessageReceived) -> dict[str, str]:
    known = {
        "kind": "message",
        "account": account,
        "chat_id": message.chat_id,
        "message_id": message.message_id,
        "chat_type": message.chat_type,
        "sender_id": message.sender_id,
        "create_time": None if message.create_time_ms is None else str(message.create_time_ms),
        "thread_id": message.thread_id,
        "parent_id": message.parent_id,
        "root_id": message.root_id,
    }
    return {key: value for key, value in known.items() if value is not None}

"""What waits before it becomes ready: in each place a queue, in order of receipt.

Part of the prompts, which alone use it. A prompt waits for what it carries, for what came
before it in its place, and while more messages may join it (``protocol.routing.joining``).
A command not carried out yet keeps back what came after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec

from actors.messages import journal
from actors.messages.journal import PreparedRow
from protocol.ids import MessageId, OpenId, PlaceKey, RowId, SessionId
from protocol.routing import joining
from protocol.routing.delivery import Prompt


class HeldPrompt(msgspec.Struct, eq=False):
    """A prompt on its way to ``ready``."""

    rows: list[PreparedRow]
    first_row: RowId
    """Of the first message, also when that was recalled."""
    fetching: set[RowId] = msgspec.field(default_factory=set)
    """Those of which not all they carry is here."""
    window: joining.Window | None = None
    """While it is there more messages may join."""
    closes_at_s: float = 0.0
    """When the window does, on the loop's clock."""
    bound: bool = False
    """Whether the session it is for is settled: the one its chat was on when its turn came."""
    dispatched_to: SessionId | None = None
    """That session, where it was settled some time ago."""
    capacity: journal.Capacity | None = None
    """Of where it goes; None: as many may wait as come."""

    @property
    def row_ids(self) -> tuple[RowId, ...]:
        return tuple(row.row_id for row in self.rows)

    @property
    def prompt(self) -> Prompt:
        """What its first message holds, and where it came from."""
        return self.rows[0].prompt

    def fetched(self, fetched: PreparedRow) -> None:
        """All that a row carries is here."""
        self.fetching.discard(fetched.row_id)
        self.rows = [fetched if row.row_id == fetched.row_id else row for row in self.rows]

    def leave_out(self, message_id: MessageId) -> RowId | None:
        """Take out the row of this message, if it has one here; the next one leads then."""
        for row in self.rows:
            if row.prompt.message_id == message_id:
                self.rows.remove(row)
                self.fetching.discard(row.row_id)
                return row.row_id
        return None

    @property
    def complete(self) -> bool:
        return self.window is None and not self.fetching


class _Barrier(msgspec.Struct):
    """A command not carried out yet: what came after it follows what it changes."""

    row_id: RowId
    done: bool = False


class HeldPrompts:
    """The held prompts of one account."""

    def __init__(self) -> None:
        self._queues: dict[PlaceKey, deque[HeldPrompt | _Barrier]] = {}
        self._rows: set[RowId] = set()

    def __contains__(self, row_id: RowId) -> bool:
        return row_id in self._rows

    def __len__(self) -> int:
        """Return how many rows are held."""
        return len(self._rows)

    def is_free(self, place: PlaceKey) -> bool:
        """Whether nothing is before what comes there now."""
        return place not in self._queues

    def holds(self, place: PlaceKey) -> bool:
        """Whether a prompt, not only a command, is before what comes there now."""
        return next(self._prompts(place), None) is not None

    def add(self, place: PlaceKey, prompt: HeldPrompt) -> None:
        self._queues.setdefault(place, deque()).append(prompt)
        self._rows.update(prompt.row_ids)

    def join(
        self, place: PlaceKey, sender_id: OpenId, row: PreparedRow, at_ms: int
    ) -> HeldPrompt | None:
        """Let a message join the prompt whose window is open for it; None: it is one alone."""
        for prompt in self._prompts(place):
            if prompt.window is None:
                continue
            longer = joining.joined(prompt.window, sender_id, at_ms)
            if longer is not None:
                prompt.window = longer
                prompt.rows.append(row)
                self._rows.add(row.row_id)
                return prompt
        return None

    def add_barrier(self, place: PlaceKey, row_id: RowId) -> None:
        self._queues.setdefault(place, deque()).append(_Barrier(row_id))

    def lift_barrier(self, place: PlaceKey, row_id: RowId) -> None:
        for one in self._queues.get(place, ()):
            if isinstance(one, _Barrier) and one.row_id == row_id:
                one.done = True

    def fetched(self, place: PlaceKey, row: PreparedRow) -> None:
        """What this message carries is here."""
        for prompt in self._prompts(place):
            prompt.fetched(row)

    def leave_out(self, message_id: MessageId) -> PlaceKey | None:
        """A message was recalled: the next one of its prompt leads. Return where it was."""
        for place, queue in self._queues.items():
            for prompt in self._prompts(place):
                row_id = prompt.leave_out(message_id)
                if row_id is not None:
                    self._rows.discard(row_id)
                    if not prompt.rows:
                        queue.remove(prompt)
                    return place
        return None

    # ── windows ─────────────────────────────────────────────────────────────

    def close_windows(self, place: PlaceKey) -> None:
        for prompt in self._prompts(place):
            prompt.window = None

    def next_due_s(self) -> float | None:
        """Return when the first window closes, on the loop's clock; None: none is open."""
        return min((prompt.closes_at_s for _, prompt in self._open()), default=None)

    def close_due(self, now_s: float) -> list[PlaceKey]:
        """Close the windows whose time is over; return where."""
        due = [(place, prompt) for place, prompt in self._open() if prompt.closes_at_s <= now_s]
        for _, prompt in due:
            prompt.window = None
        return [place for place, _ in due]

    def _open(self) -> list[tuple[PlaceKey, HeldPrompt]]:
        return [
            (place, prompt)
            for place in self._queues
            for prompt in self._prompts(place)
            if prompt.window is not None
        ]

    # ── in order ────────────────────────────────────────────────────────────

    def unbound(self, place: PlaceKey) -> list[HeldPrompt]:
        """Return the prompts that no command is before, and that are not bound yet."""
        found: list[HeldPrompt] = []
        for one in self._queues.get(place, ()):
            if isinstance(one, HeldPrompt):
                found += [] if one.bound else [one]
            elif not one.done:
                break
        return found

    def take_ready(self, place: PlaceKey) -> list[HeldPrompt]:
        """Take out, in order, what waits for nothing any more."""
        queue = self._queues.get(place, deque())
        taken: list[HeldPrompt] = []
        while queue:
            first = queue[0]
            if isinstance(first, HeldPrompt):
                if not (first.complete and first.bound):
                    return taken
                self._rows.difference_update(first.row_ids)
                taken.append(first)
            elif not first.done:
                return taken
            queue.popleft()
        self._queues.pop(place, None)
        return taken

    def _prompts(self, place: PlaceKey) -> Iterator[HeldPrompt]:
        return (one for one in self._queues.get(place, ()) if isinstance(one, HeldPrompt))

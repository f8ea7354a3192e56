"""What was seen of a daemon that is killed again and again, and whether it kept its promises.

Pure: :func:`violations` reads a list of what happened, in the order in which it was seen
from outside, and names every promise of the ownership page that it breaks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec


class Seen(msgspec.Struct, frozen=True):
    """Something seen from outside."""


class Started(Seen, frozen=True):
    generation: int


class Leased(Seen, frozen=True):
    """The lease as a status gave it."""

    epoch: int
    owner: str | None


class Sent(Seen, frozen=True):
    """Somebody has written; the platform pushes it from now on."""

    event: str
    chat: str


class Accepted(Seen, frozen=True):
    """The platform saw the event acked."""

    event: str


class Delivered(Seen, frozen=True):
    session: str
    event: str
    attempt: int
    epoch: int


class Settled(Seen, frozen=True):
    """An ack was handled while its sender still held the channel at the same epoch."""

    event: str


class Refused(Seen, frozen=True):
    """The sender was answered that too many messages wait."""

    event: str


class Stored(Seen, frozen=True):
    """A row of the journal at the end, in the order of receipt."""

    event: str
    chat: str
    state: str


def violations(history: Sequence[Seen]) -> list[str]:
    """Name every broken promise; none is an empty list."""
    return [
        *_generations(history),
        *_epochs(history),
        *_targets(history),
        *_attempts(history),
        *_settled(history),
        *_order(history),
        *_losses(history),
    ]


def _generations(history: Sequence[Seen]) -> Iterator[str]:
    starts = [one.generation for one in history if isinstance(one, Started)]
    if starts != list(range(1, len(starts) + 1)):
        yield f"generations do not count the starts: {starts}"


def _epochs(history: Sequence[Seen]) -> Iterator[str]:
    owners: dict[int, str | None] = {0: None}
    highest = 0
    for one in history:
        if not isinstance(one, Leased):
            continue
        if one.epoch < highest:
            yield f"the epoch went down from {highest} to {one.epoch}"
        highest = max(highest, one.epoch)
        if owners.setdefault(one.epoch, one.owner) != one.owner:
            yield f"epoch {one.epoch} had two owners: {owners[one.epoch]} and {one.owner}"


def _targets(history: Sequence[Seen]) -> Iterator[str]:
    owners = {one.epoch: one.owner for one in history if isinstance(one, Leased)}
    for one in history:
        if isinstance(one, Delivered) and owners.get(one.epoch) != one.session:
            yield (
                f"{one.event} (attempt {one.attempt}) went to {one.session} at epoch"
                f" {one.epoch}, which was {owners.get(one.epoch, 'nobody seen')}'s"
            )


def _attempts(history: Sequence[Seen]) -> Iterator[str]:
    last: dict[str, int] = {}
    for one in history:
        if isinstance(one, Delivered):
            if one.attempt <= last.get(one.event, 0):
                yield f"{one.event} came with attempt {one.attempt} after {last[one.event]}"
            last[one.event] = max(one.attempt, last.get(one.event, 0))


def _settled(history: Sequence[Seen]) -> Iterator[str]:
    settled: set[str] = set()
    for one in history:
        match one:
            case Settled(event=event):
                settled.add(event)
            case Delivered(event=event, attempt=attempt) if event in settled:
                yield f"{event} was acked and came again with attempt {attempt}"


def _order(history: Sequence[Seen]) -> Iterator[str]:
    """Per chat: first deliveries follow the receipt, and the receipt what the platform saw."""
    place = {
        one.event: number
        for number, one in enumerate(one for one in history if isinstance(one, Stored))
    }
    chat_of = {one.event: one.chat for one in history if isinstance(one, Sent)}
    delivered: dict[str, str] = {}
    accepted: dict[str, set[str]] = {}
    met: set[str] = set()
    for one in history:
        match one:
            case Accepted(event=event):
                accepted.setdefault(chat_of[event], set()).add(event)
            case Sent(event=event, chat=chat):
                for earlier in accepted.get(chat, ()):
                    if {event, earlier} <= place.keys() and place[earlier] > place[event]:
                        yield f"{earlier} was accepted before {event} was sent, and stored after"
            case Delivered(event=event) if event in place and event not in met:
                met.add(event)
                chat = chat_of[event]
                before = delivered.get(chat)
                if before is not None and place[before] > place[event]:
                    yield f"{event} was received before {before} and first delivered after it"
                delivered[chat] = event


def _losses(history: Sequence[Seen]) -> Iterator[str]:
    rows = [one for one in history if isinstance(one, Stored)]
    stored = {one.event for one in rows}
    if len(stored) != len(rows):
        yield "an event has two rows"
    sent = {one.event for one in history if isinstance(one, Sent)}
    delivered = {one.event for one in history if isinstance(one, Delivered)}
    accepted = {one.event for one in history if isinstance(one, Accepted)}
    for event in sorted(sent - accepted):
        yield f"{event} was never accepted, though the platform pushed it to the end"
    for event in sorted(accepted - stored):
        yield f"{event} was accepted and is not in the journal"
    refused = {one.event for one in history if isinstance(one, Refused)}
    for event in sorted(accepted - delivered - refused):
        yield f"{event} was accepted and never delivered"
    for row in rows:
        if row.state not in {"delivered", "answered"}:
            yield f"{row.event} is {row.state} at the end"

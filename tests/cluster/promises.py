"""Whether a run kept what the specification promises of several machines. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.cluster import audit
from tests.cluster.driver import Run
from tests.faults import history
from tests.faults.history import Delivered
from tests.kit.starvation import STARVED_MAX

BAND: Final = 1 << 24
QUIET_AFTER_S: Final = 2.5
"""From a holder's cut on: it starts nothing after 1.5 s, and cuts what runs within 1 s."""
SERVED_WITHIN_S: Final = 5.0
STARVED_LATE_S: Final = 1.0
"""So long a starved process may wait for a processor between its look at the clock and a call."""


def violations(run: Run) -> list[str]:
    """Name every broken promise; none is an empty list."""
    return [
        *history.violations(_without_late_frames(run)),
        *_deliveries(run),
        *audit.violations(run.audit),
        *_rows(run),
        *_cards(run),
        *_calls(run),
        *_times(run),
    ]


def _without_late_frames(run: Run) -> list[history.Seen]:
    """Leave out what an old holder's frames brought after its successor's.

    It had offered them while it held the cluster; they were on their way meanwhile.
    """
    term_of = {(one.event, one.attempt): one.term for one in run.given}
    newest: dict[str, int] = {}
    kept: list[history.Seen] = []
    for one in run.history:
        if isinstance(one, Delivered):
            term = term_of[one.event, one.attempt]
            if term < newest.get(one.event, 0):
                continue
            newest[one.event] = term
        kept.append(one)
    return kept


def _deliveries(run: Run) -> Iterator[str]:
    seen: set[tuple[str, int]] = set()
    for one in run.given:
        if (one.event, one.attempt) in seen:
            yield f"attempt {one.attempt} at {one.event} was delivered twice"
        seen.add((one.event, one.attempt))


def _rows(run: Run) -> Iterator[str]:
    for event, state in run.rows:
        if state in {"received", "ready", "offered"}:
            yield f"{event} is {state} at rest"


def _cards(run: Run) -> Iterator[str]:
    for card_id in run.running_10s_later if run.starved_at_end <= STARVED_MAX else ():
        yield f"card {card_id} ran 10 s after the last fault"
    for card in run.cards:
        if card["streaming"] and card["message_id"] is not None:
            yield f"card {card['card_id']} runs at rest"
    for card_id, sequences in run.sequences.items():
        bands = [sequence // BAND for sequence in sequences]
        if bands != sorted(bands):
            yield f"card {card_id} accepted a lower band after a higher one: {bands}"


def _calls(run: Run) -> Iterator[str]:
    """Who was cut off is silent 2.5 s later; who was followed, from then on."""
    for node, calls in run.calls.items():
        for at, call in calls:
            claimed = [(when, who) for when, who in run.claims if when <= at]
            if not claimed or claimed[-1][1] == node:
                continue
            late_s = at - claimed[-1][0]
            if late_s > _tolerated_s(run, claimed[-1][0]):
                yield f"{node} began {call} {late_s:.2f} s after {claimed[-1][1]} had claimed"
    for one in run.troubles:
        if one.kind != "cut from the database":
            continue
        until = min([one.ended, *(at for at, who in run.claims if at > one.began)])
        for at, call in run.calls[one.node]:
            if one.began + QUIET_AFTER_S + _tolerated_s(run, one.began) < at < until:
                yield f"{one.node} began {call} {at - one.began:.2f} s after it was cut off"


def _tolerated_s(run: Run, at: float) -> float:
    """Return how late a call may be seen that was begun in time, in the trouble of that time."""
    starved = [one.starved for one in run.troubles if one.began <= at]
    return STARVED_LATE_S if starved and starved[-1] > STARVED_MAX else 0.0


def _times(run: Run) -> Iterator[str]:
    for one in run.troubles:
        if one.successor is None or one.starved > STARVED_MAX:
            continue
        # A holder that is cut off and knows no standby stays frozen, for a minute at most: it
        # has nobody to ask, and proxies stay with it until it reaches the database again.
        reached_s = 0.0 if one.standby_known else one.ended - one.began
        for what, seconds, from_s in (
            ("first ack", one.acked_s, 0.0),
            ("last registration", one.registered_s, reached_s),
        ):
            if seconds is not None and seconds - from_s > SERVED_WITHIN_S:
                yield f"{what} {seconds:.1f} s after {one.kind!r} of {one.node}"

"""The checker finds what it is there to find: a history for each broken promise."""

from __future__ import annotations

import pytest

from tests.faults.history import (
    Accepted,
    Delivered,
    Leased,
    Seen,
    Sent,
    Settled,
    Started,
    Stored,
    violations,
)

KEPT: list[Seen] = [
    Started(1),
    Leased(1, "boss"),
    Sent("e1", "oc_1"),
    Accepted("e1"),
    Sent("e2", "oc_1"),
    Delivered("boss", "e1", 1, 1),
    Settled("e1"),
    Delivered("boss", "e2", 1, 1),
    Leased(2, "mate"),
    Delivered("mate", "e2", 2, 2),
    Accepted("e2"),
    Started(2),
    Leased(2, "mate"),
    Delivered("mate", "e2", 4, 2),
    Stored("e1", "oc_1", "answered"),
    Stored("e2", "oc_1", "delivered"),
]


def test_a_history_that_keeps_every_promise_is_clean() -> None:
    assert violations(KEPT) == []


def with_it(at: int, *more: Seen) -> list[Seen]:
    return [*KEPT[:at], *more, *KEPT[at:]]


def without(*unwanted: Seen) -> list[Seen]:
    return [one for one in KEPT if one not in unwanted]


@pytest.mark.parametrize(
    ("history", "broken"),
    [
        (without(Started(1)), "generations do not count the starts: [2]"),
        (with_it(9, Leased(0, None)), "the epoch went down from 2 to 0"),
        (with_it(9, Leased(2, "boss")), "epoch 2 had two owners: mate and boss"),
        (
            with_it(13, Delivered("boss", "e2", 3, 2)),
            "e2 (attempt 3) went to boss at epoch 2, which was mate's",
        ),
        (
            with_it(13, Delivered("mate", "e2", 3, 9)),
            "e2 (attempt 3) went to mate at epoch 9, which was nobody seen's",
        ),
        (with_it(13, Delivered("mate", "e2", 2, 2)), "e2 came with attempt 2 after 2"),
        (with_it(13, Delivered("mate", "e2", 1, 2)), "e2 came with attempt 1 after 2"),
        (
            with_it(13, Delivered("mate", "e1", 2, 2)),
            "e1 was acked and came again with attempt 2",
        ),
        (
            [*KEPT[:-2], KEPT[-1], KEPT[-2]],
            "e1 was accepted before e2 was sent, and stored after",
        ),
        (
            [
                *with_it(5, Sent("e3", "oc_1"), Delivered("boss", "e3", 1, 1), Accepted("e3")),
                Stored("e3", "oc_1", "answered"),
            ],
            "e1 was received before e3 and first delivered after it",
        ),
        (
            without(Accepted("e2")),
            "e2 was never accepted, though the platform pushed it to the end",
        ),
        (
            without(Stored("e1", "oc_1", "answered")),
            "e1 was accepted and is not in the journal",
        ),
        ([*KEPT, Stored("e1", "oc_1", "answered")], "an event has two rows"),
        (
            without(Delivered("boss", "e1", 1, 1), Settled("e1")),
            "e1 was accepted and never delivered",
        ),
        ([*KEPT[:-1], Stored("e2", "oc_1", "offered")], "e2 is offered at the end"),
    ],
)
def test_each_broken_promise_is_named(history: list[Seen], broken: str) -> None:
    assert broken in violations(history)

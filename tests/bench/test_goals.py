"""A run of the cards' bench is judged by its goals; one that counts for nothing has no figures."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bench.goals import NEVER_S, Contestant, Figures, missed_by, side_by_side

GOOD = Figures(
    turns=100,
    opened=100,
    calls=3_700,
    megabytes=2.5,
    limited=0,
    stale_p50_s=0.9,
    stale_p99_s=1.8,
    first_words_s=1.5,
    final_p50_s=1.0,
    final_s=2.2,
    by_api={},
    incomplete=0,
    live=0,
    cpu_s=30.0,
    deltas=300_000,
    lag_s=0.01,
    share=1.0,
)


def but(**changes: Any) -> Figures:
    return msgspec.structs.replace(GOOD, **changes)


@pytest.mark.parametrize(
    ("figures", "turns", "missed"),
    [
        (GOOD, 100, []),
        (but(final_s=1.0), 10, ["age of text p50, s 0.9 instead of 0.4"]),
        (but(stale_p50_s=1.3), 100, ["age of text p50, s 1.3 instead of 1.2"]),
        (but(stale_p99_s=3.6), 100, ["age p99, s 3.6 instead of 3.5"]),
        (but(first_words_s=NEVER_S), 100, ["first words of all, s 1e+09 instead of 2.5"]),
        (but(final_s=3.2), 100, ["last end shown, s 3.2 instead of 3.1"]),
        (but(final_s=5.0), 200, []),
        (but(limited=1), 100, ["rate-limit answers 1 instead of 0"]),
        (but(opened=98), 100, ["turns without a card 2 instead of 0"]),
        (
            but(incomplete=2, live=1),
            200,
            ["turns without all their text 2 instead of 0", "cards left live 1 instead of 0"],
        ),
        (but(stale_p50_s=9.0, stale_p99_s=9.0, first_words_s=9.0), 200, []),
        (but(share=0.9), 100, ["not valid: the generator lagged (10 ms, 90% of the tokens sent)"]),
        (but(is_record_full=True), 100, ["not valid: the platform's record of calls was full"]),
        (None, 100, ["it did not end in time"]),
    ],
)
def test_every_goal_that_is_missed_is_named(
    figures: Figures | None, turns: int, missed: list[str]
) -> None:
    assert missed_by(figures, turns) == missed


def column(figures: Figures | None, *, is_judged: bool = True) -> Contestant:
    return Contestant(turns=100, name="it", figures=figures, is_judged=is_judged)


def test_one_table_has_all_figures_and_none_of_a_run_that_counts_for_nothing() -> None:
    columns = [
        column(GOOD),
        column(but(limited=7, first_words_s=NEVER_S), is_judged=False),
        column(but(lag_s=0.3)),
        column(None),
    ]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in side_by_side(columns).splitlines()
    ]
    assert {len(row) for row in rows} == {5}
    cells = {name: row for name, *row in rows}
    assert (
        cells["age of the newest text on those, p50 / p99"]
        == ["0.9 s / 1.8 s"] * 2 + ["not valid"] * 2
    )
    assert cells["first words of the last turn"][:2] == ["1.5 s", "never"]
    assert cells["rate-limit answers"] == ["0", "7", "not valid", "not valid"]
    assert cells["calls a turn"][0] == "37.0"
    assert cells["sent a turn"][0] == "25 kB"
    assert cells["CPU s per 1,000 tokens"][0] == "0.100"
    assert cells["run"] == [
        "valid",
        "valid",
        "NOT VALID: the generator lagged (300 ms, 100% of the tokens sent)",
        "NOT VALID: it did not end in time",
    ]


def test_larkd_alone_is_judged() -> None:
    limited = but(limited=7)
    assert column(limited).verdict() == "MISSED: rate-limit answers 7 instead of 0"
    assert column(limited, is_judged=False).verdict() == "valid"

"""What the reader's bench makes of a card's updates."""

from __future__ import annotations

import pytest

from bench.reader import Typewriter, Update, read

TEN_A_SECOND = Typewriter(step=1, every_s=0.1)


def test_text_that_is_typed_until_the_next_update_never_stands_still() -> None:
    updates = [Update(float(second), 10 * (second + 1), typed=True) for second in range(10)]
    reading = read(updates, TEN_A_SECOND, 0.0, 10.0)
    assert reading.characters == 100
    assert reading.frozen_s == 0
    assert reading.jumps == ()


def test_what_was_not_typed_in_time_jumps() -> None:
    updates = [Update(0.0, 50, typed=True), Update(1.0, 100, typed=True)]
    reading = read(updates, TEN_A_SECOND, 0.0, 2.0)
    assert reading.jumps == (40,), "ten of the fifty were typed"
    assert reading.characters == 60


def test_whole_updates_jump_and_freeze() -> None:
    updates = [Update(0.0, 30, typed=False), Update(4.0, 60, typed=False)]
    reading = read(updates, TEN_A_SECOND, 0.0, 5.0)
    assert reading.jumps == (30, 30)
    assert reading.per_second == (0, 0, 0, 30, 0), "what is there from the start was not awaited"
    assert reading.longest_freeze_s == pytest.approx(4.0)
    assert reading.frozen_s == pytest.approx(5.0)
    assert reading.characters_per_s == 6


def test_text_that_is_typed_sooner_than_the_next_comes_freezes_for_the_rest() -> None:
    updates = [Update(0.0, 10, typed=True), Update(3.0, 20, typed=True)]
    reading = read(updates, TEN_A_SECOND, 0.0, 4.0)
    assert reading.frozen_s == pytest.approx(2.0)
    assert reading.jumps == ()


def test_only_what_comes_while_it_is_watched_counts() -> None:
    updates = [Update(0.0, 10, typed=False), Update(1.0, 30, typed=True)]
    reading = read(updates, TEN_A_SECOND, 2.0, 3.0)
    assert reading.characters == 10

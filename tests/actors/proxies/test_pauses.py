"""How long a proxy waits between two rounds, by number."""

from __future__ import annotations

from typing import Final

import pytest

from actors.proxies.pauses import Round, RoundPauses

FRACTIONS: Final = (0.0, 0.5, 1.0)


def pauses(came: Round, count: int, *, fraction: float) -> list[float]:
    of = RoundPauses(addresses=2)
    return [of.after(came, fraction) for _ in range(count)]


def test_while_a_standby_answers_250_ms_double_to_half_a_second_jitter_included() -> None:
    assert pauses("standing by", 4, fraction=0.0) == [0.25, 0.5, 0.5, 0.5]
    assert pauses("standing by", 4, fraction=1.0) == [0.3125, 0.5, 0.5, 0.5]


def test_while_nobody_answers_they_double_to_5_s() -> None:
    assert pauses("nobody", 7, fraction=0.0) == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_what_somebody_has_to_put_right_is_tried_each_minute_at_the_latest() -> None:
    assert pauses("refused", 10, fraction=1.0)[-1] == 60.0


@pytest.mark.parametrize("fraction", FRACTIONS)
def test_a_standby_that_answers_ends_long_pauses_at_once(fraction: float) -> None:
    of = RoundPauses(addresses=2)
    for _ in range(8):
        of.after("nobody", fraction)
    assert of.after("standing by", fraction) == 0.5
    assert of.after("standing by", fraction) == 0.5


def test_who_was_served_begins_anew_or_waits_as_long_as_the_daemon_wants() -> None:
    of = RoundPauses(addresses=1)
    for _ in range(8):
        of.after("nobody", 0.0)
    assert of.after("served", 0.0) == 0.25
    assert of.after("served", 0.0, wanted_s=3.0) == 3.0


def test_a_machine_that_is_gone_takes_a_second_of_a_round_where_there_are_others() -> None:
    """A connection over a slow way is made all the same: later rounds wait for longer."""
    of = RoundPauses(addresses=2)
    waited = []
    for _ in range(5):
        waited.append(of.connect_within_s)
        of.after("nobody", 0.0)
    assert waited == [1.0, 2.0, 4.0, 5.0, 5.0]
    of.after("standing by", 0.0)
    assert of.connect_within_s == 1.0
    assert RoundPauses(addresses=1).connect_within_s == 5.0

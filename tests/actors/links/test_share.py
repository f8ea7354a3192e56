"""Who stays within his share never waits; beyond it others go first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.kit.heavy import REST
from actors.links.share import (
    ACK_S,
    DELTA_S,
    FIRST_S,
    MESSAGE_S,
    PER_S,
    REQUEST_S,
    SAVED_S_MAX,
    SETTLED_FROM_S,
    Share,
)


def test_an_agent_that_streams_and_asks_now_and_then_never_waits() -> None:
    share = Share(0.0)
    for number in range(10_000):
        now = number / 50
        assert share.use(MESSAGE_S, now) == 0.0
        if not number % 25:
            assert share.use(REQUEST_S, now) == 0.0


def test_text_that_comes_ten_times_as_fast_as_a_model_writes_never_waits() -> None:
    share = Share(0.0)
    assert not any(share.use(DELTA_S, number / 500) for number in range(10_000))


def test_a_channel_session_is_delivered_a_thousand_messages_a_second() -> None:
    share, settled_s = Share(0.0), 0.0
    for number in range(1_000):  # one each ms
        settled_s += share.use(MESSAGE_S + ACK_S, number / 1_000)
    assert settled_s * (1 + REST) < 1


def test_what_was_not_used_is_there_later_and_has_an_end() -> None:
    share = Share(0.0)
    assert share.use(SAVED_S_MAX + SETTLED_FROM_S / 2, 3_600.0) == 0.0
    assert share.use(SETTLED_FROM_S, 3_600.0) > 0


@given(
    st.lists(st.tuples(st.sampled_from((DELTA_S, MESSAGE_S, ACK_S, REQUEST_S)), st.floats(0, 0.1)))
)
def test_nobody_uses_more_than_his_share_without_a_wait(asked: list[tuple[float, float]]) -> None:
    share, now, used, settled = Share(0.0), 0.0, 0.0, 0.0
    for cost_s, later_s in asked:
        now += later_s
        used += cost_s
        settled += share.use(cost_s, now)
    assert used - settled <= FIRST_S + now * PER_S + SETTLED_FROM_S + 1e-9

"""What JSON may carry and no frame can."""

from __future__ import annotations

from protocol.wire.encodable import encodable


def test_half_a_surrogate_pair_becomes_a_question_mark_wherever_it_stands() -> None:
    half = "a\ud800"
    assert encodable({half: [half, ("b", {"c": half}), 1, None]}) == {
        "a?": ["a?", ["b", {"c": "a?"}], 1, None]
    }

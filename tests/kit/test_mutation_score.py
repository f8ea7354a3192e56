"""The score of the mutation tests is of what was tried."""

from __future__ import annotations

import pytest

from tests.kit.mutation_score import Score, main, scores

PRINTED = """
    protocol.ids.x_place_key__mutmut_1: killed
    protocol.ids.x_place_key__mutmut_2: survived
    protocol.ids.x_place_key__mutmut_3: not checked
    protocol.wire.link.xǁLinkǁfeed__mutmut_12: timeout
    protocol.wire.link.xǁLinkǁfeed__mutmut_13: no tests
"""


def test_each_module_has_its_score() -> None:
    assert scores(PRINTED.splitlines()) == {
        "protocol.ids": Score(seen=1, tried=2),
        "protocol.wire.link": Score(seen=1, tried=2),
    }


def test_the_exit_status_is_whether_the_goal_is_met(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(PRINTED.splitlines()) == 1
    assert "all" in capsys.readouterr().out
    killed = [f"    protocol.ids.x_f__mutmut_{number}: killed" for number in range(9)]
    assert main([*killed, "    protocol.ids.x_f__mutmut_9: survived"]) == 0
    assert main([*killed[1:], "    protocol.ids.x_f__mutmut_9: survived"]) == 1
    assert main([]) == 2

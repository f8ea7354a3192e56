"""A status fits a frame; what is left out of it is counted."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.routing.status import SHORT_CHARACTERS_MAX, STATUS_BYTES_MAX, bounded


def status(metadata: list[dict[str, str]], bindings: dict[str, str]) -> dict[str, Any]:
    return {
        "lease_epoch": 3,
        "sessions": [
            {"sessionId": f"s{number}", "metadata": one} for number, one in enumerate(metadata)
        ],
        "bindings": bindings,
    }


def test_what_fits_is_as_it_is() -> None:
    whole = status([{"cwd": "/w", "x": "y"}], {"oc_1": "s0"})
    assert bounded(whole) == whole
    assert "left_out" not in bounded(whole)


def test_metadata_that_does_not_fit_is_short_and_counted() -> None:
    long = {"cwd": "/" + "w" * 200, "x": "y" * 200, "agent": "codex"}
    found = bounded(status([{"x": "y"}, long, {"alias": "z"}], {}), bytes_max=100)
    first, second, third = (one["metadata"] for one in found["sessions"])
    assert first == {"x": "y"}
    assert second == {"cwd": ("/" + "w" * 200)[:SHORT_CHARACTERS_MAX], "agent": "codex"}
    assert third == {"alias": "z"}
    assert found["left_out"] == {"metadata_of_sessions": 2}
    assert [one["sessionId"] for one in found["sessions"]] == ["s0", "s1", "s2"]


def test_bindings_that_do_not_fit_are_counted() -> None:
    found = bounded(status([], {f"oc_{number}": "s" for number in range(10)}), bytes_max=45)
    assert found["bindings"] == {"oc_0": "s", "oc_1": "s", "oc_2": "s"}
    assert found["left_out"] == {"bindings": 7}


def test_the_status_given_is_not_changed() -> None:
    given = status([{"x": "y" * 200}], {"oc": "s"})
    before = msgspec.msgpack.encode(given)
    bounded(given, bytes_max=1)
    assert msgspec.msgpack.encode(given) == before


def test_a_status_of_many_fits_a_frame() -> None:
    many = status(
        [{"x": "y" * 1_024}] * 5_000, {f"oc_{number}": "s" * 100 for number in range(50_000)}
    )
    found = bounded(many)
    assert len(msgspec.msgpack.encode(found)) < 3 * STATUS_BYTES_MAX
    assert set(found["left_out"]) == {"metadata_of_sessions", "bindings"}

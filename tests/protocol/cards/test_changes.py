"""A batch of changes makes of what is shown what is wanted, as the platform carries it out."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from protocol.cards.changes import batch, changes, element

TEXTS = st.sampled_from(["", "a", "b"])
SIZES = st.fixed_dictionaries({}, optional={"text_size": st.sampled_from(["normal", "notation"])})


def markdown(element_id: str) -> st.SearchStrategy[dict[str, Any]]:
    fixed = {"tag": st.just("markdown"), "element_id": st.just(element_id), "content": TEXTS}
    return st.builds(dict.__or__, SIZES, st.fixed_dictionaries(fixed))


INSIDE = st.tuples(markdown("x")) | st.tuples(markdown("x"), markdown("y"))
PANEL = st.fixed_dictionaries(
    {
        "tag": st.just("collapsible_panel"),
        "element_id": st.just("panel"),
        "expanded": st.booleans(),
        "elements": INSIDE.map(list),
    },
    optional={"header": TEXTS},
)
COLUMN = st.fixed_dictionaries(
    {"tag": st.just("column"), "width": TEXTS, "elements": st.tuples(markdown("z")).map(list)}
)
COLUMNS = st.fixed_dictionaries(
    {"tag": st.just("column_set"), "columns": st.tuples(COLUMN).map(list)}
)
RULE = st.fixed_dictionaries({"tag": st.just("hr"), "margin": TEXTS})
CARD = st.tuples(markdown("answer"), PANEL, COLUMNS, RULE).map(list)


def carried_out(shown: list[dict[str, Any]], actions: str) -> list[dict[str, Any]]:
    card: list[dict[str, Any]] = json.loads(json.dumps(shown))
    for action in json.loads(actions):
        params = action["params"]
        there = element(card, params["element_id"])
        assert there is not None
        if action["action"] == "update_element":
            there.clear()
            there.update(params["element"])
        else:
            assert action["action"] == "partial_update_element"
            there.update(params["partial_element"])
    return card


@given(CARD, CARD)
def test_changes_of_single_elements_bring_what_is_shown_to_what_is_wanted(
    shown: list[dict[str, Any]], wanted: list[dict[str, Any]]
) -> None:
    found = changes(shown, wanted)
    *_, columns, rule = zip(shown, wanted, strict=True)
    widths = {one["columns"][0]["width"] for one in columns}
    if rule[0] != rule[1] or len(widths) > 1:
        assert found is None, "no call changes a rule, or the shape of columns"
        return
    assert found is not None
    assert carried_out(shown, batch(found)) == wanted
    if shown == wanted:
        assert found == []


@given(CARD, CARD)
def test_elements_that_come_or_go_need_another_card(
    shown: list[dict[str, Any]], wanted: list[dict[str, Any]]
) -> None:
    assert changes(shown, wanted[1:]) is None
    assert changes(shown, [wanted[1], wanted[0], *wanted[2:]]) is None


@given(CARD)
def test_of_one_property_that_changes_only_that_is_sent(card: list[dict[str, Any]]) -> None:
    wanted = [{**card[0], "content": "new"}, {**card[1], "expanded": not card[1]["expanded"]}]
    found = changes(card[:2], wanted)
    assert found is not None
    assert [(one.element_id, one.properties, one.whole) for one in found] == [
        ("answer", {"content": "new"}, False),
        ("panel", {"expanded": not card[1]["expanded"]}, False),
    ]


def test_a_panel_that_loses_a_property_and_gains_an_element_is_replaced_whole() -> None:
    rule, line = {"tag": "hr", "margin": "a"}, {"tag": "markdown", "element_id": "x", "content": ""}
    panel = {"tag": "collapsible_panel", "element_id": "panel", "expanded": True}
    shown = [{**panel, "header": "a", "elements": [line]}]
    wanted = [{**panel, "elements": [line, rule]}]
    found = changes(shown, wanted)
    assert found is not None
    assert carried_out(shown, batch(found)) == wanted

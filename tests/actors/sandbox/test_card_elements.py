"""Changing parts of a card: batches, single elements, their refusals, and who counts them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.actors.sandbox.test_conformance import CARDS, Setup, card, markdown, open_app
from tests.kit.loopback import loopback_clock


@pytest.fixture
def clock() -> MockClock:
    """Of the tests that ask for it: none passes by itself, and minutes go by at once."""
    return loopback_clock()


PANEL = {
    "tag": "collapsible_panel",
    "element_id": "tools",
    "header": {"title": {"tag": "plain_text", "element_id": "title", "content": "Tools"}},
    "elements": [markdown("one", "line1")],
}


async def shown(app: Setup, card_id: str) -> dict[str, Any]:
    found: dict[str, Any] = next(
        one for one in await app.platform.cards() if one["card_id"] == card_id
    )
    return found


async def batch(app: Setup, card_id: str, sequence: int, *actions: Any, **more: Any) -> int:
    listed = [{"action": name, "params": params} for name, params in actions]
    path = f"{CARDS}/{card_id}/batch_update"
    return await app.code("POST", path, actions=json.dumps(listed), sequence=sequence, **more)


def partial(element_id: str, /, **change: Any) -> tuple[str, dict[str, Any]]:
    return "partial_update_element", {"element_id": element_id, "partial_element": change}


async def test_a_batch_changes_text_structure_and_settings_in_one_step() -> None:
    async with open_app() as app:
        card_id = await app.create_card(markdown("a"), PANEL)
        added = {"type": "append", "target_element_id": "tools"}
        assert (
            await batch(
                app,
                card_id,
                1,
                partial("answer", content="ab"),
                ("add_elements", {**added, "elements": [markdown("two", "line2")]}),
                partial("title", content="Tools (2)"),
                ("update_element", {"element_id": "line1", "element": markdown("ONE", "line1")}),
                ("partial_update_setting", {"settings": {"config": {"summary": {"content": "s"}}}}),
            )
            == 0
        )
        answer, panel = (await shown(app, card_id))["card"]["body"]["elements"]
        assert answer["content"] == "ab"
        assert panel["header"]["title"]["content"] == "Tools (2)"
        assert [one["content"] for one in panel["elements"]] == ["ONE", "two"]
        assert (await shown(app, card_id))["card"]["config"]["summary"] == {"content": "s"}
        assert await batch(app, card_id, 2, ("delete_elements", {"element_ids": ["tools"]})) == 0
        assert await batch(app, card_id, 3, partial("line1", content="x")) == 300313


@pytest.mark.parametrize(
    ("action", "code"),
    [
        (partial("ghost", content="x"), 300313),
        (partial("answer", tag="div"), 300312),
        (partial("answer", colour="red"), 200621),
        (partial("answer", content="x" * 31_000), 200860),
        (partial("answer", element_id="tools"), 300301),
        (("partial_update_element", {"element_id": "answer", "partial_element": "x"}), 300313),
        (("update_element", {"element_id": "ghost", "element": markdown()}), 300121),
        (("update_element", {"element_id": "answer", "element": []}), 300121),
        (("delete_elements", {"element_ids": ["answer", "ghost"]}), 300314),
        (("add_elements", {"type": "insert_after", "elements": [markdown("", "z")]}), 300315),
        (
            (
                "add_elements",
                {"type": "append", "target_element_id": "answer", "elements": [markdown("", "z")]},
            ),
            300315,
        ),
        (("add_elements", {"elements": [markdown("", f"e{n}") for n in range(200)]}), 300305),
        (("partial_update_setting", {"settings": "{}"}), 300122),
        (("partial_update_setting", {"settings": {"config": {"colour": 1}}}), 300122),
        (("partial_update_setting", {"settings": {"config": {"update_multi": False}}}), 300302),
        (("paint", {}), 10002),
    ],
)
async def test_a_refused_action_leaves_the_card_and_its_sequence(action: Any, code: int) -> None:
    async with open_app() as app:
        card_id = await app.create_card(markdown("a"), PANEL)
        before = await shown(app, card_id)
        assert await batch(app, card_id, 5, partial("answer", content="changed"), action) == code
        assert await shown(app, card_id) == before
        assert await batch(app, card_id, 5, partial("answer", content="changed")) == 0


async def test_single_elements_are_replaced_patched_added_and_deleted() -> None:
    async with open_app() as app:
        path = f"{CARDS}/{await app.create_card(markdown('a'), PANEL)}/elements"
        element = json.dumps(markdown("b"))
        assert await app.code("PUT", f"{path}/answer", element=element, sequence=1) == 0
        assert await app.code("PUT", f"{path}/ghost", element=element, sequence=2) == 300121
        part = json.dumps({"content": "c"})
        assert await app.code("PATCH", f"{path}/answer", partial_element=part, sequence=2) == 0
        assert await app.code("PATCH", f"{path}/ghost", partial_element=part, sequence=3) == 300313
        line = json.dumps([{"tag": "hr", "element_id": "line"}])
        assert (
            await app.code(
                "POST",
                path,
                type="insert_before",
                target_element_id="tools",
                elements=line,
                sequence=3,
            )
            == 0
        )
        assert await app.code("DELETE", f"{path}/line", sequence=4) == 0
        assert await app.code("DELETE", f"{path}/line", sequence=5) == 300314
        assert await app.code("PATCH", f"{path}/answer", partial_element="{", sequence=5) == 10002
        gone = f"{CARDS}/7000000000000000000/elements/answer"
        assert await app.code("PATCH", gone, partial_element=part, sequence=5) == 200740


async def test_a_uuid_holds_for_the_same_content_only() -> None:
    async with open_app() as app:
        card_id = await app.create_card()
        for sequence in (1, 1, 7):
            same = await batch(app, card_id, sequence, partial("answer", content="a"), uuid="u")
            assert same == 0, "the same call under one uuid happens once and succeeds each time"
        assert await batch(app, card_id, 8, partial("answer", content="b"), uuid="u") == 200770
        assert (await shown(app, card_id))["sequence"] == 1
        content = f"{CARDS}/{card_id}/elements/answer/content"
        assert await app.code("PUT", content, content="ab", sequence=8, uuid="v") == 0
        assert await app.code("PUT", content, content="abc", sequence=9, uuid="v") == 200770


async def test_a_batch_can_open_streaming_again(clock: MockClock) -> None:
    async with open_app() as app:
        card_id = await app.create_card()
        await trio.sleep(10.5 * 60)
        content = f"{CARDS}/{card_id}/elements/answer/content"
        assert await app.code("PUT", content, content="a", sequence=1) == 200850
        on = {"settings": {"config": {"streaming_mode": True}}}
        assert (
            await batch(
                app, card_id, 1, partial("answer", content="a"), ("partial_update_setting", on)
            )
            == 0
        )
        assert await app.code("PUT", content, content="ab", sequence=2) == 0


async def test_only_content_is_typed() -> None:
    async with open_app() as app:
        card_id = await app.create_card()
        content = f"{CARDS}/{card_id}/elements/answer/content"
        assert await app.code("PUT", content, content="a", sequence=1) == 0
        assert (await shown(app, card_id))["typed"] == {"answer": 1}
        whole = {"type": "card_json", "data": card(markdown("a"), {"tag": "hr"})}
        assert await app.code("PUT", f"{CARDS}/{card_id}", card=whole, sequence=2) == 0
        assert (await shown(app, card_id))["typed"] == {"answer": 1}, "its text is the same"
        assert await batch(app, card_id, 3, partial("answer", content="ab")) == 0
        assert (await shown(app, card_id))["typed"] == {}


# ── who counts ──────────────────────────────────────────────────────────────


async def test_each_endpoint_has_a_quota_of_its_own(clock: MockClock) -> None:
    async with open_app() as app:
        await app.platform.post("limits", quota={"per_second": 3}, per_card_second=1_000)
        path = f"{CARDS}/{await app.create_card(streaming_mode=False)}"
        part, sequence = json.dumps({"content": "x"}), iter(range(1, 100))

        async def patch() -> int:
            elements = f"{path}/elements/answer"
            return await app.code("PATCH", elements, partial_element=part, sequence=next(sequence))

        assert [await patch() for _ in range(4)] == [0, 0, 0, 99991400]
        assert (
            await batch(
                app, path.rpartition("/")[2], next(sequence), partial("answer", content="y")
            )
            == 0
        )
        (used,) = (
            one
            for one in (await app.platform.get("limits"))["usage"]
            if one["api"].startswith("PATCH ")
        )
        assert (used["last_minute"], used["refused"]) == (3, 1)


async def test_the_minute_slides(clock: MockClock) -> None:
    async with open_app() as app:
        api = "GET /open-apis/bot/v3/info"
        await app.platform.post("limits", apis={api: {"per_minute": 2}})
        info = "/open-apis/bot/v3/info"
        assert [await app.code("GET", info) for _ in range(3)] == [0, 0, 99991400]
        refused = await app.call("GET", info)
        assert 58 <= int(refused.headers["x-ogw-ratelimit-reset"]) <= 60
        assert refused.headers["x-ogw-ratelimit-limit"] == "2"
        await app.platform.post("limits", apis={})
        assert await app.code("GET", info) == 0


async def test_updates_of_a_streaming_card_can_be_exempt_until_it_closes(clock: MockClock) -> None:
    async with open_app() as app:
        settings = {"streaming_exempt": True, "per_card_second": 1_000}
        await app.platform.post("limits", quota={"per_second": 2}, **settings)
        path = f"{CARDS}/{await app.create_card()}"
        content = f"{path}/elements/answer/content"
        for sequence in range(1, 7):
            assert await app.code("PUT", content, content="x" * sequence, sequence=sequence) == 0
        off = json.dumps({"config": {"streaming_mode": False}})
        assert await app.code("PATCH", f"{path}/settings", settings=off, sequence=7) == 0
        part = {"partial_element": json.dumps({"content": "x"})}
        codes = [
            await app.code("PATCH", f"{path}/elements/answer", sequence=sequence, **part)
            for sequence in range(8, 11)
        ]
        assert codes == [0, 0, 99991400]


async def test_a_limit_that_makes_no_sense_is_refused() -> None:
    async with open_app() as app:
        answer = await app.platform.http.post(
            f"{app.platform.base_url}/sandbox/limits", json={"quota": {"per_second": 0}}
        )
        assert answer.status_code == 400
        assert "per_second" in answer.json()["error"]

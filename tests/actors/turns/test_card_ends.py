"""A card ends whatever was refused on the way, and nothing on it is lost or repeated."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import msgspec
import pytest
import trio

from actors.messages import gateway, journal, lane, turn
from actors.turns import TypingMark, repair_cards
from protocol.cards.changes import element
from protocol.ids import CardId, MessageId, TurnId
from protocol.platform.outcomes import (
    Gone,
    MissingScope,
    NoAnswer,
    Outcome,
    RateLimited,
    Rejected,
    TooLarge,
)
from protocol.wire.messages import Delta, FileDiff, Plan, PlanEntry, ToolEvent
from tests.actors.turns.shown import CARD_UPDATES, after, content
from tests.actors.turns.test_turns import ACCOUNT, ANSWER_S, World, open_world, opening

pytestmark = pytest.mark.virtual_time

TEXT_CALLS = (gateway.ElementContent, gateway.BatchUpdate, gateway.PatchElement)


def tool(call_id: str, **fields: Any) -> ToolEvent:
    return ToolEvent(turn_id="t", call_id=call_id, **fields)


def is_text(operation: gateway.Operation) -> bool:
    return isinstance(operation, TEXT_CALLS)


# ── the end waits for nothing ───────────────────────────────────────────────


@pytest.mark.parametrize("code", [99991400, 230020])
async def test_the_end_does_not_wait_for_a_limit_on_text(code: int) -> None:
    def script(operation: gateway.Operation) -> Outcome | None:
        return (
            RateLimited(code=code, message="slow down", retry_after_s=60.0)
            if is_text(operation)
            else None
        )

    async with open_world(script) as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await trio.sleep(1)
        await world.stream("held up")
        await trio.sleep(3)
        await world.receive(turn.Stop(reason="user"))
        await trio.sleep(3 * ANSWER_S)
        assert (world.answer(), world.is_final()) == ("held up", True)


async def test_a_final_state_is_given_up_after_minutes_and_kept_for_the_next_start() -> None:
    def script(operation: gateway.Operation) -> Outcome | None:
        return NoAnswer(reason="down") if isinstance(operation, gateway.UpdateCard) else None

    async with open_world(script) as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await trio.sleep(1)
        await world.stream("shown; ")
        await trio.sleep(1)
        await world.end(text="not shown")
        await trio.sleep(270)
        assert world.texts() == [], "still tried"
        await trio.sleep(60)
        (rest,) = world.texts()
        assert rest.endswith("not shown")
        assert "shown; " not in rest
        assert world.ledger == {"card1": None}, "the next start repairs it"


# ── ticks ───────────────────────────────────────────────────────────────────


async def test_the_footer_ticks_once_a_second_whatever_the_round_trip() -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        for kind in CARD_UPDATES:
            world.answers_after_s[kind] = 0.15
        nursery.start_soon(world.show)
        await trio.sleep(8.5)
        ticks = [one for one in world.done if isinstance(one, CARD_UPDATES)]
        assert 7 <= len(ticks) <= 8
        assert {type(one) for one in ticks} == {gateway.BatchUpdate}
        await world.end()


async def test_no_tick_goes_alone_while_text_goes() -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await trio.sleep(0.5)
        for _ in range(50):
            await world.stream("word ")
            await trio.sleep(0.1)
        changed = [
            {action["params"]["element_id"] for action in json.loads(one.actions_json)}
            for one in world.of(gateway.BatchUpdate)
        ]
        assert 3 <= len(changed) <= 6, "one a second"
        assert all(one == {"answer", "footer"} for one in changed)
        assert len(world.of(gateway.ElementContent)) > len(changed)
        assert world.last_card()["body"]["elements"][-1]["columns"][0]["elements"][0][
            "i18n_content"
        ].keys() == {"en_us", "zh_cn"}
        await world.end()


async def test_text_spills_over_to_what_is_granted_and_only_grows() -> None:
    for grants in range(4):
        async with open_world() as world, trio.open_nursery() as nursery:
            world.grants = grants
            nursery.start_soon(world.show)
            for number in range(30):
                await world.stream(f"{number} ")
                await trio.sleep(0.2)
            await world.end()
            await trio.sleep(1)
            for before, after in zip(world.answers, world.answers[1:], strict=False):
                assert after.startswith(before)
            assert world.answers[-1] == "".join(f"{number} " for number in range(30))


# ── too large ───────────────────────────────────────────────────────────────


def small_platform(world: World, bytes_max: int) -> None:
    """Let the platform take no card larger than this, by whichever call."""

    def script(operation: gateway.Operation) -> Outcome | None:
        card = None
        if isinstance(operation, gateway.CreateCard):
            card = json.loads(operation.card_json)
        elif isinstance(operation, CARD_UPDATES):
            card = after(world.shows[operation.card_id], operation)
        if card is not None and len(json.dumps(card, ensure_ascii=False).encode()) > bytes_max:
            return TooLarge(code=200860, message="Card content exceeds limit.")
        return None

    world.script = script


@pytest.mark.parametrize("bytes_max", [2_500, 4_000, 6_000])
async def test_panels_too_large_for_the_platform_shrink(bytes_max: int) -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        small_platform(world, bytes_max)
        nursery.start_soon(world.show)
        await trio.sleep(1)
        await world.stream("a short answer")
        entries = [PlanEntry(content="step " * 15, status="pending")] * 30
        await world.receive(Plan(turn_id="t", entries=entries))
        for number in range(40):
            await world.receive(
                tool(f"c{number}", name="Read", summary="x" * 100, status="success")
            )
        await world.receive(Delta(turn_id="t", text="why " * 900, channel="reasoning"))
        await trio.sleep(5)
        await world.end()
        await trio.sleep(10)
        assert (world.answer(), world.is_final()) == ("a short answer", True)
        assert world.footer().startswith("Done · ")
        assert world.ledger == {"card1": "complete"}
        assert world.texts() == []


async def test_a_card_that_takes_nothing_more_ends_as_a_card_and_the_rest_follows() -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await world.stream("on the card; ")
        await trio.sleep(2)
        shown = len(json.dumps(world.last_card(), ensure_ascii=False).encode())
        small_platform(world, shown)
        await world.stream("not on it " * 200)
        await world.end()
        await trio.sleep(10)
        assert world.is_final()
        assert world.footer() == "Continued below"
        assert world.answer() == "on the card; "
        assert "".join(world.texts()).split() == ("not on it " * 200).split()
        assert set(world.ledger.values()) == {"complete"}


async def test_a_card_is_sealed_when_it_is_really_full() -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        text = "".join(f"paragraph {number} of it\n\n" for number in range(2_000))
        await world.stream(text)
        await world.end()
        await trio.sleep(10)
        sizes = [len(json.dumps(card).encode()) for card in world.shows.values()]
        assert len(sizes) == -(-len(text) // 25_000), "and not twice as many"
        assert max(sizes) <= 30 * 1024
        assert "".join(content(card, "answer") for card in world.shows.values()) == text


# ── lost cards ──────────────────────────────────────────────────────────────


async def test_a_lost_card_repeats_nothing_that_can_be_read_on_it() -> None:
    lost = False

    def script(operation: gateway.Operation) -> Outcome | None:
        gone = lost and isinstance(operation, CARD_UPDATES)
        return Gone(code=200750, message="expired") if gone else None

    async with open_world(script) as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await world.stream("```py\nread = 1\n")
        await trio.sleep(2)
        lost = True
        await world.stream("more = 2\n```\nend")
        await world.end()
        await trio.sleep(5)
        assert world.texts() == ["```py\nmore = 2\n```\nend"], "its code block is opened again"
        footers = [
            json.loads(one.content_json)["body"]["elements"][1]["content"]
            for one in world.of(gateway.ReplyMessage)[1:]
        ]
        assert [one[:4] for one in footers] == ["Done"]


async def test_what_may_be_on_a_lost_card_is_marked_as_that() -> None:
    calls = iter([NoAnswer(reason="cut"), Gone(code=200750, message="expired")])

    def script(operation: gateway.Operation) -> Outcome | None:
        return next(calls) if is_text(operation) else None

    async with open_world(script) as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await trio.sleep(0.5)
        await world.stream("perhaps shown")
        await trio.sleep(3)
        await world.end()
        await trio.sleep(3)
        (message,) = world.texts()
        assert message.startswith("(The card could not be updated.")
        assert message.endswith("perhaps shown")


async def test_a_scope_lost_in_the_middle_of_a_turn_is_asked_for_and_the_rest_follows() -> None:
    url = "https://open.feishu.cn/app/cli_x/auth?q=cardkit:card:write"
    missing = MissingScope(code=99991672, message="no scope", scopes=("x",), grant_url=url)
    lost = False

    def script(operation: gateway.Operation) -> Outcome | None:
        return missing if lost and isinstance(operation, CARD_UPDATES) else None

    async with open_world(script) as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await world.stream("on the card")
        await trio.sleep(2)
        lost = True
        await world.stream(" and beside")
        await trio.sleep(2)
        assert sum(url in text for text in world.texts()) == 1
        await world.end()
        await trio.sleep(3)
        assert world.texts()[-1] == " and beside"
        assert world.ledger == {"card1": None}, "repaired when the scope is back"
        assert cards_lost(world) == 1


def cards_lost(world: World) -> int:
    """How often the lane was notified that no card shows the turn's end."""
    count = 0
    while world.lane_rx.statistics().current_buffer_used:
        count += isinstance(world.lane_rx.receive_nowait(), lane.CardLost)
    return count


async def test_a_card_that_was_sent_without_an_answer_ends_too() -> None:
    def script(operation: gateway.Operation) -> Outcome | None:
        if isinstance(operation, gateway.ReplyMessage) and "card_id" in operation.content_json:
            world.done.append(operation)  # it was sent
            return NoAnswer(reason="cut")
        return None

    async with open_world(script) as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await world.stream("all of it")
        await trio.sleep(90)
        await world.end()
        await trio.sleep(5)
        assert world.is_final()
        assert content(world.last_card(), "answer") == ""
        assert world.footer() == "Continued below"
        assert world.texts() == ["all of it"]
        assert world.ledger == {"card1": "lost", "text:t": "complete"}


@pytest.mark.parametrize(
    "refusal",
    [
        Gone(code=200740, message="no such card"),
        MissingScope(code=99991672, message="", scopes=("cardkit:card:write",), grant_url="u"),
    ],
)
async def test_a_card_that_was_given_up_ends_all_the_same_when_it_can(refusal: Outcome) -> None:
    """It may be there although the platform has answered that it is gone; a scope may come back."""
    left: list[Outcome] = []

    def script(operation: gateway.Operation) -> Outcome | None:
        return left.pop() if left and isinstance(operation, CARD_UPDATES) else None

    async with open_world(script) as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await trio.sleep(1)
        await world.stream("read on the card; ")
        await trio.sleep(0.8)
        left.append(refusal)
        await world.stream("and this below\n\n")
        await trio.sleep(15)
        assert world.is_final(), "while its turn goes on"
        assert world.answer() == "read on the card; "
        assert world.footer() == "Continued below"
        await world.end()
        await trio.sleep(2)
        assert "and this below\n\n" in world.texts()
        assert world.ledger == {CardId("card1"): "lost"}


async def test_a_card_that_may_have_been_sent_ends_beside_the_messages_that_replace_it() -> None:
    """The text does not wait for it, nor is the card given up before five minutes."""
    up = trio.Event()

    def script(operation: gateway.Operation) -> Outcome | None:
        if isinstance(operation, gateway.ReplyMessage) and "card_id" in operation.content_json:
            return NoAnswer(reason="cut")
        is_update = isinstance(operation, gateway.UpdateCard)
        return NoAnswer(reason="down") if is_update and not up.is_set() else None

    async with open_world(script) as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await world.end(text="all of it")
        await trio.sleep(95)
        (text,) = world.texts()
        assert text.endswith("all of it")
        # The other entry had the text while no card was sent.
        assert world.ledger == {"card1": None, "text:t": "complete"}
        await trio.sleep(165)
        up.set()
        await trio.sleep(15)
        assert not world.shows[CardId("card1")]["config"]["streaming_mode"]
        assert world.ledger[CardId("card1")] == "lost"


async def test_a_card_that_is_refused_for_its_size_ends_as_soon_as_it_is_taken() -> None:
    """Not the first refusal leaves it to the next start."""
    small = True

    def script(operation: gateway.Operation) -> Outcome | None:
        if small and isinstance(operation, gateway.UpdateCard):
            return TooLarge(code=200860, message="over its size")
        return None

    async with open_world(script) as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await trio.sleep(1)
        await world.stream("read on the card")
        await trio.sleep(1)
        await world.end()
        await trio.sleep(60)
        assert world.shows[CardId("card1")]["config"]["streaming_mode"]
        small = False
        await trio.sleep(20)
        assert not world.shows[CardId("card1")]["config"]["streaming_mode"]
        assert world.ledger[CardId("card1")] == "lost"


# ── plain replies ───────────────────────────────────────────────────────────


@pytest.mark.parametrize("answered", [True, False])
async def test_a_stop_in_static_mode_is_answered_once(answered: bool) -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show, "static")
        await world.stream("shown\n\n")
        await trio.sleep(2)
        await world.receive(turn.Stop(reason="user", answered=answered))
        await trio.sleep(3)
        stopped = [] if answered else ["Stopped current task."]
        assert world.texts() == ["shown\n\n", *stopped]


async def test_a_message_that_may_be_there_goes_again_as_it_was() -> None:
    """Its uuid stands for its content: the mark of the end is a message of its own then."""
    cut = trio.CancelScope()

    def script(operation: gateway.Operation) -> Outcome | None:
        return NoAnswer(reason="cut") if isinstance(operation, gateway.ReplyMessage) else None

    async with open_world(script) as world, trio.open_nursery() as nursery:
        with cut:
            async with trio.open_nursery() as turns:
                turns.start_soon(world.show, "static")
                await world.stream("shown\n\n")
                await trio.sleep(3)
                await world.end()
                await trio.sleep(1)
                world.script = lambda _operation: None
                cut.cancel()
        contents: dict[str, set[str]] = {}
        for one in world.tried:
            if isinstance(one, gateway.ReplyMessage):
                contents.setdefault(one.uuid, set()).add(one.content_json)
        assert all(len(each) == 1 for each in contents.values())
        assert world.texts() == ["shown\n\n", "Done · 3.0s"]
        nursery.cancel_scope.cancel()


async def test_a_turn_that_fell_back_to_messages_notifies_its_lane_and_stops_with_a_message() -> (
    None
):
    def script(operation: gateway.Operation) -> Outcome | None:
        refused = isinstance(operation, gateway.CreateCard)
        return Rejected(code=300302, message="no") if refused else None

    async with open_world(script) as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await trio.sleep(1)
        assert cards_lost(world) == 1
        await world.receive(turn.Stop(reason="user"))
        await trio.sleep(2)
        assert world.texts() == ["Stopped current task."]


@pytest.mark.parametrize(("text", "messages"), [("all of it\n\n", 2), ("all of it", 1)])
async def test_the_end_of_plain_replies_is_marked(text: str, messages: int) -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show, "static")
        await world.stream(text)
        await trio.sleep(2)
        await world.end()
        await trio.sleep(2)
        sent = [json.loads(one.content_json) for one in world.of(gateway.ReplyMessage)]
        assert len(sent) == messages
        last = sent[-1]["body"]["elements"][-1]["content"]
        assert last.startswith("Done · ")
        assert world.texts()[0] == text


# ── the ledger ──────────────────────────────────────────────────────────────


async def crash(world: World) -> journal.LedgerEntry:
    """What the ledger has of a turn in the middle, two seconds after its last word."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await trio.sleep(1)
        await world.receive(
            Plan(turn_id="t", entries=[PlanEntry(content="look", status="in_progress")])
        )
        await world.receive(Delta(turn_id="t", text="hm, so", channel="reasoning"))
        await world.receive(tool("1", name="Read", kind="read", summary="a.py", status="running"))
        for number in range(20):
            await world.stream(f"word{number} ")
            await trio.sleep(0.1)
        await trio.sleep(2)
        (entry,) = world.entries.values()
        await world.end()
        return entry


async def test_a_repaired_card_has_all_that_was_noted() -> None:
    async with open_world() as world:
        entry = await crash(world)
    assert entry.term == 1
    async with open_world() as world:
        world.peers = msgspec.structs.replace(world.peers, term=3)
        world.entries[entry.card_id] = entry
        world.shows[entry.card_id] = {"body": {"elements": []}}
        await repair_cards(world.peers)
        card = world.shows[entry.card_id]
        assert content(card, "answer") == "".join(f"word{number} " for number in range(20))
        assert content(card, "plan") == "⏳ look"
        assert content(card, "reasoning") == "hm, so"
        assert content(card, "tools").startswith("❌ 📖 **Read**: a.py"), "it runs no more"
        assert content(card, "note") == "Interrupted by a restart."
        assert content(card, "footer").startswith("🛑 Stopped · ")
        (repair,) = world.of(gateway.UpdateCard)
        assert repair.sequence == 2 * 2**24 + 1
        assert world.ledger[entry.card_id] == "aborted"


@pytest.mark.parametrize("fails", [gateway.CreateCard, gateway.UpdateCard])
async def test_text_that_stands_on_no_card_yet_survives_a_crash(
    fails: type[gateway.Operation],
) -> None:
    """Whether the next card can't be opened, or the first one not be updated."""
    text = "\n\n".join(f"Paragraph {number}. " + "words " * 40 for number in range(400))
    down = True

    def script(operation: gateway.Operation) -> Outcome | None:
        if down and isinstance(operation, fails) and world.shows:
            return NoAnswer(reason="down")
        return None

    async with open_world(script) as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await trio.sleep(1)
        await world.stream(text)
        await trio.sleep(2)
        entries, shows = dict(world.entries), dict(world.shows)
        assert len(entries) == 1, "each card's entry is closed when the next one has taken over"
        await world.end()
        down = False

    async with open_world() as world:
        world.peers = msgspec.structs.replace(world.peers, term=3)
        world.entries.update(entries)
        world.shows.update(shows)
        await repair_cards(world.peers)
        read = "".join(content(card, "answer") for card in world.shows.values())
        assert squeezed(read + "".join(world.texts()[:-1])) == squeezed(text)
        (opened,) = entries
        assert content(world.shows[opened], "footer") == "Continued below"
        assert world.texts()[-1] == "Interrupted by a restart."
        assert world.ledger[opened] == "aborted"


@pytest.mark.parametrize("fails", [gateway.CreateCard, gateway.ReplyMessage])
async def test_text_of_a_turn_whose_first_card_is_not_there_yet_survives_a_crash(
    fails: type[gateway.Operation],
) -> None:
    """Whether it can't be created, or not be sent."""
    down = True

    def script(operation: gateway.Operation) -> Outcome | None:
        return NoAnswer(reason="down") if down and isinstance(operation, fails) else None

    async with open_world(script) as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await world.stream("seen by nobody yet")
        await trio.sleep(2)
        entries, shows = dict(world.entries), dict(world.shows)
        down = False
        await world.end()

    async with open_world() as world:
        world.entries.update(entries)
        world.shows.update(shows)
        await repair_cards(world.peers)
        assert world.texts() == ["seen by nobody yet", "Interrupted by a restart."]


async def test_text_is_noted_with_its_card_as_soon_as_that_is_sent() -> None:
    """What was noted while there was none is closed."""
    down = True

    def script(operation: gateway.Operation) -> Outcome | None:
        is_create = isinstance(operation, gateway.CreateCard)
        return NoAnswer(reason="down") if down and is_create else None

    async with open_world(script) as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await world.stream("on a card at last")
        await trio.sleep(2)
        down = False
        await trio.sleep(10)
        assert world.ledger == {"text:t": "complete", "card1": None}
        assert world.entries[CardId("card1")].text == "on a card at last"
        await world.end()


def squeezed(text: str) -> str:
    return "".join(text.split())


async def test_what_is_shown_is_noted_every_two_seconds_and_not_without_need() -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await trio.sleep(1)
        for number in range(12):
            await world.stream(f"{number} ")
            await trio.sleep(0.5)
            shown = "".join(f"{one} " for one in range(number - 3))
            assert world.entries[CardId("card1")].text.startswith(shown)
        await trio.sleep(3)
        noted = world.notes
        await trio.sleep(60)
        assert world.notes == noted, "nothing has changed"
        assert noted <= 8
        await world.end()


async def test_a_card_of_more_than_127_terms_ago_counts_as_gone() -> None:
    async with open_world() as world:
        entry = await crash(world)
    async with open_world() as world:
        world.peers = msgspec.structs.replace(world.peers, term=200)
        world.entries[entry.card_id] = entry
        await repair_cards(world.peers)
        assert world.of(gateway.UpdateCard) == []
        assert world.ledger[entry.card_id] == "lost"


async def test_a_start_with_a_journal_that_fails_repairs_what_it_learns_of_later() -> None:
    """It may fail to list the entries, and to close them; the start itself does not wait."""

    def script(operation: gateway.Operation) -> Outcome | None:
        world.disk_full = world.disk_full or isinstance(operation, gateway.UpdateCard)
        return None

    async with open_world() as world:
        entry = await crash(world)
    async with open_world(script) as world, trio.open_nursery() as nursery:
        world.peers = msgspec.structs.replace(world.peers, term=3)
        world.entries[entry.card_id] = entry
        world.shows[entry.card_id] = {"body": {"elements": []}}
        world.marks[MessageId("om_user"), entry.turn_id] = "re_1"
        world.disk_full = True
        began = trio.current_time()
        await nursery.start(repair_cards, world.peers)
        assert trio.current_time() - began <= 3
        await trio.sleep(30)
        assert world.of(gateway.UpdateCard) == []
        world.disk_full = False
        await trio.sleep(30)
        assert world.ledger.get(entry.card_id) is None, "it failed again as the card was shown"
        world.disk_full = False
        await trio.sleep(30)
        assert world.ledger[entry.card_id] == "aborted"
        assert len(world.of(gateway.UpdateCard)) == 1
        assert world.marks == {}


@pytest.mark.parametrize(("in_a_cluster", "most_s"), [(False, 3.0), (True, 1.0)])
async def test_the_start_waits_for_no_repair_and_the_connection_for_some_seconds(
    in_a_cluster: bool, most_s: float
) -> None:
    down = True

    def script(operation: gateway.Operation) -> Outcome | None:
        is_down = down and isinstance(operation, gateway.UpdateCard)
        return NoAnswer(reason="down") if is_down else None

    async with open_world() as world:
        entry = await crash(world)
    for waits_s in (most_s, 0.0):
        down = waits_s > 0
        async with open_world(script) as world, trio.open_nursery() as nursery:
            world.entries[entry.card_id] = entry
            world.shows[entry.card_id] = {"body": {"elements": []}}
            passed = trio.Event()
            began = trio.current_time()
            peers = msgspec.structs.replace(world.peers, may_be_followed=in_a_cluster)
            await nursery.start(partial(repair_cards, peers, first_pass=passed))
            assert trio.current_time() == began
            await passed.wait()
            assert trio.current_time() - began == pytest.approx(waits_s, abs=0.5)
            nursery.cancel_scope.cancel()


async def test_a_card_that_could_not_be_entered_is_entered_once_the_journal_can() -> None:
    """Else nobody would know of it after a crash; and no Typing mark is put without an entry."""
    async with open_world() as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        world.disk_full = True
        await trio.sleep(10)
        await world.stream("Hello")
        assert world.shows, "people don't wait for the journal"
        assert (world.ledger, world.reactions) == ({}, [])
        world.disk_full = False
        await trio.sleep(10)
        (entry,) = world.entries.values()
        assert (entry.text, entry.message_id) == ("Hello", MessageId("om_2"))
        await world.end()
    assert world.ledger == {"card1": "complete"}
    assert world.marks == {}


@pytest.mark.parametrize("is_shown", [False, True])
async def test_a_card_of_this_run_is_repaired_unless_it_has_an_actor(is_shown: bool) -> None:
    """Lanes that ended in the middle of a call that hung leave one, and run again."""
    async with open_world() as world:
        entry = await crash(world)
        world.entries[entry.card_id] = entry
        world.ledger.pop(entry.card_id, None)
        if is_shown:
            world.peers.showing.add((entry.session_id, entry.turn_id))
        before = len(world.tried)
        await repair_cards(world.peers)
        assert (len(world.tried) > before) is not is_shown
        assert world.ledger.get(entry.card_id) == (None if is_shown else "aborted")


# ── the Typing mark ─────────────────────────────────────────────────────────


async def test_a_mark_that_is_put_after_the_end_is_taken_away() -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        world.answers_after_s[gateway.AddReaction] = 8.0
        nursery.start_soon(world.show)
        await world.end(text="quick")
        await trio.sleep(2)
        assert world.is_final()
        assert list(world.marks) == [("om_user", "t")], "known before it is there"
        await trio.sleep(10)
        assert len(world.of(gateway.AddReaction)) == 1
        assert (world.reactions, world.marks) == ([], {})


async def test_the_mark_goes_as_the_turn_ends_and_not_after_its_card() -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        world.answers_after_s[gateway.UpdateCard] = 9.0
        nursery.start_soon(world.show)
        await trio.sleep(1)
        assert world.reactions
        await world.receive(turn.Stop(reason="user"))
        await trio.sleep(1)
        assert world.reactions == []


async def test_removing_the_mark_is_tried_again() -> None:
    failures = iter([NoAnswer(reason="x"), NoAnswer(reason="x")])

    def script(operation: gateway.Operation) -> Outcome | None:
        return next(failures, None) if isinstance(operation, gateway.RemoveReaction) else None

    async with open_world(script) as world:
        await world.end(text="hi")
        await world.show()
        assert (world.reactions, world.marks) == ([], {})


async def test_a_later_attempts_end_does_not_forget_the_earlier_ones_call() -> None:
    unanswered = iter([NoAnswer(reason="still on its way")])

    def script(operation: gateway.Operation) -> Outcome | None:
        return next(unanswered, None) if isinstance(operation, gateway.AddReaction) else None

    async with open_world(script) as world:
        first, second = (
            TypingMark(ACCOUNT, MessageId("om_user"), TurnId(turn_id), world.peers)
            for turn_id in ("t_1", "t_2")
        )
        await first.put()
        await second.put()
        await first.clear()
        await second.clear()
        assert world.reactions == []
        assert world.marks == {("om_user", "t_1"): None}, "it may still come"
        world.reactions = ["re_9"]
        await repair_cards(world.peers)
        assert (world.reactions, world.marks) == ([], {})


@pytest.mark.parametrize("reaction_id", [None, "re_9"])
async def test_a_mark_left_by_a_crash_is_taken_away_at_the_start(reaction_id: str | None) -> None:
    async with open_world() as world:
        world.reactions = ["re_9"]
        world.marks = {(MessageId("om_user"), TurnId("t")): reaction_id}
        await repair_cards(world.peers)
        assert (world.reactions, world.marks) == ([], {})


# ── a turn that is silent, and one of the session's own ─────────────────────


async def test_a_turn_without_anything_new_reports_it_once() -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await world.stream("working on it")
        await trio.sleep(299)
        assert "nothing new" not in world.footer()
        await trio.sleep(20)
        assert world.footer().endswith(" · nothing new for 5 min")
        notice = "api has shown nothing for 5 min. Send stop to end it."
        assert world.texts() == [notice]
        await world.stream(", still")
        await trio.sleep(10)
        assert "nothing new" not in world.footer()
        await trio.sleep(900)
        assert world.texts() == [notice], "once"
        await world.end()


async def test_a_turn_of_the_sessions_own_goes_to_the_chat_under_its_title() -> None:
    async with open_world() as world:
        own = msgspec.structs.replace(opening(), message_id=None, title="*Tests* are done")
        await world.end(text="all green")
        await world.show_opening(own)
        (sent,) = world.of(gateway.CreateMessage)
        assert sent.chat_id == "oc_1"
        assert world.of(gateway.ReplyMessage) == []
        first = world.last_card()["body"]["elements"][0]
        assert first["content"] == "**&#42;Tests&#42; are done**"
        assert world.answer() == "all green"
        assert world.of(gateway.AddReaction) == []


# ── what the agent does ─────────────────────────────────────────────────────


async def test_what_steps_gave_is_on_the_card() -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await world.receive(tool("1", name="Bash", kind="execute", status="running", input={}))
        await world.receive(tool("1", status="success", output="one\n```\ntwo\n", duration_ms=5))
        await world.receive(
            tool(
                "2",
                kind="edit",
                name="Edit",
                status="success",
                diff=[FileDiff(path="a.py", old="x = 1\ny = 2\n", new="x = 1\ny = 3\n")],
            )
        )
        await world.receive(tool("3", name="Write", kind="edit", status="error", error="rejected"))
        await trio.sleep(2)
        found = element(world.last_card()["body"]["elements"], "tools")
        assert found is not None
        lines = found["content"]
        assert "````\none\n```\ntwo\n````" in lines
        assert "```diff\na.py\n-y = 2\n+y = 3\n```" in lines
        assert "❌ ✏️ **Write**" in lines
        assert lines.endswith(" _(rejected)_")
        assert "**Bash** _(0.0s)_" in lines, "an empty input is no summary"
        await world.end()

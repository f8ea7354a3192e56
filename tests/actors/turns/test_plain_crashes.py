"""What of a turn is not sent yet survives a crash, also without a card; a card that is "gone"."""

from __future__ import annotations

import json

import msgspec
import pytest
import trio

from actors.messages import gateway, journal
from actors.turns import repair_cards
from protocol.platform.outcomes import Gone, NoAnswer, Outcome
from tests.actors.turns.shown import CARD_UPDATES
from tests.actors.turns.test_card_ends import crash
from tests.actors.turns.test_turns import World, open_world

pytestmark = pytest.mark.virtual_time

# ── plain replies across a crash ────────────────────────────────────────────


async def crash_static(world: World, *texts: str) -> journal.LedgerEntry:
    """Let a static turn of two pieces crash 3 s after the last one; return its entry as noted."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.show, "static")
        for text in texts:
            await world.stream(text)
            await trio.sleep(3)
        (entry,) = world.entries.values()
        await world.end()
    return entry


def footers(world: World) -> list[str]:
    """Of the messages, where they have one."""
    cards = [json.loads(one.content_json) for one in world.of(gateway.ReplyMessage)]
    return [one["body"]["elements"][1]["content"] for one in cards if one["body"]["elements"][1:]]


async def repaired(entry: journal.LedgerEntry) -> World:
    async with open_world() as world:
        world.peers = msgspec.structs.replace(world.peers, term=3)
        world.entries[entry.card_id] = entry
        await repair_cards(world.peers)
        assert world.ledger[entry.card_id] == "aborted"
        assert world.of(gateway.UpdateCard) == []
    return world


async def test_text_of_a_plain_turn_that_was_not_sent_survives_a_crash() -> None:
    async with open_world() as before:
        entry = await crash_static(before, "one\n\n", "two is not fini")
        assert before.texts()[0] == "one\n\n"
        assert set(before.ledger.values()) == {"complete"}, "its entry is closed with the turn"
    after = await repaired(entry)
    assert after.texts() == ["two is not fini", "Interrupted by a restart."]
    assert footers(after)[-1].startswith("🛑 Stopped · ")
    used = {one.uuid for one in before.of(gateway.ReplyMessage)[:1]}
    assert used.isdisjoint(one.uuid for one in after.of(gateway.ReplyMessage))


async def test_a_message_that_was_on_its_way_at_a_crash_is_repeated_as_it_was() -> None:
    def script(operation: gateway.Operation) -> Outcome | None:
        return NoAnswer(reason="cut") if isinstance(operation, gateway.ReplyMessage) else None

    async with open_world(script) as before, trio.open_nursery() as nursery:
        nursery.start_soon(before.show, "static")
        await before.stream("one\n\nand")
        await trio.sleep(3)
        (entry,) = before.entries.values()
        tried = next(one for one in before.tried if isinstance(one, gateway.ReplyMessage))
        nursery.cancel_scope.cancel()
    after = await repaired(entry)
    again = after.of(gateway.ReplyMessage)[0]
    assert (again.uuid, again.content_json) == (tried.uuid, tried.content_json)
    assert after.texts() == ["one\n\n", "and", "Interrupted by a restart."]


async def test_a_plain_turn_that_was_over_at_a_crash_is_not_called_interrupted() -> None:
    def script(operation: gateway.Operation) -> Outcome | None:
        return NoAnswer(reason="cut") if isinstance(operation, gateway.ReplyMessage) else None

    async with open_world(script) as before, trio.open_nursery() as nursery:
        nursery.start_soon(before.show, "static")
        await before.end(text="all of it")
        await trio.sleep(3)
        (entry,) = before.entries.values()
        nursery.cancel_scope.cancel()
    after = await repaired(entry)
    assert after.texts() == ["all of it"]
    assert footers(after)[0].startswith("Done · ")


async def test_a_short_plain_turn_costs_no_entry() -> None:
    async with open_world() as world:
        await world.end(text="quick")
        await world.show("static")
        assert (world.texts(), world.ledger) == (["quick"], {})


@pytest.mark.parametrize("times", [1, 5])
async def test_a_card_that_is_answered_to_be_gone_may_be_there_all_the_same(times: int) -> None:
    answers = iter([Gone(code=200740, message="no such card")] * (times + 1))
    lost = False

    def script(operation: gateway.Operation) -> Outcome | None:
        return next(answers, None) if lost and isinstance(operation, CARD_UPDATES) else None

    async with open_world(script) as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await world.stream("read")
        await trio.sleep(2)
        lost = True
        await world.end(text=" and more")
        await trio.sleep(30)
        assert world.is_final()
        assert world.texts() == [" and more"]
        assert world.ledger == {"card1": "lost"}


async def test_a_card_of_a_crash_that_is_gone_is_tried_again_and_its_text_sent() -> None:
    def gone(operation: gateway.Operation) -> Outcome | None:
        is_card = isinstance(operation, CARD_UPDATES)
        return Gone(code=230011, message="recalled") if is_card else None

    async with open_world() as world:
        entry = await crash(world)
    async with open_world(gone) as world:
        world.entries[entry.card_id] = entry
        await repair_cards(world.peers)
        tries = sum(isinstance(one, gateway.UpdateCard) for one in world.tried)
        assert tries == 6
        text, note = world.texts()
        assert text.startswith("(The card could not be updated.")
        assert text.endswith("word0 " + "".join(f"word{number} " for number in range(1, 20)))
        assert note == "Interrupted by a restart."
        assert world.ledger[entry.card_id] == "lost"

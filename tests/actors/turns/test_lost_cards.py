"""What is sent after a card was lost: the rest, and what may be read twice is marked."""

from __future__ import annotations

import pytest
import trio

from actors.messages import gateway
from protocol.ids import CardId
from protocol.platform.outcomes import Gone, NoAnswer, Outcome, StreamingClosed
from protocol.strings import on_card
from tests.actors.turns.shown import CARD_UPDATES, content
from tests.actors.turns.test_card_ends import is_text
from tests.actors.turns.test_turns import open_world

pytestmark = pytest.mark.virtual_time

GONE = Gone(code=200750, message="expired")
MARKED = f"{on_card.MAY_REPEAT.en}\n\n"


async def test_a_text_in_doubt_stays_so_when_streaming_is_opened_again() -> None:
    calls = iter([NoAnswer(reason="cut"), StreamingClosed(code=200850, message="closed")])

    def script(operation: gateway.Operation) -> Outcome | None:
        return next(calls, GONE) if is_text(operation) else None

    async with open_world(script) as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await trio.sleep(0.5)
        await world.stream("perhaps shown")
        await trio.sleep(3)
        await world.end()
        await trio.sleep(3)
        assert world.of(gateway.CardSettings), "it was opened again"
        assert world.texts() == [f"{MARKED}perhaps shown"]


async def test_what_a_card_was_opened_with_may_be_read_where_nobody_knows_if_it_was_sent() -> None:
    def script(operation: gateway.Operation) -> Outcome | None:
        if isinstance(operation, gateway.ReplyMessage) and "card2" in operation.content_json:
            return NoAnswer(reason="cut")
        is_second = isinstance(operation, CARD_UPDATES) and operation.card_id == "card2"
        return GONE if is_second else None

    text = "one of many lines\n" * 2_000
    async with open_world(script) as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await world.stream(text)
        await trio.sleep(90)
        await world.end()
        await trio.sleep(5)
        first, second = (content(world.shows[CardId(one)], "answer") for one in ("card1", "card2"))
        assert second, "it was opened with text"
        (message,) = world.texts()
        assert message.startswith(MARKED)
        assert first + message.removeprefix(MARKED) == text


async def test_a_line_begun_on_a_lost_card_is_not_begun_again_where_it_goes_on_below() -> None:
    lost = False

    def script(operation: gateway.Operation) -> Outcome | None:
        return GONE if lost and isinstance(operation, CARD_UPDATES) else None

    async with open_world(script) as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await world.stream("one of many lines\n" * 1_300 + "begun ")
        await trio.sleep(2)
        assert world.answer().endswith("begun ")
        lost = True
        await world.stream("and ")
        await trio.sleep(2)
        await world.stream("no end of it " * 800)  # the line fits no more below the others
        await world.end()
        await trio.sleep(10)
        assert "".join(world.texts()) == "and " + "no end of it " * 800


async def test_what_was_read_as_another_text_may_be_read_twice() -> None:
    """A picture has taken the place of the link that the lost card shows."""
    lost = False

    def script(operation: gateway.Operation) -> Outcome | None:
        return GONE if lost and isinstance(operation, CARD_UPDATES) else None

    async with open_world(script) as world, trio.open_nursery() as nursery:
        world.picture_after_s = 3
        nursery.start_soon(world.show)
        await world.stream("see ![cat](http://x/cat.png)\n")
        await trio.sleep(2)
        assert world.answer() == "see [cat](http://x/cat.png)\n"
        lost = True
        await trio.sleep(2)
        await world.end()
        await trio.sleep(15)
        assert world.texts() == [f"{MARKED}see ![cat](img_v3_cat.png)\n"]

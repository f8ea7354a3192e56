"""A turn over a platform that fails at random: nothing is lost, nothing stays live.

The platform here keeps cards as the real one does: sequences rise, a repeated call is
one call, streaming closes. Each seed is one schedule of chunks, of faults and of Trio's
tasks, in virtual time.
"""

from __future__ import annotations

import functools
import itertools
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors.messages import gateway, turn
from protocol.ids import CardId, MessageId
from protocol.platform.outcomes import (
    Accepted,
    Busy,
    CardCreated,
    Gone,
    MessageSent,
    NoAnswer,
    Outcome,
    RateLimited,
    ReactionAdded,
    ReactionsFound,
    Rejected,
    SequenceRefused,
    StreamingClosed,
    TokenRefused,
    TooLarge,
)
from protocol.strings import on_card
from tests.actors.turns.shown import CARD_UPDATES, after, content
from tests.actors.turns.test_turns import World
from tests.kit.scheduler import seeded_scheduler
from tests.kit.sizes import NIGHTLY

PARAGRAPHS = (
    "Plain words, 世界 and 🎉.",
    "```py\nx = '<at id=all></at>'\n\nprint(x)\n```",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "- a list\n- of `code <at>` things",
    "word " * 300,
)


class Card:
    """One card entity, as the platform keeps it."""

    def __init__(self, card_json: str) -> None:
        self.shown: dict[str, Any] = json.loads(card_json)
        self.streaming = True
        self.sequence = 0
        self.uuids: set[str] = set()
        self.gone = False

    @property
    def answer(self) -> str:
        return content(self.shown, "answer")

    @property
    def final(self) -> bool:
        return not self.shown["config"]["streaming_mode"]

    def take(self, operation: Any) -> Outcome:
        if self.gone:
            return Gone(code=200750, message="gone")
        if operation.uuid in self.uuids:
            return Accepted()
        if operation.sequence <= self.sequence:
            return SequenceRefused(code=300317, message="sequence")
        if isinstance(operation, gateway.ElementContent) and not self.streaming:
            return StreamingClosed(code=300309, message="closed")
        self.sequence = operation.sequence
        self.uuids.add(operation.uuid)
        self.shown = after(self.shown, operation)
        if isinstance(operation, gateway.UpdateCard | gateway.CardSettings):
            self.streaming = self.shown["config"]["streaming_mode"]
        return Accepted()


class FaultyPlatform(World):
    """Answers by its own cards, and fails by the seed until *calm*."""

    def __init__(self, rng: random.Random, share: float, *, may_lose_cards: bool) -> None:
        super().__init__()
        self.rng = rng
        self.share = share
        self.may_lose_cards = may_lose_cards
        self.cards: dict[CardId, Card] = {}
        self.sent: dict[str, MessageId] = {}
        self.messages: list[str] = []
        self.posted: list[CardId] = []
        """The cards people see, in their order."""
        self.grants = rng.randrange(4)

    async def _call(self, call: gateway.Call) -> None:
        await trio.sleep(self.rng.choice((0.01, 0.05, 0.3)))
        fault = self.rng.random() < self.share
        kind = self.rng.choice(("refused", "lost before", "lost after", "hung"))
        with call.reply:
            if not fault:
                call.reply.send(self.take(call.operation))
            elif kind == "refused":
                call.reply.send(self.refusal(call.operation))
            else:
                if kind == "lost after":
                    self.take(call.operation)
                elif kind == "hung":
                    await trio.sleep(10)
                call.reply.send(NoAnswer(reason=kind))

    def refusal(self, operation: gateway.Operation) -> Outcome:
        choices: list[Outcome] = [
            RateLimited(code=99991400, message="slow down", retry_after_s=1.0),
            TokenRefused(code=99991663, message="token"),
            Busy(code=200810, message="busy"),
        ]
        if isinstance(operation, CARD_UPDATES):
            card = self.cards[operation.card_id]
            choices.append(SequenceRefused(code=300317, message="sequence"))
            choices.append(Rejected(code=11310, message="who knows"))
            if isinstance(operation, gateway.ElementContent):
                choices.append(StreamingClosed(code=200850, message="timed out"))
            if self.may_lose_cards and self.rng.random() < 0.2:
                card.gone = True
                return Gone(code=200750, message="gone")
        chosen = self.rng.choice(choices)
        if isinstance(chosen, StreamingClosed):
            self.cards[operation.card_id].streaming = False  # type: ignore[attr-defined]
        return chosen

    def take(self, operation: gateway.Operation) -> Outcome:
        if isinstance(operation, CARD_UPDATES):
            return self.cards[operation.card_id].take(operation)
        match operation:
            case gateway.CreateCard(card_json=card_json):
                card_id = CardId(f"card{len(self.cards)}")
                self.cards[card_id] = Card(card_json)
                return CardCreated(card_id=card_id)
            case gateway.ReplyMessage() | gateway.CreateMessage():
                if operation.uuid not in self.sent:
                    self.sent[operation.uuid] = MessageId(f"om_{len(self.sent)}")
                    body = json.loads(operation.content_json)
                    if body.get("type") == "card":
                        self.posted.append(CardId(body["data"]["card_id"]))
                    else:
                        self.messages.append(
                            body["text"]
                            if "text" in body
                            else body["body"]["elements"][0]["content"]
                        )
                return MessageSent(message_id=self.sent[operation.uuid])
            case gateway.ListReactions():
                return ReactionsFound(reaction_ids=("re",))
            case gateway.AddReaction():
                return ReactionAdded(reaction_id="re")
        return Accepted()


@asynccontextmanager
async def served(world: World) -> AsyncIterator[None]:
    """Run the peers of a turn while the block runs."""
    async with trio.open_nursery() as nursery:
        for serve in (
            world.serve_gateway,
            world.serve_ownership,
            world.serve_pictures,
            world.serve_journal,
        ):
            nursery.start_soon(serve)
        yield
        nursery.cancel_scope.cancel()


async def one_turn(world: FaultyPlatform, text: str, status: str) -> None:
    async with served(world):
        async with trio.open_nursery() as turns:
            turns.start_soon(world.show)
            at = 0
            while at < len(text):
                size = world.rng.choice((1, 7, 50, 400))
                await world.stream(text[at : at + size])
                at += size
                await trio.sleep(world.rng.choice((0.0, 0.02, 0.5)))
            if status == "stop":
                await world.inputs.send(turn.Stop(reason="user"))
            else:
                await world.end(status)


def squeezed(text: str) -> str:
    return "".join(text.split())


NOTE = squeezed(on_card.MAY_REPEAT.en)
MARKS = ("❌", "Stopped", "Done · ")


def assert_all_can_be_read(world: FaultyPlatform, text: str) -> None:
    """Cards, also lost ones, and messages make the text, once; what may be twice is marked so.

    Code that goes on in a message is opened again there.
    """
    read = squeezed("".join(world.cards[card_id].answer for card_id in world.posted))
    rest = squeezed("".join(one for one in world.messages if not one.startswith(MARKS)))
    doubtful = NOTE in rest
    if "lost" in world.ledger.values() or doubtful:
        read, rest, text = (
            one.replace("```py", "").replace("```", "") for one in (read, rest, text)
        )
    text, rest = squeezed(text), rest.replace(NOTE, "")
    if doubtful:
        assert text.startswith(read)
        assert text.endswith(rest)
        assert len(read) + len(rest) >= len(text)
    else:
        assert read + rest == text
    for card_id in world.posted:
        if world.ledger[card_id] != "lost":
            assert world.cards[card_id].final, f"{card_id} is left live"


FOUND = (1_032, 11_919)
"""Seeds that once broke it: a card left to the next start, a tag made safe and then not."""


@pytest.mark.parametrize("seed", [*range(300 if NIGHTLY else 120), *FOUND])
def test_all_that_was_written_can_be_read_and_every_card_is_final(seed: int) -> None:
    rng = random.Random(seed)
    count = rng.choice((1, 3, 8, 40))
    text = "\n\n".join(rng.choice(PARAGRAPHS) for _ in range(count)) + "\n"
    if count == 40:  # over several cards: without code, which is closed and opened again
        text = text.replace("```", "")
    status = rng.choice(("complete", "error", "aborted", "stop"))
    may_lose_cards = seed % 3 == 0
    world = FaultyPlatform(rng, rng.choice((0.1, 0.3, 0.6)), may_lose_cards=may_lose_cards)
    with seeded_scheduler(seed):
        trio.run(one_turn, world, text, status, clock=MockClock(autojump_threshold=0))

    assert all(outcome is not None for outcome in world.ledger.values()), world.ledger
    shown = text.replace("<at id=all>", "&#60;at id=all>") if count == 40 else text
    shown = shown.replace("</at>", "&#60;/at>") if count == 40 else shown
    assert_all_can_be_read(world, shown)


class SmallCards(FaultyPlatform):
    """Takes no card over a size that no page names."""

    def __init__(self, bytes_max: int) -> None:
        super().__init__(random.Random(1), 0.0, may_lose_cards=False)
        self.bytes_max = bytes_max

    def take(self, operation: gateway.Operation) -> Outcome:
        size = 0
        if isinstance(operation, gateway.CreateCard):
            size = len(operation.card_json.encode())
        elif isinstance(operation, CARD_UPDATES):
            card = after(self.cards[operation.card_id].shown, operation)
            size = len(json.dumps(card, ensure_ascii=False).encode())
        if size > self.bytes_max:
            return TooLarge(code=300305, message="too large")
        return super().take(operation)


@pytest.mark.parametrize("bytes_max", [4_000, 8_000, 16_000])
def test_a_platform_with_smaller_cards_than_known_still_shows_all_of_it(bytes_max: int) -> None:
    text = "\n\n".join(f"Paragraph {number}. " + "words " * 40 for number in range(120)) + "\n"
    world = SmallCards(bytes_max)
    trio.run(one_turn, world, text, "complete", clock=MockClock(autojump_threshold=0))
    shown = [world.cards[card_id] for card_id in world.ledger]
    assert all(card.final for card in shown)
    assert len(shown) > 1
    assert squeezed("".join((*(card.answer for card in shown), *world.messages))) == squeezed(text)


# ── every small schedule ────────────────────────────────────────────────────

OUTCOMES: tuple[Outcome, ...] = (
    NoAnswer(reason="lost before"),
    NoAnswer(reason="lost after"),
    RateLimited(code=99991400, message="slow down", retry_after_s=1.0),
    StreamingClosed(code=200850, message="timed out"),
    SequenceRefused(code=300317, message="sequence"),
    Gone(code=200750, message="gone"),
    Rejected(code=11310, message="who knows"),
)
STEPS = 4 if NIGHTLY else 3
EVERY = 1 if NIGHTLY else 3
"""Each schedule meets so many of the outcomes, another third of them than the one before it."""
GOES_ON = {"delta", "wait"}
INPUTS = ("delta", "wait", "end", "stop", "lost")


class OneFault(FaultyPlatform):
    """Fails one call, the *number*-th, and no other."""

    def __init__(self, number: int, outcome: Outcome | None) -> None:
        super().__init__(random.Random(0), 0.0, may_lose_cards=False)
        self.number = number
        self.outcome = outcome
        self.called: list[type[gateway.Operation]] = []

    async def _call(self, call: gateway.Call) -> None:
        await trio.sleep(0.05)
        operation = call.operation
        self.called.append(type(operation))
        with call.reply:
            if len(self.called) != self.number or self.outcome is None:
                call.reply.send(self.take(operation))
                return
            if isinstance(self.outcome, NoAnswer) and self.outcome.reason == "lost after":
                self.take(operation)
            if isinstance(operation, CARD_UPDATES) and isinstance(
                self.outcome, StreamingClosed | Gone
            ):
                card = self.cards[operation.card_id]
                card.streaming = False
                card.gone = isinstance(self.outcome, Gone)
            call.reply.send(self.outcome)


async def scheduled(world: OneFault, steps: tuple[str, ...]) -> None:
    async with served(world):
        async with trio.open_nursery() as turns:
            turns.start_soon(world.show)
            for step in (*steps, "end"):
                match step:
                    case "delta":
                        await world.stream("word ")
                    case "wait":
                        await trio.sleep(0.3)
                    case "end":
                        await world.end()
                    case "stop":
                        await world.inputs.send(turn.Stop(reason="user"))
                    case "lost":
                        await world.inputs.send(turn.SessionLost())


def run_schedule(steps: tuple[str, ...], number: int, outcome: Outcome | None) -> OneFault:
    """Run it in the same order of tasks each time: up to the fault, runs are alike."""
    world = OneFault(number, outcome)
    with seeded_scheduler(0):
        trio.run(scheduled, world, steps, clock=MockClock(autojump_threshold=0))
    return world


@functools.cache
def calls_without_fault(steps: tuple[str, ...]) -> list[type[gateway.Operation]]:
    world = run_schedule(steps, 0, None)
    assert_all_is_there(world, steps, "without a fault")
    return world.called


def assert_all_is_there(world: OneFault, steps: tuple[str, ...], where: str) -> None:
    words = [step for step in itertools.takewhile(GOES_ON.__contains__, steps) if step == "delta"]
    assert all(one is not None for one in world.ledger.values()), where
    try:
        assert_all_can_be_read(world, "word" * len(words))
    except AssertionError as wrong:
        raise AssertionError(where) from wrong


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda one: type(one).__name__)
def test_no_small_schedule_leaves_a_card_live_or_loses_a_word(outcome: Outcome) -> None:
    """All schedules of so many steps, with a fault at each call that can fail so."""
    tried = 0
    schedules = itertools.product(INPUTS, repeat=STEPS)
    for steps in itertools.islice(schedules, OUTCOMES.index(outcome) % EVERY, None, EVERY):
        for number, operation in enumerate(calls_without_fault(steps), 1):
            if isinstance(outcome, NoAnswer | RateLimited) or issubclass(operation, CARD_UPDATES):
                world = run_schedule(steps, number, outcome)
                assert len(world.called) >= number, "the fault was met"
                assert_all_is_there(world, steps, f"{steps} with {outcome} at call {number}")
                tried += 1
    assert tried > len(INPUTS) ** STEPS / EVERY / 2

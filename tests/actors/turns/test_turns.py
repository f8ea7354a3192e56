"""One turn's actor against a scripted platform, in virtual time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from msgspec.structs import replace
from trio.testing import wait_all_tasks_blocked

from actors.kit.cleanup import CleanupBudget
from actors.messages import gateway, intake, journal, lane, ownership, pictures, turn
from actors.sandbox.cardschema import check_card
from actors.turns import Peers, show_turn
from actors.turns.entity import CLOSED
from actors.turns.peers import GrantNotices
from protocol.cards.turn import Turn
from protocol.ids import AccountId, CardId, ChatId, MessageId, OpenId, SessionId, TurnId
from protocol.platform.outcomes import (
    Accepted,
    CardCreated,
    Gone,
    MessageSent,
    MissingScope,
    NoAnswer,
    Outcome,
    RateLimited,
    ReactionAdded,
    ReactionsFound,
    Rejected,
)
from protocol.wire.messages import Delta, TurnEnd
from tests.actors.turns.shown import CARD_UPDATES, after, content
from tests.kit.cancel_everywhere import cancel_everywhere
from tests.kit.garbage import nothing_kept_of

pytestmark = pytest.mark.virtual_time

ACCOUNT = AccountId("default")
ANSWER_S = 0.05
"""How long the platform takes for a call."""

Script = Callable[[gateway.Operation], Outcome | None]


def opening(mode: turn.Mode = "streaming") -> turn.TurnOpening:
    return turn.TurnOpening(
        turn_id=TurnId("t"),
        session_id=SessionId("s"),
        alias="api",
        account=ACCOUNT,
        chat_id=ChatId("oc_1"),
        message_id=MessageId("om_user"),
        sender_id=OpenId("ou_1"),
        chat_type="p2p",
        mode=mode,
    )


class World:
    """Gateway and journal as the actor meets them, and what they were asked."""

    def __init__(self, script: Script = lambda _operation: None) -> None:
        self.script = script
        self.done: list[gateway.Operation] = []
        """Operations the platform accepted, in order."""
        self.tried: list[gateway.Operation] = []
        self.shows: dict[CardId, dict[str, Any]] = {}
        """Each card as it is now."""
        self.answers: list[str] = []
        """The answer after each update that changed it."""
        self.grants = 0
        """Which of the APIs a permit names is granted, in order of preference."""
        self.ledger: dict[CardId, str | None] = {}
        self.entries: dict[CardId, journal.LedgerEntry] = {}
        """The open entries, with what was noted."""
        self.notes = 0
        self.closes = 0
        self.disk_full = False
        """Whether the journal fails, whatever it is asked."""
        self.marks: dict[tuple[MessageId, TurnId], str | None] = {}
        """The Typing marks in the ledger."""
        self.reactions: list[str] = []
        """The Typing marks on the message."""
        self.picture_after_s = 1.0
        self.answers_after_s: dict[type[gateway.Operation], float] = {}
        self.background = False
        """Whether the chat has gone to another session."""
        self.gateway_tx, self._gateway_rx = trio.open_memory_channel[gateway.GatewayMessage](100)
        self.journal_tx, self._journal_rx = trio.open_memory_channel[journal.JournalMessage](100)
        self.intake_tx, self._intake_rx = trio.open_memory_channel[intake.IntakeMessage](1)
        self.ownership_tx, self._ownership_rx = trio.open_memory_channel[
            ownership.OwnershipMessage
        ](100)
        self.pictures_tx, self._pictures_rx = trio.open_memory_channel[pictures.PicturesMessage](
            100
        )
        self.lane_tx, self.lane_rx = trio.open_memory_channel[lane.LaneMessage](100)
        self.inputs, self._outlet = turn.open_inputs(64)
        self.peers = Peers(
            gateways={ACCOUNT: self.gateway_tx},
            intakes={ACCOUNT: self.intake_tx},
            journal_tx=self.journal_tx,
            ownership_tx=self.ownership_tx,
            pictures_tx=self.pictures_tx,
            picture_wait_s=3.0,
            cleanup=CleanupBudget(5.0),
            language="en",
            now_ms=lambda: 1_000,
            grants=GrantNotices(cooldown_ms=300_000),
            stall_notice_s={ACCOUNT: 300.0},
            term=1,
        )

    async def serve_gateway(self) -> None:
        async with trio.open_nursery() as calls:
            async for message in self._gateway_rx:
                match message:
                    case gateway.Permit():
                        api = message.apis[self.grants % len(message.apis)]
                        message.reply.send(gateway.Granted(permit=1, api=api))
                    case gateway.Call():
                        calls.start_soon(self._call, message)

    async def serve_pictures(self) -> None:
        async with trio.open_nursery() as fetches:
            async for message in self._pictures_rx:
                fetches.start_soon(self._picture, message)

    async def _picture(self, wish: pictures.Resolve) -> None:
        with wish.reply:
            await trio.sleep(self.picture_after_s)
            wish.reply.send(f"img_v3_{wish.url.rpartition('/')[2]}")

    async def serve_ownership(self) -> None:
        async for message in self._ownership_rx:
            assert isinstance(message, ownership.TurnShown)
            message.reply.send(self.background)

    async def _call(self, call: gateway.Call) -> None:
        self.tried.append(call.operation)
        await trio.sleep(self.answers_after_s.get(type(call.operation), ANSWER_S))
        with call.reply:
            outcome = self.script(call.operation) or self._accept(call.operation)
            call.reply.send(outcome)

    def _accept(self, operation: gateway.Operation) -> Outcome:
        self.done.append(operation)
        match operation:
            case gateway.CreateCard(card_json=card_json):
                check_card(json.loads(card_json))
                card_id = CardId(f"card{len(self.created())}")
                self.shows[card_id] = json.loads(card_json)
                return CardCreated(card_id=card_id)
            case gateway.ListReactions():
                return ReactionsFound(reaction_ids=tuple(self.reactions))
            case gateway.RemoveReaction(reaction_id=reaction_id):
                if reaction_id not in self.reactions:
                    return Rejected(code=231011, message="invalid reaction_id")
                self.reactions.remove(reaction_id)
            case gateway.ReplyMessage() | gateway.CreateMessage():
                return MessageSent(message_id=MessageId(f"om_{len(self.done)}"))
            case gateway.AddReaction():
                self.reactions.append(f"re_{len(self.done)}")
                return ReactionAdded(reaction_id=self.reactions[-1])
        if isinstance(operation, CARD_UPDATES):
            before = content(self.shows[operation.card_id], "answer")
            card = self.shows[operation.card_id] = after(self.shows[operation.card_id], operation)
            check_card(card)
            if content(card, "answer") != before:
                self.answers.append(content(card, "answer"))
        return Accepted()

    def close_all(self, cards: tuple[CardId, ...], outcome: journal.CardOutcome) -> None:
        for card_id in cards:
            self.ledger[card_id] = outcome
            self.entries.pop(card_id, None)

    async def serve_journal(self) -> None:
        async for message in self._journal_rx:
            match message:
                case _ if self.disk_full:
                    message.reply.send(journal.Failed(reason="disk full"))
                case journal.OpenCard(entry=entry):
                    self.ledger[entry.card_id] = None
                    self.entries[entry.card_id] = entry
                    message.reply.send(journal.Done())
                case journal.CloseCard(card_id=card_id, outcome=outcome):
                    self.closes += 1
                    self.close_all(message.instead_of, "complete")
                    self.close_all((card_id,), outcome)
                    message.reply.send(journal.Done())
                case journal.NoteCard(card_id=card_id):
                    self.notes += 1
                    changed = {
                        name: getattr(message, name)
                        for name in ("message_id", "text", "panels")
                        if getattr(message, name) is not None
                    }
                    self.entries[card_id] = replace(self.entries[card_id], **changed)
                    self.close_all(message.instead_of, "complete")
                    message.reply.send(journal.Done())
                case journal.OpenCards():
                    message.reply.send(tuple(self.entries.values()))
                case journal.EnterTyping(entry=mark):
                    self.marks[mark.message_id, mark.turn_id] = mark.reaction_id
                    message.reply.send(journal.Done())
                case journal.ForgetTyping(message_id=message_id, turn_id=turn_id):
                    self.marks.pop((message_id, turn_id), None)
                    message.reply.send(journal.Done())
                case journal.TypingLeft():
                    message.reply.send(
                        tuple(
                            journal.TypingEntry(
                                message_id=one,
                                turn_id=turn_id,
                                account=ACCOUNT,
                                reaction_id=reaction,
                                term=0,
                            )
                            for (one, turn_id), reaction in self.marks.items()
                        )
                    )

    async def show(self, mode: turn.Mode = "streaming") -> None:
        await self.show_opening(opening(mode))

    async def show_opening(self, one: turn.TurnOpening) -> None:
        await show_turn(one, self._outlet.clone(), self.lane_tx, self.peers)

    async def receive(self, message: turn.TurnInput) -> None:
        await self.inputs.send(message)

    async def stream(self, text: str) -> None:
        await self.inputs.send(Delta(turn_id="t", text=text))

    async def end(self, status: Any = "complete", **more: Any) -> None:
        end = TurnEnd(turn_id="t", status=status, **more)
        await self.inputs.send(end)

    # ── what a person would see ─────────────────────────────────────────────

    def of(self, kind: type[gateway.Operation]) -> list[Any]:
        return [operation for operation in self.done if isinstance(operation, kind)]

    def created(self) -> list[gateway.CreateCard]:
        return self.of(gateway.CreateCard)

    def sent_cards(self) -> list[CardId]:
        """The card entities people see, in their order; one that was created and never
        sent, because its turn was cut meanwhile, is not among them.
        """
        bodies = [
            json.loads(one.content_json)
            for one in self.done
            if isinstance(one, gateway.ReplyMessage | gateway.CreateMessage)
        ]
        sent = [CardId(body["data"]["card_id"]) for body in bodies if body.get("type") == "card"]
        return list(dict.fromkeys(sent))

    def last_card(self) -> dict[str, Any]:
        """What the last card that was sent shows."""
        return self.shows[self.sent_cards()[-1]]

    def footer(self) -> str:
        return str(check_card(self.last_card())["footer"]["content"])

    def answer(self) -> str:
        return str(check_card(self.last_card())["answer"]["content"])

    def is_final(self) -> bool:
        return not self.last_card()["config"]["streaming_mode"]

    def texts(self) -> list[str]:
        """The messages that were sent beside cards."""
        sent = [
            json.loads(one.content_json)
            for one in self.done
            if isinstance(one, gateway.ReplyMessage | gateway.CreateMessage)
        ]
        return [
            body["text"] if "text" in body else body["body"]["elements"][0]["content"]
            for body in sent
            if body.get("type") != "card"
        ]


@asynccontextmanager
async def open_world(script: Script = lambda _operation: None) -> AsyncIterator[World]:
    world = World(script)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.serve_gateway)
        nursery.start_soon(world.serve_ownership)
        nursery.start_soon(world.serve_pictures)
        nursery.start_soon(world.serve_journal)
        yield world
        nursery.cancel_scope.cancel()


async def test_a_turn_is_opened_streamed_and_brought_to_its_end() -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await trio.sleep(1)
        assert world.ledger == {"card1": None}, "entered before its first update"
        for word in ("Hello", " ", "world"):
            await world.stream(word)
            await trio.sleep(0.3)
        assert world.answers[-1] == "Hello world"
        await world.end()
        await wait_all_tasks_blocked()
        sent, ended = (world.lane_rx.receive_nowait() for _ in range(2))
        assert isinstance(sent, lane.CardSent)
        assert isinstance(ended, lane.TurnEnded), "before the card's end"
        await trio.sleep(1)
        assert world.is_final()
        assert world.footer().startswith("Done · ")
        assert world.ledger == {"card1": "complete"}
        assert world.of(gateway.RemoveReaction)
        sequences = [one.sequence for one in world.done if hasattr(one, "sequence")]
        assert sequences == sorted(set(sequences))


async def test_a_turn_that_waits_for_people_is_not_reported_to_show_nothing() -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await world.stream("Hello")
        for _ in range(2):
            await world.receive(turn.Waits(change=1))
        await trio.sleep(290)
        await world.receive(turn.Waits(change=-1))  # one of two questions
        await trio.sleep(3_000)
        assert world.texts() == []
        assert "nothing new" not in world.footer()
        await world.receive(turn.Waits(change=-1))
        await trio.sleep(290)
        assert world.texts() == []
        await trio.sleep(20)
        assert world.texts() == ["api has shown nothing for 5 min. Send stop to end it."]
        assert world.footer().endswith(" · nothing new for 5 min")
        await world.end()


async def test_an_entry_that_could_not_be_closed_is_closed_when_the_journal_can() -> None:
    """Else the next start would show a card that has ended as interrupted."""
    async with open_world() as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await trio.sleep(1)
        await world.stream("Hello")
        world.disk_full = True
        await world.end()
        await trio.sleep(60)
        assert world.is_final(), "people don't wait for the journal"
        assert world.ledger == {"card1": None}
        world.disk_full = False
        await trio.sleep(15)
        assert world.ledger == {"card1": "complete"}
        assert world.closes == 1


@pytest.mark.parametrize("mode", ["streaming", "static"])
async def test_a_turn_that_is_over_is_freed_with_its_text_at_once(mode: turn.Mode) -> None:
    with nothing_kept_of(Turn):
        async with open_world() as world:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.show, mode)
                await trio.sleep(1)
                await world.stream("![picture](https://example.com/1.png) Hello")
                await world.end()


async def test_a_turn_that_ends_before_its_card_is_open_shows_all_of_it() -> None:
    async with open_world() as world:
        await world.stream("quick")
        await world.end()
        await world.show()
        assert (world.answer(), world.is_final()) == ("quick", True)


@pytest.mark.parametrize("reason", ["user", "shutdown", "recalled", "timeout"])
async def test_stop_is_shown_at_once_and_late_words_are_dropped(reason: Any) -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await world.stream("so far")
        await trio.sleep(1)
        await world.inputs.send(turn.Stop(reason=reason))
        await world.stream(" and more")
        await world.end()
        await trio.sleep(1)
        assert world.footer().startswith("🛑 Stopped · ")
        assert world.answer() == "so far"
        assert world.ledger == {"card1": "aborted"}


async def test_the_end_does_not_wait_for_a_call_that_hangs() -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        world.answers_after_s[gateway.ElementContent] = 60.0
        nursery.start_soon(world.show)
        await trio.sleep(1)
        await world.stream("so far")
        await trio.sleep(3)
        await world.end()
        await trio.sleep(2)
        assert (world.answer(), world.is_final()) == ("so far", True)
        hung = max(one.sequence for one in world.tried if isinstance(one, gateway.ElementContent))
        (last,) = world.of(gateway.UpdateCard)
        assert last.sequence > hung, "or the platform would take the hung one for the newer"
        assert world.ledger == {"card1": "complete"}


async def test_a_lost_session_is_shown_on_the_card() -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await trio.sleep(1)
        await world.inputs.send(turn.SessionLost())
        await trio.sleep(1)
        assert world.footer().startswith("❌ Error · ")
        assert "session disconnected" in json.dumps(world.last_card())
        assert world.ledger == {"card1": "error"}


async def test_a_refused_card_becomes_plain_replies() -> None:
    def script(operation: gateway.Operation) -> Outcome | None:
        if isinstance(operation, gateway.CreateCard):
            return Rejected(code=300302, message="no")
        return None

    async with open_world(script) as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await world.stream("first paragraph\n\nsecond")
        await trio.sleep(3)
        await world.end(text=" and last")
        await trio.sleep(3)
        assert world.texts() == ["first paragraph\n\n", "second and last"]


async def test_a_missing_scope_is_reported_once_with_its_page() -> None:
    url = "https://open.feishu.cn/app/cli_x/auth?q=cardkit:card:write"
    missing = MissingScope(code=99991672, message="", scopes=("cardkit:card:write",), grant_url=url)

    def script(operation: gateway.Operation) -> Outcome | None:
        return missing if isinstance(operation, gateway.CreateCard) else None

    async with open_world(script) as world:
        for _ in range(2):
            await world.stream("answer")
            await world.end()
            await world.show()
        assert sum(url in text for text in world.texts()) == 1
        assert world.texts().count("answer") == 2


async def test_a_recalled_message_is_answered_in_the_chat() -> None:
    def script(operation: gateway.Operation) -> Outcome | None:
        if isinstance(operation, gateway.ReplyMessage):
            return Gone(code=230011, message="The message is recalled.")
        return None

    async with open_world(script) as world:
        await world.end(text="hi")
        await world.show()
        (sent,) = world.of(gateway.CreateMessage)
        assert sent.chat_id == "oc_1"
        assert world.is_final()


async def test_a_lost_answer_is_asked_for_again_under_the_same_uuid() -> None:
    failures = iter([NoAnswer(reason="timeout"), NoAnswer(reason="5xx")])

    def script(operation: gateway.Operation) -> Outcome | None:
        return next(failures, None) if isinstance(operation, gateway.ReplyMessage) else None

    async with open_world(script) as world:
        await world.end(text="hi")
        await world.show()
        replies = [one for one in world.tried if isinstance(one, gateway.ReplyMessage)]
        assert len(replies) == 3
        assert len({reply.uuid for reply in replies}) == 1


async def test_a_final_state_is_tried_until_it_is_accepted() -> None:
    failures = iter(
        [NoAnswer(reason="x")] * 6 + [RateLimited(code=99991400, message="", retry_after_s=30)]
    )

    def script(operation: gateway.Operation) -> Outcome | None:
        return next(failures, None) if isinstance(operation, gateway.UpdateCard) else None

    async with open_world(script) as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await trio.sleep(1)
        await world.end(text="at last")
        await trio.sleep(120)
        assert (world.answer(), world.is_final()) == ("at last", True)
        assert world.ledger == {"card1": "complete"}


async def test_a_card_that_is_gone_sends_what_it_does_not_show_as_messages() -> None:
    def script(operation: gateway.Operation) -> Outcome | None:
        if isinstance(operation, gateway.ElementContent | gateway.UpdateCard):
            return Gone(code=200750, message="expired")
        return None

    async with open_world(script) as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await trio.sleep(1)
        await world.stream("not shown anywhere else")
        await trio.sleep(1)
        await world.end()
        await trio.sleep(5)
        assert world.texts() == ["not shown anywhere else"]
        await trio.sleep(15)  # it is tried some more
        assert world.ledger == {"card1": "lost"}


async def test_a_long_answer_goes_on_in_further_cards() -> None:
    text = "".join(f"line {number} of a long answer\n\n" for number in range(2_000))
    async with open_world() as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        for at in range(0, len(text), 5_000):
            await world.stream(text[at : at + 5_000])
            await trio.sleep(0.5)
        await world.end()
        await trio.sleep(30)
        finals: dict[str, str] = {}
        last_footer = ""
        for update in world.of(gateway.UpdateCard):
            card = json.loads(update.card_json)
            finals[update.card_id] = check_card(card)["answer"]["content"]
            last_footer = check_card(card)["footer"]["content"]
        assert len(finals) == len(world.created()) > 2
        assert "".join(finals.values()) == text
        assert last_footer.startswith("Done · ")
        assert set(world.ledger.values()) == {"complete"}


async def test_static_mode_sends_paragraphs_and_always_sends_an_error() -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show, "static")
        await world.stream("one\n\ntw")
        await trio.sleep(2)
        assert world.texts() == ["one\n\n"]
        await world.stream("o\n\n")
        await world.end("error", error="broke <at id=all></at>")
        await trio.sleep(5)
        one, two, last = world.texts()
        assert (one, two) == ("one\n\n", "two\n\n")
        assert last.startswith("❌ Error · ")
        assert last.endswith("\nbroke ＜at id=all>＜/at>"), "it mentions nobody"
        shown = json.loads(world.of(gateway.ReplyMessage)[-1].content_json)["body"]["elements"]
        assert shown[0]["i18n_content"]["zh_cn"].startswith("❌ 出错 · ")
        assert world.created() == []


async def test_plain_replies_come_a_second_apart_until_the_turn_ends() -> None:
    paragraph = "words of a long answer " * 40 + "\n\n"
    async with open_world() as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show, "static")
        for _ in range(100):
            await world.stream(paragraph)
        for seconds in (1, 2, 3):
            await trio.sleep(1)
            assert len(world.texts()) == seconds
        await world.end()
        await trio.sleep(3)
        assert "".join(world.texts()).count("words of a long answer") == 4_000


def test_cancelled_at_any_step_the_card_is_final_and_the_ledger_closed() -> None:
    async def scenario(
        victim: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]],
    ) -> None:
        async with open_world() as world:
            async with trio.open_nursery() as nursery:

                async def agent() -> None:
                    await world.stream("word ")
                    await trio.sleep(0.7)
                    await world.stream("more")
                    await trio.sleep(1.5)
                    await world.end()

                nursery.start_soon(agent)
                await victim(world.show)
                nursery.cancel_scope.cancel()
            assert world.sent_cards(), "every turn in flight is shown"
            assert world.is_final()
            assert set(world.ledger.values()) <= {"aborted", "complete"}
            assert not world.reactions or world.marks, "a mark that is left is known"
            updates = [one for one in world.tried if isinstance(one, CARD_UPDATES)]
            used = [one.sequence for one in updates if one.card_id == world.sent_cards()[-1]]
            assert used == sorted(set(used)), "a call that was cut has used its sequence"
            # A card whose creation was cut off is nobody's: not sent, not in the ledger,
            # never touched again.
            leaked = world.shows.keys() - world.sent_cards()
            assert len(leaked) <= 1
            assert not leaked & world.ledger.keys()
            assert not leaked & {one.card_id for one in world.of(gateway.UpdateCard)}

    assert cancel_everywhere(scenario) > 15


async def test_a_picture_takes_the_place_of_its_link_when_the_platform_has_it() -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        world.picture_after_s = 3
        nursery.start_soon(world.show)
        await world.stream("see ![cat](http://x/cat.png)\n")
        await trio.sleep(2)
        assert world.answer() == "see [cat](http://x/cat.png)\n"
        await trio.sleep(2)
        assert world.answer() == "see ![cat](img_v3_cat.png)\n"
        await world.stream("and on")
        await world.end()
        await trio.sleep(1)
        assert world.answer() == "see ![cat](img_v3_cat.png)\nand on"


async def test_a_picture_that_comes_after_the_end_still_takes_its_place() -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        world.picture_after_s = 8
        complete = CLOSED.labels(outcome="complete")
        before = complete._value.get()
        nursery.start_soon(world.show)
        await world.stream("see ![cat](http://x/cat.png)")
        await world.end()
        await trio.sleep(2)
        assert world.is_final(), "nobody waits for it"
        assert world.of(gateway.RemoveReaction)
        assert world.answer() == "see [cat](http://x/cat.png)"
        await trio.sleep(8)
        assert world.answer() == "see ![cat](img_v3_cat.png)"
        assert world.is_final()
        assert world.closes == 1, "its entry is closed already"
        assert complete._value.get() == before + 1


@pytest.mark.parametrize(
    ("after_s", "shown"),
    [(1, "![cat](img_v3_cat.png) here"), (8, "[cat](http://x/cat.png) here")],
)
async def test_plain_replies_wait_a_moment_for_their_pictures(after_s: float, shown: str) -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        world.picture_after_s = after_s
        nursery.start_soon(world.show, "static")
        await world.stream("![cat](http://x/cat.png) here\n\nmore")
        await trio.sleep(20)
        await world.end()
        await trio.sleep(20)
        assert [one.strip() for one in world.texts()] == [shown, "more"]


async def test_a_turn_of_two_hours_ends_with_the_right_card_and_idles_cheaply() -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.show)
        await world.stream("first words")
        await trio.sleep(3_600)
        before = len(world.done)
        await trio.sleep(3_600)
        assert len(world.done) - before <= 300, "an idle hour"
        assert world.of(gateway.CardSettings), "streaming is opened again before it closes"
        await world.stream(", last words")
        await world.end()
        await trio.sleep(2)
        assert world.answer() == "first words, last words"
        assert world.footer() == "Done · 2h 0m"
        assert world.ledger == {"card1": "complete"}


async def test_a_turn_of_a_megabyte_arrives_whole() -> None:
    line = "word 字 🎉 " * 60 + "\n\n"
    text = line * (1_000_000 // len(line))
    async with open_world() as world:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.show)
            for at in range(0, len(text), 10_000):
                await world.stream(text[at : at + 10_000])
                await trio.sleep(0.05)
            await world.end()
        shown = [content(world.shows[card_id], "answer") for card_id in world.sent_cards()]
        assert "".join(shown) == text
        assert set(world.ledger.values()) == {"complete"}

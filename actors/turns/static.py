"""A turn as plain replies: finished paragraphs as they come, the rest at the end.

What is still to be sent is in the ledger: before each message, and while text comes. A
message has its number there, and with that its uuid: a repair sends it once.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

import msgspec
import structlog
import trio

from actors.kit.retry import Pauses, Tries, while_it_helps
from actors.messages import gateway
from actors.turns.client import TurnClient
from actors.turns.entry import LAST_CLOSE_WITHIN_S, LedgerNotes, outcome_of
from protocol.cards.fences import Lines
from protocol.cards.kept import Rest, UnsentReply, keep
from protocol.cards.panels import tool_line
from protocol.cards.reply import message_card
from protocol.cards.turn import Turn, TurnState
from protocol.platform.comments import place_of
from protocol.platform.outcomes import MessageSent, again_after_s
from protocol.quoted import quoted
from protocol.strings import Text, amounts, in_chat, on_card

MESSAGE_EVERY_S: Final = 1.0
PAUSES: Final = Pauses(first_s=0.5, max_s=15.0)
GIVE_UP_AFTER_S: Final = 300.0

log = structlog.get_logger()


class StaticTurn:
    """Shows one turn as messages, with an entry in the ledger that a repair goes on from."""

    def __init__(
        self, turn: Turn, client: TurnClient, entry: LedgerNotes, *, sure: bool = True
    ) -> None:
        """*sure*: whether nothing of the turn can be read on a card."""
        self._turn = turn
        self._client = client
        self._style = client.style()
        self._entry = entry
        self._messages = StaticPresenter(turn, client, sure=sure)
        client.note_unsent = self._note_if_open

    def notify(self) -> None:
        """Something changed."""
        self._messages.notify()

    async def note(self) -> None:
        """Note what is still to be sent, where it has changed."""
        await self._entry.enter(panels=self._kept())
        await self._note_if_open()

    async def _note_if_open(self) -> None:
        """A turn that is over before its first note costs no commit."""
        await self._entry.note("", self._kept())

    def _kept(self) -> bytes:
        rest = self._client.addressed(self._messages.unsent(), self._style)
        return keep(self._turn, rest, tools=self._style.tools)

    async def show(self) -> None:
        """Send until the turn has ended and all of it was sent."""
        await self._messages.show()
        await self._entry.close(outcome_of(self._turn.state), within_s=LAST_CLOSE_WITHIN_S)


class StaticPresenter:
    """Replies to the user's message. A message that was sent is not sent again.

    For what a card did not show: it begins with *segment*, after the text that could be
    *read* there; where it is not *sure* that this is all that was shown, it notes that.
    Before each message the client's ``note_unsent`` writes into the ledger what is :meth:`unsent`.
    """

    def __init__(
        self,
        turn: Turn,
        client: TurnClient,
        *,
        segment: int = 0,
        read: str = "",
        sure: bool = True,
    ) -> None:
        self._name = "static"
        self._turn = turn
        self._client = client
        self._changed = trio.Event()
        self._segment = segment
        self._read = read
        self._sure = sure
        self._offset = 0
        self._opening = ""  # of a code block that goes on in the first message
        self._sent_steps: set[str] = set()
        self._outbox: list[UnsentReply] = []
        self._first_was_tried = False
        """The first of the outbox may be there as it is: its uuid stands for this content."""
        self._sent = 0
        self._ended = False

    def notify(self) -> None:
        """Something changed."""
        self._changed.set()

    def resume(self, rest: Rest, name: str) -> None:
        """Go on after what an earlier run has sent, as it was noted.

        The *name* distinguishes its messages from others of the turn.
        """
        self._outbox = list(rest.waiting)
        self._sent, self._ended, self._name = rest.sent, rest.ended, name

    async def show(self) -> None:
        """Send until the turn has ended and all of it was sent."""
        while True:
            self._changed = trio.Event()
            await self._client.settle_pictures()
            self._collect()
            if not self._outbox:
                if self._ended:
                    return
                await self._changed.wait()
                continue
            while self._outbox:
                await self._send(self._outbox[0])
                self._sent += 1
                self._outbox.pop(0)
                self._first_was_tried = False
                if not self._turn.state.final:
                    await trio.sleep(MESSAGE_EVERY_S)

    def unsent(self) -> Rest:
        """Return what is still to be sent; the first message of it may be sent already."""
        self._skip_what_was_read()
        answer = self._turn.answer
        text, *later = [*answer.sealed, answer.current][self._segment :]
        texts = (self._opening + text[self._offset :], *later)
        return Rest(
            waiting=tuple(self._outbox),
            texts=tuple(one for one in texts if one.strip()),
            sent=self._sent,
            ended=self._ended,
            sure=self._sure,
        )

    def _collect(self) -> None:
        """Put what can no longer change, and was not sent, into the outbox."""
        answer, final = self._turn.answer, self._turn.state.final
        lines = self._finished_steps()
        parts: list[str] = []
        self._skip_what_was_read()
        while self._segment < len(answer.sealed):
            parts.append(answer.sealed[self._segment][self._offset :])
            self._segment, self._offset, self._read = self._segment + 1, 0, ""
        text = answer.current if final else answer.complete
        parts.append(text[self._offset :])
        self._offset = max(self._offset, len(text))
        parts = [part for part in parts if part.strip()]
        texts = [Text(part, part) for part in parts]
        if texts:
            texts[0] = self._beginning().joined(texts[0])
        if lines:
            above = Text("\n".join(one.en for one in lines), "\n".join(one.zh for one in lines))
            texts[:1] = [above.plus("\n\n").joined(texts[0]) if texts else above]
        self._outbox += map(UnsentReply, texts)
        if final and not self._ended:
            self._ended = True
            self._mark_the_end()

    def _skip_what_was_read(self) -> None:
        """Begin after what people can read on a card, as far as that is known.

        Until something is sent, each time anew: text that was read on the card may be
        sealed since, and go on in the next segment.
        """
        sealed = self._turn.answer.sealed
        while self._read:
            is_sealed = self._segment < len(sealed)
            text = sealed[self._segment] if is_sealed else self._turn.answer.current
            if text.startswith(self._read):
                self._offset, self._opening = len(self._read), _open_code(self._read)
                return
            self._offset, self._opening = 0, ""
            if is_sealed and self._read.startswith(text):
                self._segment, self._read = self._segment + 1, self._read[len(text) :]
            else:
                self._sure, self._read = False, ""

    def _beginning(self) -> Text:
        beginning, self._opening, self._read = self._opening, "", ""
        if self._sure:
            return Text(beginning, beginning)
        self._sure = True
        return on_card.MAY_REPEAT.plus(f"\n\n{beginning}")

    def _finished_steps(self) -> list[Text]:
        if not self._client.style().tools:
            return []
        lines = []
        for call_id, step in self._turn.steps.items():
            if step.status != "running" and call_id not in self._sent_steps:
                self._sent_steps.add(call_id)
                lines.append(tool_line(step))
        return lines

    def _mark_the_end(self) -> None:
        turn = self._turn
        if turn.note is not None:
            self._outbox.append(UnsentReply(turn.note))
        time = amounts.duration(turn.elapsed_s(0))
        match turn.state:
            case TurnState.COMPLETE:
                footer = on_card.FOOTER_COMPLETE.format(time=time)
                if place_of(self._client.opening.chat_id) is not None:
                    return  # a comment's replies stand in a document, where no mark is wanted
                if len(self._outbox) > self._first_was_tried:
                    self._add_footer(footer)
                else:
                    self._outbox.append(UnsentReply(footer))
            case TurnState.ERROR:
                # An agent's words: they mention nobody.
                footer = on_card.FOOTER_ERROR.format(time=time)
                if turn.error is not None:
                    error = Text(quoted(turn.error.en), quoted(turn.error.zh))
                    footer = footer.plus("\n").joined(error)
                self._outbox.append(UnsentReply(footer))
            case _ if turn.note == on_card.INTERRUPTED:
                self._add_footer(on_card.FOOTER_ABORTED.format(time=time))
            case _ if not self._client.stop_is_answered:
                self._outbox.append(UnsentReply(in_chat.STOPPED_TASK))

    def _add_footer(self, footer: Text) -> None:
        self._outbox[-1] = UnsentReply(self._outbox[-1].text, footer)

    async def _send(self, message: UnsentReply) -> None:
        """Send one message; the same uuid makes a repetition harmless.

        Markdown goes as plain text where it is not taken: the words matter more than how
        they look.
        """
        self._first_was_tried = True
        await self._client.note_unsent()
        until = trio.current_time() + GIVE_UP_AFTER_S
        for way in self._ways(message):
            tries = Tries(
                again_after_s=again_after_s,
                pauses=PAUSES,
                within_s=max(0.0, until - trio.current_time()),
            )
            send = partial(self._client.call, way, gateway.Priority.CREATE)
            outcome = await while_it_helps(send, tries)
            if isinstance(outcome, MessageSent) or again_after_s(outcome, 0.0) is not None:
                break
        else:
            log.error("feishu.text_not_taken", turn=self._client.opening.turn_id)

    def _ways(self, message: UnsentReply) -> Iterator[gateway.Operation]:
        """Return the ways to send a message, the best first, each under a uuid of its own."""
        language = self._client.peers.language
        card = message_card(message.text, message.footer, language)
        yield from self._client.reply("interactive", card, self._name, self._sent)
        plain = message.text.speak(language)
        if message.footer is not None:
            plain = f"{plain.rstrip()}\n\n{message.footer.speak(language)}"
        text = msgspec.json.encode({"text": plain}).decode()
        yield from self._client.reply("text", text, f"{self._name}-text", self._sent)


def _open_code(text: str) -> str:
    """Return the line that opens again the code that *text* ends in; empty: it ends in none."""
    lines = Lines()
    for line in text.splitlines(keepends=True):
        lines.take(line)
    return lines.fence.opening if lines.fence is not None else ""

"""One link: a proxy's connection, from ``hello`` to its end.

It owns its TCP stream, both ways, and its liveness. It asks ownership to admit
its session, passes acks and tool calls on, and gives what the proxy sends of a turn
straight to that turn's actor, whose pace becomes the proxy's own through TCP.
"""

from __future__ import annotations

from typing import Final

import structlog
import trio

from actors.kit.mailbox import put, taken
from actors.kit.services import open_service_nursery
from actors.links.admission import ask_in, place_of, registered
from actors.links.answers import PassedAnswers
from actors.links.capacity import NO_PLACE
from actors.links.common import Common
from actors.links.conversations import LinkConversations
from actors.links.decoding import Decoding
from actors.links.liveness import Liveness
from actors.links.options import CHOSEN_WITHIN_S, Options
from actors.links.permissions import Asks, Permissions
from actors.links.reading import ProxyReader
from actors.links.sender import FrameSender
from actors.links.sending import is_here, linger, peer_of
from actors.links.settings import LinkSettings
from actors.links.share import ACK_S, DELTA_S, MESSAGE_S, REQUEST_S
from actors.links.tools import ToolCalls
from actors.links.turns import LinkTurns, drop
from actors.links.unproven import EARLY_READ_BYTES, Opened
from actors.messages import link, ownership
from protocol.errors import RemoteProtocolError
from protocol.ids import SessionId, TurnId
from protocol.wire import messages as wire
from protocol.wire import vocabulary
from protocol.wire.auth import Verified
from protocol.wire.framing import (
    BODY_BYTES_MAX,
    frame,
)
from protocol.wire.link import (
    Admit,
    CloseLink,
    LinkMachine,
    LinkStep,
    Request,
    Send,
)

MAILBOX_MESSAGES_MAX: Final = 256
"""A link takes its messages at once; this covers one scheduling round of a busy lane."""
GOODBYE_WITHIN_S: Final = 1.0
"""For the last frames to leave."""
LINGER_S: Final = 0.5
"""For the peer to read them and close; one that does not is closed all the same."""

log = structlog.get_logger()


class ProxyLink:
    """One connection: its stream, both ways, and its liveness."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        opened: Opened,
        settings: LinkSettings,
        ownership_tx: trio.MemorySendChannel[ownership.OwnershipMessage],
        common: Common,
    ) -> None:
        connection_id = opened.connection_id
        self._stream = stream
        self._reader = ProxyReader(stream)
        self._id = connection_id
        self._opened = opened
        self._settings = settings
        self._ownership_tx = ownership_tx
        self._wrong_proofs = common.wrong_proofs
        self._places = common.places
        self._machine = LinkMachine(opened.verified)
        self._sender = FrameSender(stream, connection_id)
        self._outbox = self._sender.outbox
        self._frames = Decoding(self._machine, settings, self._sender.end)
        self._mailbox, self._inbox = trio.open_memory_channel[link.LinkMessage](
            MAILBOX_MESSAGES_MAX
        )
        self._proven: Admit | None = None
        self._session_id = SessionId("")
        self.asked_in = False
        self._liveness = Liveness(connection_id)
        asks = None
        if settings.approvals_tx is not None and common.over is not None:
            asks = Asks(connection_id, settings.approvals_tx, common.over)
        self._permissions = Permissions(asks, self._mailbox, self._sender.send, settings.heavy)
        self._turns = LinkTurns(
            connection_id, self._machine, self._permissions, settings.tools.own_turns
        )
        self._calls = ToolCalls(connection_id, settings.tools, ownership_tx, self._sender.send)
        self._answers = PassedAnswers(self._sender.send)
        self._options = Options(connection_id, ownership_tx, self._sender.send)
        self._conversations = LinkConversations(ownership_tx, self._sender.send, settings.notify)

    async def run(self) -> None:
        """Run until either side ends it; the listener notifies ownership of the end."""
        try:
            proven = await self._open()
            if proven is None:
                with trio.move_on_after(GOODBYE_WITHIN_S):
                    await self._outbox.flush()
                await self._linger()
                return
            async with open_service_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._write)
                with self._sender.reading:
                    await self._admit(proven.register, proven.verified)
                    await self._take()
                    await self._read()
                self._outbox.close()
                with trio.move_on_after(GOODBYE_WITHIN_S, shield=True):
                    await self._outbox.wait_done()
                await self._linger()
                nursery.cancel_scope.cancel(reason="link over")
        finally:
            with self._mailbox, self._inbox:
                while (message := taken(self._inbox)) is not None:
                    drop(message)
            self._frames.close()
            self._turns.close_all()
            self._permissions.connection_over()
            self._options.close()
            self._answers.close()
            self._conversations.close()

    async def _open(self) -> Admit | None:
        """Speak with who has proved nothing yet, without a task beside: they may come in floods.

        Return the registration whose proof holds; None when the link is over.
        """
        opened = self._opened
        if not opened.greeted:
            self._outbox.put(frame(wire.Hello(nonce=opened.nonce)))
        data: bytes | bytearray = opened.take_received()
        while not self._outbox.over:
            with trio.move_on_at(opened.register_by) as late:
                await self._outbox.flush()
                data = data or await self._stream.receive_some(EARLY_READ_BYTES)
            if late.cancelled_caught:
                self._sender.end(self._machine.register_timeout().message)
            elif not data:
                self._sender.end()
            else:
                self._frames.feed(data)
                await self._take()
            data = b""
            if self._proven is not None:
                return self._proven
        return None

    async def _linger(self) -> None:
        if self._sender.lingers:
            with trio.move_on_after(LINGER_S):
                await linger(self._stream)

    # ── from the proxy ──────────────────────────────────────────────────────

    async def _read(self) -> None:
        while True:
            await self._frames.reserve()
            self._liveness.reading()
            data = await self._reader.read()
            self._liveness.received()
            if not data:
                return
            self._frames.feed(data)
            self._reader.brought(text_alone=await self._take())

    async def _take(self) -> bool:
        """Do what one read brought, in order; messages of turns are joined first.

        Return whether it was text of turns alone.
        """
        text_alone = True
        of_turns: list[wire.TurnMessage] = []
        try:
            for body in self._frames.reader:
                received = await self._frames.decoded(body)
                del body  # what it holds may be large, and what is done with it take long
                is_text = isinstance(received, wire.Delta)
                text_alone = text_alone and is_text
                await self._frames.pay(DELTA_S if is_text else MESSAGE_S)
                if isinstance(received, wire.TurnMessage):
                    of_turns.append(received)
                elif received is not None:
                    await self._turns.pass_on(of_turns)
                    of_turns = []
                    if isinstance(received, Request):
                        is_ack = isinstance(received, wire.Ack)
                        await self._frames.pay(ACK_S if is_ack else REQUEST_S)
                    await self._do(received)
                    self._frames.release()
                    if isinstance(received, Admit):
                        return False  # what follows is taken once it is admitted
        except RemoteProtocolError as fault:
            await self._turns.pass_on(of_turns)
            await self._do(self._machine.torn(fault))
        else:
            await self._turns.pass_on(of_turns)
        self._frames.release()
        return text_alone

    async def _do(self, step: LinkStep | Request) -> None:
        match step:
            case Send(message=message):
                self._sender.send(message)
            case CloseLink(message=message):
                if message.code == "bad_proof":
                    await self._slow_down()
                self._sender.end(message)
                await trio.lowlevel.checkpoint()
            case Admit():
                self._proven = step
            case wire.Ack() as ack:
                await put(self._ownership_tx, ownership.RowAcked(connection_id=self._id, ack=ack))
            case wire.Tool() as tool:
                await self._note_question(tool)
                await self._calls.use(tool, self._nursery, self._frames.holding)
            case wire.TurnOpen() as wish:
                refusal = await self._turns.open_own(self._session_id, wish)
                if refusal is not None:
                    self._sender.send(refusal)
            case wire.OptionsOffer() as offered:
                await self._options.offer(offered)
            case wire.Chosen() as chosen:
                await self._options.chosen(chosen)
            case wire.Conversation() | wire.Resumed() as reported:
                await self._conversations.take(reported, self._nursery)
            case wire.PermissionRequest() as request:
                key = f"leave {request.request_id}"
                await self._turns.asks(key, request.turn_id)
                if not await self._permissions.ask(request):
                    await self._turns.answered(key)
            case wire.PermissionClosed() as closed:
                await self._turns.answered(f"leave {closed.request_id}")
                await self._permissions.close(closed)
            case wire.AnswerTaken() as taken:
                self._answers.taken(taken)

    async def _note_question(self, tool: wire.Tool) -> None:
        """A turn may wait for the answer to what is elicited, until that is taken back."""
        question, turn_id = tool.args.get("question"), tool.args.get("turn_id")
        if tool.name == "elicit" and isinstance(question, str) and isinstance(turn_id, str):
            await self._turns.asks(question, turn_id)
        elif tool.name == "withdraw" and isinstance(question, str):
            await self._turns.answered(question)

    async def _slow_down(self) -> None:
        """Let a wrong proof wait for its refusal; log that somebody tries."""
        delay_s = self._wrong_proofs.delay_s(trio.current_time())
        if self._wrong_proofs.is_worth_a_line:
            log.warning(
                "link.bad_proof",
                connection=self._id,
                peer=peer_of(self._stream),
                recent=self._wrong_proofs.count,
                refused_after_s=delay_s,
            )
        await trio.sleep(delay_s)

    async def _admit(self, register: wire.Register, verified: Verified) -> None:
        self._places.registers(self._id)
        if not self._places.admit(self._id, place_of(register, verified)):
            self._sender.end(wire.Refused(code="too_many_sessions", message=NO_PLACE))
            return
        answer = await ask_in(register, verified, self._id, self._mailbox, self._ownership_tx)
        # Also if no answer came: it may have been admitted, and must learn of our end.
        self.asked_in = True
        match answer:
            case ownership.Admitted():
                self._machine.admitted(
                    has_session=not vocabulary.is_sessionless(register.role, register.capabilities)
                )
                self._session_id = SessionId(register.session_id)
                self._options.admitted(register, answer.choices)
                self._conversations.admitted(register, answer.alias)
                self._frames.reader.body_bytes_max = BODY_BYTES_MAX
                self._calls.admitted(register, verified.by, here=is_here(self._stream))
                self._permissions.admitted(SessionId(register.session_id), answer.alias)
                self._sender.send(registered(register, verified, answer, self._settings))
                # After it: rows may be offered in the very step that admits the session.
                self._nursery.start_soon(self._receive_messages)
                self._nursery.start_soon(self._watch_liveness)
            case ownership.NotAdmitted():
                self._sender.end(wire.Refused(code=answer.code, message=answer.message))

    # ── to the proxy ────────────────────────────────────────────────────────

    async def _write(self) -> None:
        try:
            await self._outbox.run()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._sender.reading.cancel(reason="the proxy closed its end")

    async def _receive_messages(self) -> None:
        async for first in self._inbox:
            message: link.LinkMessage | None = first
            while message is not None:  # no wait: they leave in one write
                self._pass_on(message)
                message = taken(self._inbox)

    def _pass_on(self, message: link.LinkMessage) -> None:
        match message:
            case link.Give() if not self._options.ready.is_set():
                self._nursery.start_soon(self._give_when_ready, message)
            case link.Give():
                self._give(message)
            case link.ChooseOption():
                self._options.choose(message)
            case link.GiveAnswer():
                self._answers.give(message)
                self._nursery.start_soon(self._turns.answered, message.question_id)
            case link.ResumeConversation():
                self._conversations.ask(message)
            case wire.Cancel() as cancel:
                self._permissions.turn_over(TurnId(cancel.turn_id))
                self._sender.send(cancel)
            case wire.PermissionVerdict() as verdict:
                self._sender.send(verdict)
                self._nursery.start_soon(self._turns.answered, f"leave {verdict.request_id}")
            case link.LeaveLink(reason=reason, retry_after_ms=retry_after_ms):
                at = list(self._settings.successor()) if reason == "shutdown" else []
                self._sender.end(wire.Bye(reason=reason, retry_after_ms=retry_after_ms, at=at))

    async def _give_when_ready(self, row: link.Give) -> None:
        try:
            with trio.move_on_after(CHOSEN_WITHIN_S):
                await self._options.ready.wait()
        except trio.Cancelled:
            drop(row)
            raise
        self._options.ready.set()
        self._give(row)

    def _give(self, row: link.Give) -> None:
        self._sender.send(self._turns.given(row))

    async def _watch_liveness(self) -> None:
        """Give up a proxy that is silent."""
        await self._liveness.watch(self._sender.send)
        self._sender.end()

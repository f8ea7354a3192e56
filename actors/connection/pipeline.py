"""The way of an event from a frame to intake: journal, ack, forward.

How it works: the reading loop sends each ``Append`` itself, so the journal sees events
in order of receipt, and does not wait for the commit. ``_settle`` takes the answers in
that same order and acks; ``_forward`` passes on to intake at intake's pace. Both queues
between them are bounded; when they are full the loop stops reading and TCP pushes back.
They outlive a link, so what was committed on the last one still reaches intake.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import groupby
from typing import Final, NamedTuple, get_args

import msgspec
import structlog
import trio

from actors.connection.settings import (
    DRAIN_WITHIN_S,
    FORWARDED_EVENTS_MAX,
    IN_FLIGHT_EVENTS_MAX,
    PRESSES_MAX,
    UNSURE_EVENTS_MAX,
    ConnectionSettings,
    Peers,
)
from actors.feishu.socket import Socket
from actors.kit import metrics
from actors.kit.mailbox import ActorGone, Answer, Reply, offer, put, taken
from actors.messages import intake, journal
from protocol.errors import RemoteProtocolError
from protocol.platform import events, longconn
from protocol.routing.delivery import EventKind, StoredEvent

EVENTS: Final = metrics.counter(
    "larkd_events", "Events received and committed, repeats included.", "account", "kind"
)
ACK_LATENCY: Final = metrics.histogram(
    "larkd_ack_latency_seconds",
    "From an event's receipt to its acknowledgement, its commit included.",
    metrics.FAST_S,
)

log = structlog.get_logger()


class Pipeline:
    """Takes events in order of receipt; acks and forwards them in that order."""

    def __init__(
        self,
        settings: ConnectionSettings,
        peers: Peers,
        *,
        now_ms: Callable[[], int],
        noticed: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._peers = peers
        self._now_ms = now_ms
        self._noticed = noticed
        self._log = log.bind(account=settings.account)
        self._pending_tx, self._pending_rx = trio.open_memory_channel[_Pending | trio.Event](
            IN_FLIGHT_EVENTS_MAX
        )
        self._forward_tx, self._forward_rx = trio.open_memory_channel[StoredEvent | intake.Recover](
            FORWARDED_EVENTS_MAX
        )
        self._forwarding = 0  # events in that channel, or with its reader
        self._presses = trio.Semaphore(PRESSES_MAX)
        self._counted = {
            kind: EVENTS.labels(account=settings.account, kind=kind) for kind in get_args(EventKind)
        }
        self._unsure = _Unsure()
        self.last_event_at_ms: int | None = None

    async def run(self) -> None:
        """Work until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._forward)
            await self._settle(nursery)

    async def take(self, socket: Socket, event: longconn.Complete) -> None:
        """Send one event to the journal. The answer is taken in :meth:`_settle`."""
        received_at, received_at_ms = trio.current_time(), self._now_ms()
        envelope = self._read(event.payload)
        answer: Answer[journal.Appended | journal.Failed] = Answer()
        append = journal.Append(
            account=self._settings.account,
            event_id=envelope.event_id,
            message_key=envelope.message_key,
            kind=envelope.kind,
            payload=event.payload,
            received_at_ms=received_at_ms,
            reply=Reply(answer),
        )
        if not await self._sent(append, received_at):
            self._not_journaled(envelope, "the journal's mailbox is full or closed")
            return
        self.last_event_at_ms = received_at_ms
        self._noticed()
        pending = _Pending(
            event=event,
            envelope=envelope,
            append=append,
            socket=socket,
            received_at=received_at,
            answer=answer,
        )
        await put(self._pending_tx, pending)

    async def _sent(self, append: journal.Append, received_at: float) -> bool:
        if offer(self._peers.journal, append):
            return True
        with trio.move_on_at(received_at + self._settings.append_within_s):
            try:
                await self._peers.journal.send(append)
            except trio.BrokenResourceError:
                return False
            return True
        return False

    async def drain(self) -> None:
        """Let commits under way be acked: a mark that has passed the queue shows it."""
        passed = trio.Event()
        with trio.move_on_after(DRAIN_WITHIN_S):
            await self._pending_tx.send(passed)
            await passed.wait()

    def _read(self, payload: bytes) -> events.Envelope:
        """Read the envelope. What cannot be read is kept under a name of its own.

        Refusing it would only bring it back; so it is journaled for a human to look
        at, acked, and for intake it is one of the events it has no use for.
        """
        try:
            return events.read_envelope(payload)
        except RemoteProtocolError as error:
            event_id = events.synthetic_event_id(payload)
            self._log.error(
                "feishu.event.unreadable", event_id=event_id, size=len(payload), reason=str(error)
            )
            return events.Envelope(event_id=event_id, event_type="unreadable", kind="other")

    async def _settle(self, nursery: trio.Nursery) -> None:
        """Take the journal's answers in order of receipt: ack what is committed.

        What one commit has decided is acked in one write, before anything is waited for.
        """
        settled: list[_Settled] = []
        while True:
            pending = taken(self._pending_rx)
            if pending is None or isinstance(pending, trio.Event) or not pending.answer.is_over:
                await self._acknowledge(settled)
                settled = []
            if pending is None:
                pending = await self._pending_rx.receive()
            if isinstance(pending, trio.Event):
                pending.set()
                continue
            envelope = pending.envelope
            appended = await self._commit_of(pending)
            if appended is None:
                continue
            fresh = self._unsure.resolve(envelope) or not appended.duplicate
            self._log.info(
                "feishu.message.received"
                if envelope.kind == "message"
                else "feishu.event.received",
                event_id=envelope.event_id,
                message=envelope.message_key,
                chat=envelope.chat_id,
                type=envelope.event_type,
                duplicate=not fresh,
            )
            self._counted[envelope.kind].inc()
            stored = pending.append.stored(appended.row_id)
            if fresh and envelope.kind == "card_action":
                await self._acknowledge(settled)  # what came before it is with intake before it
                settled = []
                await self._presses.acquire()
                nursery.start_soon(self._press, pending, stored)
                continue
            settled.append(_Settled(pending, stored if fresh else None))

    async def _acknowledge(self, settled: list[_Settled]) -> None:
        """Ack what is committed, in one write for each link, and pass on what is new."""
        for socket, of_link in groupby(settled, lambda one: one.pending.socket):
            pending = [one.pending for one in of_link]
            if self._may_ack():
                await socket.send(*(one.ack() for one in pending))
                now = trio.current_time()
                for one in pending:
                    ACK_LATENCY.observe(now - one.received_at)
        for _, fresh in settled:
            if fresh is not None:
                await self._pass_on(fresh)

    def _may_ack(self) -> bool:
        """On a claim that is not fresh nothing is acked: the successor gets it again."""
        return self._settings.fresh is None or self._settings.fresh()

    async def _commit_of(self, pending: _Pending) -> journal.Appended | None:
        """Wait for the commit; None means no ack, and the reason is logged."""
        answer: journal.Appended | journal.Failed | None = None
        with suppress(ActorGone, trio.TooSlowError):
            answer = await pending.answer.receive_by(
                pending.received_at + self._settings.append_within_s
            )
        match answer:
            case journal.Appended():
                return answer
            case journal.Failed(reason=reason):
                # A connection to PostgreSQL that is lost may have committed it all the same:
                # then the next push is a duplicate that intake never received.
                self._unsure.add(pending.envelope)
                self._not_journaled(pending.envelope, reason)
            case None:
                # It may be committed all the same, and a press is pushed once. Intake asks
                # the journal after this, so it finds the row, before what comes now.
                self._unsure.add(pending.envelope)
                self._not_journaled(pending.envelope, "the journal did not answer in time")
                await self._pass_on(intake.Recover())
        return None

    def _not_journaled(self, envelope: events.Envelope, reason: str) -> None:
        self._log.error("feishu.event.not_journaled", event_id=envelope.event_id, reason=reason)

    async def _pass_on(self, stored: StoredEvent | intake.Recover) -> None:
        """Give a committed event to intake; where that has no time yet, to :meth:`_forward`."""
        if not self._forwarding and offer(self._peers.intake, stored):
            return
        self._forwarding += 1
        await self._forward_tx.send(stored)

    async def _forward(self) -> None:
        """Pass on in order, at intake's pace, what could not be passed on at once."""
        async for stored in self._forward_rx:
            await self._peers.intake.send(stored)
            self._forwarding -= 1

    async def _press(self, pending: _Pending, stored: StoredEvent) -> None:
        """Give a press to intake and answer it in time, with intake's toast if it has one.

        The deadline is for the answer only. The press itself is durable and is
        delivered however long intake's mailbox is full.
        """
        try:
            answer: Answer[intake.Toast | None] = Answer()
            message = intake.PressArrived(event=stored, reply=Reply(answer))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._peers.intake.send, message)
                toast: intake.Toast | None = None
                answered = False
                with answer, trio.move_on_at(pending.received_at + self._settings.press_within_s):
                    try:
                        toast = await answer.receive()
                    except ActorGone:
                        self._log.warning("feishu.press.dropped", event_id=stored.event_id)
                    answered = True
                if not answered:
                    self._log.warning("feishu.press.late", event_id=stored.event_id)
                if self._may_ack():
                    await pending.socket.send(pending.ack(_toast_json(toast) if toast else None))
        finally:
            self._presses.release()


class _Pending(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One event on its way through the journal."""

    event: longconn.Complete
    envelope: events.Envelope
    append: journal.Append
    socket: Socket
    received_at: float
    answer: Answer[journal.Appended | journal.Failed]

    def ack(self, data: bytes | None = None) -> longconn.Frame:
        took_ms = int((trio.current_time() - self.received_at) * 1_000)
        return longconn.ack(self.event.frame, took_ms=took_ms, data=data)


class _Settled(NamedTuple):
    """An event that is committed and not acked yet."""

    pending: _Pending
    fresh: StoredEvent | None
    """What intake is to have of it; None: it had it before."""


class _Unsure:
    """Events whose commit was not confirmed: committed or not, intake has not received them."""

    def __init__(self) -> None:
        self._keys: dict[str, None] = {}

    def add(self, envelope: events.Envelope) -> None:
        self._keys[self._key(envelope)] = None
        if len(self._keys) > UNSURE_EVENTS_MAX:
            del self._keys[next(iter(self._keys))]

    def resolve(self, envelope: events.Envelope) -> bool:
        """Return whether the event was among them, and take it out."""
        key = self._key(envelope)
        if key not in self._keys:
            return False
        del self._keys[key]
        return True

    @staticmethod
    def _key(envelope: events.Envelope) -> str:
        return envelope.message_key or envelope.event_id


def _toast_json(toast: intake.Toast) -> bytes:
    return msgspec.json.encode(
        {
            "toast": {
                "type": toast.kind,
                "content": toast.en,
                "i18n": {"zh_cn": toast.zh, "en_us": toast.en},
            }
        }
    )

"""Links in virtual time: who registers late, who falls silent, who reads too slowly."""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from actors import links
from actors.links.link import ProxyLink
from actors.messages import approvals, link, ownership, turn
from protocol.ids import (
    AccountId,
    ChatId,
    ConnectionId,
    EventId,
    MessageId,
    OpenId,
    RowId,
    TurnId,
)
from protocol.routing.delivery import Offer, Prompt
from protocol.wire import messages as wire
from protocol.wire.auth import Verified
from tests.kit.garbage import nothing_kept_of

pytestmark = pytest.mark.virtual_time

Map = dict[str, Any]


class Listener(trio.abc.Listener[Any]):
    """Accepts what the test connects."""

    def __init__(self) -> None:
        self._tx, self._rx = trio.open_memory_channel[Any](10)

    async def connect(self, *, lockstep: bool = False) -> Peer:
        """*lockstep*: what is sent waits until it is read, as with a closed window."""
        ours, theirs = lockstep_stream_pair() if lockstep else memory_stream_pair()
        await self._tx.send(theirs)
        return Peer(ours)

    async def accept(self) -> Any:
        return await self._rx.receive()

    async def aclose(self) -> None:
        self._rx.close()


class Peer:
    """A proxy's end."""

    def __init__(self, stream: trio.StapledStream[Any, Any]) -> None:
        self.stream = stream
        self._buffer = b""

    async def send(self, **message: Any) -> None:
        body = msgspec.msgpack.encode(message)
        await self.stream.send_all(len(body).to_bytes(4, "big") + body)

    async def receive(self) -> Map | None:
        """Return the next message, None at the end of the stream."""
        while True:
            size = int.from_bytes(self._buffer[:4], "big")
            if len(self._buffer) >= 4 + size > 4:
                body, self._buffer = self._buffer[4 : 4 + size], self._buffer[4 + size :]
                decoded: Map = msgspec.msgpack.decode(body)
                return decoded
            data = await self.stream.receive_some()
            if not data:
                return None
            self._buffer += data

    async def register(self, *capabilities: str) -> None:
        hello = await self.receive()
        assert hello is not None
        assert hello["t"] == "hello"
        await self.send(
            t="register",
            protocol=1,
            session_id="s",
            role="session",
            proof="x",
            pid=1,
            proxy_version="1",
            capabilities=list(capabilities),
        )
        registered = await self.receive()
        assert registered is not None
        assert registered["t"] == "registered"


class World:
    def __init__(self) -> None:
        self.listener = Listener()
        self.received: list[ownership.OwnershipMessage] = []
        self.free = trio.Event()
        """Unset while ownership is busy with something else."""
        self.free.set()
        self.links: dict[ConnectionId, trio.MemorySendChannel[link.LinkMessage]] = {}
        self.choices: dict[str, str] = {}
        """What people chose of the session's agent before."""
        self.tx, self._rx = trio.open_memory_channel[ownership.OwnershipMessage](10)

    async def own(self) -> None:
        async for message in self._rx:
            await self.free.wait()
            self.received.append(message)
            match message:
                case ownership.RegisterSession():
                    self.links[message.connection_id] = message.link
                    with message.reply:
                        message.reply.send(
                            ownership.Admitted(alias="s", lease_epoch=3, choices=self.choices)
                        )
                case ownership.CallTool():
                    result: Any = message.args
                    if message.name == "crash":
                        result = object()  # nothing that can be encoded
                    elif message.name == "twice":
                        result = [message.args, message.args]
                    with message.reply:
                        message.reply.send(ownership.ToolDone(result=result))


@asynccontextmanager
async def open_world(
    approvals_tx: trio.MemorySendChannel[approvals.ApprovalsMessage] | None = None,
) -> AsyncIterator[World]:
    world = World()
    numbers = itertools.count(1)
    settings = links.LinkSettings(
        daemon_version="1",
        generation=1,
        verify=lambda *_claim: Verified("session", None),
        next_connection_id=lambda: ConnectionId(next(numbers)),
        approvals_tx=approvals_tx,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.own)
        await nursery.start(links.serve, [world.listener], settings, world.tx)
        yield world
        nursery.cancel_scope.cancel()


async def test_who_does_not_register_in_ten_seconds_is_refused() -> None:
    async with open_world() as world:
        peer = await world.listener.connect()
        started = trio.current_time()
        assert (await peer.receive() or {})["t"] == "hello"
        refused = await peer.receive()
        assert refused is not None
        assert (refused["t"], refused["code"]) == ("refused", "register_timeout")
        assert trio.current_time() - started == pytest.approx(10)
        assert await peer.receive() is None
        assert [type(one) for one in world.received] == [ownership.LinksStarted]


async def test_a_link_that_is_over_is_freed_at_once() -> None:
    """Sessions that come and go a thousand times leave nothing to collect."""
    async with open_world() as world:
        with nothing_kept_of(ProxyLink):
            for registers in (True, False):
                peer = await world.listener.connect()
                if registers:
                    await peer.register("turns", "options")
                await peer.stream.aclose()
                await wait_all_tasks_blocked()


async def test_a_silent_proxy_is_pinged_and_given_up_after_45_seconds() -> None:
    async with open_world() as world:
        peer = await world.listener.connect()
        await peer.register()
        started = trio.current_time()
        pings = []
        while (message := await peer.receive()) is not None:
            assert message["t"] == "ping"
            pings.append(trio.current_time() - started)
        assert pings == pytest.approx([15, 30])
        assert trio.current_time() - started == pytest.approx(45)
        await wait_all_tasks_blocked()
        assert isinstance(world.received[-1], ownership.ConnectionEnded)


async def test_every_end_reaches_an_ownership_that_was_busy_for_long() -> None:
    async with open_world() as world:
        peers = [await world.listener.connect() for _ in range(50)]
        for peer in peers:
            await peer.register()
        world.free = trio.Event()
        for peer in peers:
            await peer.stream.aclose()
        await trio.sleep(30)
        assert not any(isinstance(one, ownership.ConnectionEnded) for one in world.received)
        world.free.set()
        await wait_all_tasks_blocked()
        ended = [
            one.connection_id
            for one in world.received
            if isinstance(one, ownership.ConnectionEnded)
        ]
        assert sorted(ended) == sorted(world.links)


async def test_a_proxy_that_answers_is_kept_for_ever() -> None:
    async with open_world() as world:
        peer = await world.listener.connect()
        await peer.register()
        for _ in range(100):
            ping = await peer.receive()
            assert ping is not None
            await peer.send(t="pong", n=ping["n"])
        assert trio.current_time() > 1_400
        assert not any(isinstance(one, ownership.ConnectionEnded) for one in world.received)


async def test_a_proxy_that_does_not_read_is_given_up_with_bounded_memory() -> None:
    async with open_world() as world:
        peer = await world.listener.connect(lockstep=True)
        await peer.register()
        sent = 0
        with pytest.raises((trio.BrokenResourceError, trio.ClosedResourceError)):
            for sent in range(1_000):
                await peer.send(t="tool", id=sent, name="n", args={"text": "x" * 1_000_000})
        assert 16 <= sent <= 18, "16 MiB unsent and no more"
        await wait_all_tasks_blocked()
        assert isinstance(world.received[-1], ownership.ConnectionEnded)


async def test_a_proxy_that_reads_no_answers_is_given_up_by_their_number_too() -> None:
    async with open_world() as world:
        peer = await world.listener.connect(lockstep=True)
        await peer.register()
        sent = 0
        with pytest.raises((trio.BrokenResourceError, trio.ClosedResourceError)):
            for sent in range(10_000):
                await peer.send(t="ping", n=sent)
        assert 1_024 <= sent <= 1_030


async def test_who_reads_again_before_it_is_closed_is_sent_why() -> None:
    async with open_world() as world:
        peer = await world.listener.connect(lockstep=True)
        await peer.register()
        for number in range(18):  # one is being written, 16 wait, and one is too many
            await peer.send(t="tool", id=number, name="n", args={"text": "x" * 1_000_000})
        await trio.sleep(0.5)  # of virtual time: all that is ready to run has run
        assert (await peer.receive() or {})["t"] == "tool_result"  # what was begun is whole
        bye = await peer.receive() or {}
        assert (bye["t"], bye["reason"]) == ("bye", "slow_consumer")
        assert await peer.receive() is None


async def test_one_torn_link_leaves_the_others_alone() -> None:
    async with open_world() as world:
        steady, torn = await world.listener.connect(), await world.listener.connect()
        await steady.register()
        await torn.register()
        await torn.stream.send_all(b"\xff\xff\xff\xff")
        error = await torn.receive()
        assert error is not None
        assert (error["t"], error["code"], error["fatal"]) == ("error", "bad_frame", True)
        assert await torn.receive() is None
        await steady.send(t="tool", id=1, name="n", args={"k": "v"})
        answer = await steady.receive()
        assert answer is not None
        assert (answer["t"], answer["result"]) == ("tool_result", {"k": "v"})


ROW = Offer(
    row_id=RowId(1),
    account=AccountId("default"),
    event_id=EventId("e"),
    attempt=1,
    lease_epoch=3,
    prompt=Prompt(
        kind="message",
        chat_id=ChatId("c"),
        message_id=MessageId("om_1"),
        sender_id=OpenId("ou_1"),
        chat_type="p2p",
        content="hi",
    ),
)
OFFERED: Map = {
    "id": "model",
    "name": "Model",
    "kind": "model",
    "value": "small",
    "choices": [{"id": one, "name": one} for one in ("small", "large")],
}


@pytest.mark.parametrize("answers_after_s", [None, 4.0, 60.0])
async def test_a_row_waits_until_what_was_chosen_is_chosen_again_ten_seconds_at_most(
    answers_after_s: float | None,
) -> None:
    async with open_world() as world:
        world.choices = {"model": "large"}
        peer = await world.listener.connect()
        await peer.register("turns", "options")
        began_at = trio.current_time()
        (mailbox,) = world.links.values()
        await mailbox.send(link.Give(offer=ROW, turn_id=TurnId("t1"), turn=None))
        waits_s = 10.0
        if answers_after_s is not None:
            await peer.send(t="offer", options=[OFFERED], commands=[])
            asked = await peer.receive()
            assert asked is not None
            assert (asked["t"], asked["option"], asked["choice"]) == ("choose", "model", "large")
            if answers_after_s < waits_s:
                waits_s = answers_after_s
                await trio.sleep(answers_after_s)
                await peer.send(t="chosen", n=asked["n"], ok=True)
        delivered = await peer.receive()
        assert delivered is not None
        assert delivered["t"] == "deliver"
        assert trio.current_time() - began_at == pytest.approx(waits_s)


async def test_a_row_that_waits_for_what_was_chosen_ends_with_its_link() -> None:
    async with open_world() as world:
        world.choices = {"model": "large"}
        peer = await world.listener.connect()
        await peer.register("turns", "options")
        inputs, outlet = turn.open_inputs(64)
        (mailbox,) = world.links.values()
        await mailbox.send(link.Give(offer=ROW, turn_id=TurnId("t1"), turn=inputs))
        await wait_all_tasks_blocked()
        await peer.stream.aclose()
        assert [message async for message in outlet] == []


async def test_a_turn_is_routed_to_its_actor_and_deltas_are_joined() -> None:
    async with open_world() as world:
        peer = await world.listener.connect()
        await peer.register()
        inputs, outlet = turn.open_inputs(64)
        (mailbox,) = world.links.values()
        await mailbox.send(link.Give(offer=ROW, turn_id=TurnId("t1"), turn=inputs))
        delivered = await peer.receive()
        assert delivered is not None
        assert (delivered["t"], delivered["content"]) == ("deliver", "hi")
        assert delivered["meta"] == {
            "kind": "message",
            "account": "default",
            "chat_id": "c",
            "message_id": "om_1",
            "chat_type": "p2p",
            "sender_id": "ou_1",
        }
        bodies = [
            msgspec.msgpack.encode({"t": "delta", "turn_id": "t1", "text": text})
            for text in ("a", "b", "c")
        ]
        bodies.append(
            msgspec.msgpack.encode({"t": "turn_end", "turn_id": "t1", "status": "complete"})
        )
        await peer.stream.send_all(b"".join(len(body).to_bytes(4, "big") + body for body in bodies))
        assert [message async for message in outlet] == [
            wire.Delta(turn_id="t1", text="abc"),
            wire.TurnEnd(turn_id="t1", status="complete"),
        ]


async def test_a_turn_learns_that_it_waits_for_people_and_that_it_does_not_any_more() -> None:
    approvals_tx, _approvals_rx = trio.open_memory_channel[approvals.ApprovalsMessage](10)
    inputs, outlet = turn.open_inputs(64)
    options = [{"id": "y", "label": "Allow", "kind": "allow_once"}]
    leave = {"t": "permission_request", "turn_id": "t1", "title": "rm", "options": options}
    question = {"t": "tool", "name": "elicit", "args": {"question": "q_1", "turn_id": "t1"}}

    def changes(received: list[turn.TurnInput]) -> list[int]:
        return [one.change for one in received if isinstance(one, turn.Waits)]

    async with open_world(approvals_tx) as world:
        peer = await world.listener.connect()
        await peer.register("turns", "permission")
        (mailbox,) = world.links.values()
        await mailbox.send(link.Give(offer=ROW, turn_id=TurnId("t1"), turn=inputs))
        assert (await peer.receive() or {})["t"] == "deliver"
        for ask, answer in (
            (leave, wire.PermissionVerdict(request_id="r", outcome="cancelled")),
            (leave, {"t": "permission_closed", "reason": "elsewhere"}),
            (question, {"t": "tool", "id": 2, "name": "withdraw", "args": {"question": "q_1"}}),
        ):
            named = {"id": 1} if ask is question else {"request_id": "r"}
            for _ in range(2):  # asked twice it is one
                await peer.send(**ask, **named)
            assert changes([await outlet.receive()]) == [1]
            if isinstance(answer, dict):
                await peer.send(**named | answer)
            else:
                await mailbox.send(answer)
            assert changes([await outlet.receive()]) == [-1]
        # What can't be asked is waited for by nobody.
        await peer.send(**leave | {"options": []}, request_id="r2")
        await peer.send(t="turn_end", turn_id="t1", status="complete")
        assert sum(changes([one async for one in outlet])) == 0


async def test_a_crash_of_one_link_is_its_own() -> None:
    async with open_world() as world:
        steady, unlucky = await world.listener.connect(), await world.listener.connect()
        await steady.register()
        await unlucky.register()
        await unlucky.send(t="tool", id=1, name="crash", args={})
        assert await unlucky.receive() is None
        await steady.send(t="tool", id=1, name="n", args={})
        answer = await steady.receive()
        assert answer is not None
        assert answer["t"] == "tool_result"


async def test_a_result_over_a_frame_is_an_error_of_that_call() -> None:
    async with open_world() as world:
        peer = await world.listener.connect()
        await peer.register()
        await peer.send(t="tool", id=7, name="twice", args={"text": "x" * 5_000_000})
        answer = await peer.receive()
        assert answer is not None
        assert (answer["t"], answer["id"], answer["ok"]) == ("tool_result", 7, False)
        assert re.fullmatch(r"result too large \(10000\d{3} bytes\); ask for less", answer["error"])
        await peer.send(t="ping", n=1)
        assert await peer.receive() == {"t": "pong", "n": 1}


async def test_who_asks_without_end_waits_for_others_like_him_and_nobody_else() -> None:
    calls = 200
    async with open_world() as world:
        greedy = [await world.listener.connect() for _ in range(3)]
        honest = await world.listener.connect()
        for peer in (*greedy, honest):
            await peer.register()
        answered: list[int] = []

        async def ask(peer: Peer) -> None:
            for number in range(calls):
                await peer.send(t="tool", id=number, name="echo", args={})
            for _ in range(calls):
                assert (await peer.receive() or {})["t"] == "tool_result"
                answered.append(1)

        async with trio.open_nursery() as nursery:
            for peer in greedy:
                nursery.start_soon(ask, peer)
            started = trio.current_time()
            for number in range(8):
                await trio.sleep(0.15)
                before = trio.current_time()
                await honest.send(t="tool", id=number, name="echo", args={})
                assert (await honest.receive() or {})["t"] == "tool_result"
                assert trio.current_time() == before  # no time but what others make it wait
            assert len(answered) < 3 * calls
        # Together they have a quarter of the loop, at a millisecond each.
        assert trio.current_time() - started == pytest.approx(3 * calls * 0.001 * 3, rel=0.2)


async def test_the_end_of_what_an_agent_asked_reaches_approvals_that_are_busy_for_long() -> None:
    approvals_tx, approvals_rx = trio.open_memory_channel[approvals.ApprovalsMessage](1)
    async with open_world(approvals_tx) as world:
        assert isinstance(await approvals_rx.receive(), approvals.AllConnectionsOver)
        peer = await world.listener.connect()
        await peer.register("turns", "permission")
        turn_tx, turn_rx = turn.open_inputs(10)
        (mailbox,) = world.links.values()
        with turn_rx:
            for number in range(3):
                turn_id = TurnId(f"t{number}")
                await mailbox.send(link.Give(offer=ROW, turn_id=turn_id, turn=turn_tx.clone()))
                assert (await peer.receive() or {})["t"] == "deliver"
                await peer.send(
                    t="permission_request",
                    request_id=f"r{number}",
                    turn_id=f"t{number}",
                    title="rm",
                    options=[
                        {"id": "y", "label": "Allow", "kind": "allow_once"},
                        {"id": "n", "label": "Reject", "kind": "reject_once"},
                    ],
                )
            # The mailbox holds one question, and two wait; what ends meanwhile waits, too.
            await mailbox.send(wire.Cancel(turn_id="t0", reason="user"))
            await trio.sleep(30)
            await mailbox.send(wire.Cancel(turn_id="t0", reason="user"))
            first = await approvals_rx.receive()
            await peer.stream.aclose()
            await wait_all_tasks_blocked()
            rest = []
            with trio.move_on_after(5):
                while True:
                    rest.append(await approvals_rx.receive())
    assert isinstance(first, approvals.Ask)
    over = [one for one in rest if isinstance(one, approvals.TurnOver)]
    assert [one.turn_id for one in over] == ["t0"]
    assert isinstance(rest[-1], approvals.ConnectionOver)
    asked = [one for one in rest if isinstance(one, approvals.Ask)]
    assert all(rest.index(one) < rest.index(rest[-1]) for one in asked)

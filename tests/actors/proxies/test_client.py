"""The typed client against a real daemon: its turns, its tools, its reconnects."""

from __future__ import annotations

import itertools
import json
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from actors.proxies.client import (
    DaemonNotRunning,
    Disconnected,
    NotTheDaemon,
    Proxy,
    ProxySettings,
    ProxyTurn,
    Replaced,
    SessionRefused,
    ToolCallFailed,
    open_proxy,
)
from actors.proxies.outgoing import EVERY_S, JOIN_S, Outgoing
from protocol.wire import codec
from protocol.wire import messages as wire
from protocol.wire.auth import daemon_proof
from protocol.wire.framing import FrameReader, frame
from tests.kit.daemon import Platform, environment, open_daemon, open_platform, open_served

README = Path(__file__).resolve().parents[3] / "actors" / "proxies" / "README.md"


def settings(state_dir: Path, session_id: str = "boss", **more: object) -> ProxySettings:
    fields = {"role": "dispatcher"} | more
    return ProxySettings(session_id=session_id, state_dir=state_dir, **fields)  # type: ignore[arg-type]


def attached(proxy: Proxy) -> wire.Registered | None:
    """Return what the daemon answered at registration; None while it is away."""
    return proxy._link.registered if proxy._link is not None else None


async def next_turn(proxy: Proxy) -> ProxyTurn:
    with trio.fail_after(60):
        async for turn in proxy.turns():
            return turn
    raise AssertionError("no more turns")


async def test_a_turn_is_answered_and_ends_with_its_block(state_dir: Path) -> None:
    async with open_served(state_dir) as platform, open_proxy(settings(state_dir)) as proxy:
        registered = attached(proxy)
        assert registered is not None
        assert registered.alias == "boss"
        await platform.send(await platform.chat(), "hello")
        turn = await next_turn(proxy)
        assert turn.text == "hello"
        async with turn:
            await turn.think("hm")
            await turn.tool("c", name="Read", kind="read", status="running", summary="a.py")
            await turn.plan([("look", "completed")])
            await turn.usage(input_tokens=10)
            await turn.send("answered")
        await platform.wait_cards(1, "answered", "Done · ", "hm", "a.py", "look", "↑10")


async def test_a_block_that_raises_ends_the_turn_as_an_error(state_dir: Path) -> None:
    async with open_served(state_dir) as platform, open_proxy(settings(state_dir)) as proxy:
        await platform.send(await platform.chat(), "hello")
        async with await next_turn(proxy):
            raise ValueError("agent broke")
        await platform.wait_cards(1, "❌ Error · ", "ValueError: agent broke")


async def test_cancel_ends_the_block_at_once(state_dir: Path) -> None:
    async with open_served(state_dir) as platform, open_proxy(settings(state_dir)) as proxy:
        chat = await platform.chat()
        await platform.send(chat, "hello")
        turn = await next_turn(proxy)
        reached_the_end = False
        with trio.fail_after(60):
            async with turn:
                await turn.send("working")
                await platform.wait_cards(1, "working")
                await platform.send(chat, "停止")
                await trio.sleep_forever()
                reached_the_end = True
        assert not reached_the_end
        assert turn.cancel_reason == "user"
        await platform.wait_cards(1, "🛑 Stopped · ", "working")


async def test_tools_answer_or_report_why_not(state_dir: Path) -> None:
    async with (
        open_served(state_dir),
        open_proxy(settings(state_dir)) as boss,
        open_proxy(settings(state_dir, "mate", role="session")) as mate,
    ):
        status = await mate.call_tool("feishu_channel_status")
        assert status["owner_session_id"] == "boss"
        with pytest.raises(ToolCallFailed, match="was not granted by the dispatcher"):
            await mate.call_tool("feishu_channel_acquire")
        assert "owner is now mate" in await boss.call_tool(
            "feishu_channel_acquire", {"session_id": "mate"}
        )


async def test_a_restart_of_the_daemon_is_survived(state_dir: Path) -> None:
    async with open_platform() as platform:
        async with open_daemon(platform, state_dir) as first:
            async with open_proxy(settings(state_dir)) as proxy:
                assert attached(proxy) is not None
                await first.kill()
                with trio.fail_after(60):
                    while attached(proxy) is not None:
                        await trio.sleep(0.01)
                with pytest.raises(Disconnected, match="not reachable; reconnecting"):
                    await proxy.call_tool("feishu_channel_status")
                async with open_daemon(platform, state_dir):
                    with trio.fail_after(60):
                        while attached(proxy) is None:
                            await trio.sleep(0.01)
                    await platform.send(await platform.chat(), "still there?")
                    async with await next_turn(proxy) as turn:
                        await turn.send("yes")
                    await platform.wait_cards(1, "yes", "Done · ")


async def test_a_newer_connection_ends_the_older_for_good(state_dir: Path) -> None:
    async with (
        open_served(state_dir),
        open_proxy(settings(state_dir)) as older,
        open_proxy(settings(state_dir)) as newer,
    ):
        with trio.fail_after(60):
            async for _ in older.turns():
                raise AssertionError("nothing was sent")
        assert isinstance(older.ended, Replaced)
        assert attached(newer) is not None


async def test_no_daemon_and_a_wrong_token_are_distinguished(state_dir: Path) -> None:
    await trio.Path(state_dir).mkdir()
    with pytest.RaisesGroup(
        pytest.RaisesExc(DaemonNotRunning, match="no larkd serves .*; start it with"),
        allow_unwrapped=True,
    ):
        async with open_proxy(settings(state_dir)):
            raise AssertionError("attached to nothing")
    async with open_served(state_dir):
        with pytest.RaisesGroup(
            pytest.RaisesExc(SessionRefused, match="^bad_proof: "), allow_unwrapped=True
        ):
            async with open_proxy(settings(state_dir, token=b"x" * 43)):
                raise AssertionError("let in with a wrong token")


async def run_readme_example(platform: Platform, state_dir: Path, folder: Path) -> None:
    example = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)[0]
    script = folder / "my_proxy.py"
    script.write_text(example)
    async with trio.open_nursery() as nursery:
        command = [sys.executable, str(script), str(state_dir)]
        nursery.start_soon(partial(trio.run_process, command, env=environment(), check=False))
        await platform.send(await platform.chat(), "hi")
        await platform.wait_cards(1, "Hello from **my agent**.", "Done · ")
        nursery.cancel_scope.cancel()


async def test_the_example_of_the_readme_works_as_it_stands(
    state_dir: Path, tmp_path: Path
) -> None:
    async with open_served(state_dir) as platform:
        await run_readme_example(platform, state_dir, tmp_path)


async def test_a_turn_that_waited_when_the_link_dropped_comes_again(state_dir: Path) -> None:
    async with open_platform() as platform:
        chat = await platform.chat()
        async with open_daemon(platform, state_dir) as first:
            channel = settings(state_dir, capabilities=())
            async with open_proxy(channel) as proxy:
                await platform.send(chat, "one")
                await platform.send(chat, "two")
                taken = await next_turn(proxy)
                with trio.fail_after(60):
                    while not proxy._turns_rx.statistics().current_buffer_used:
                        await trio.sleep(0.01)
                await first.kill()
                with trio.fail_after(60):
                    while attached(proxy) is not None:
                        await trio.sleep(0.01)
                async with taken:
                    pass  # nothing is raised: the daemon knows it as lost
                async with open_daemon(platform, state_dir):
                    again = [await next_turn(proxy) for _ in range(2)]
                    texts = [(turn.text, turn.deliver.attempt) for turn in again]
                    assert texts == [("one", 2), ("two", 2)]


async def test_a_lost_link_cancels_the_block(state_dir: Path) -> None:
    async with open_platform() as platform, open_daemon(platform, state_dir) as daemon:
        async with open_proxy(settings(state_dir)) as proxy:
            await platform.send(await platform.chat(), "hello")
            with trio.fail_after(60):
                async with await next_turn(proxy) as turn:
                    await daemon.kill()
                    await trio.sleep_forever()
            assert (turn.lost, turn.cancel_reason) == (True, "timeout")


async def test_text_of_any_size_and_number_of_pieces_arrives(state_dir: Path) -> None:
    async with open_served(state_dir) as platform, open_proxy(settings(state_dir)) as proxy:
        chat = await platform.chat("group", "Team")  # static: read as messages
        await platform.send(chat, "hello", mention_bot=True)
        async with await next_turn(proxy) as turn:
            for _ in range(5_000):
                await turn.send("x")
            await turn.send(" half a pair: \ud83d. ")
            await turn.send("end")
        shown = ""
        with trio.fail_after(60):
            while "half a pair: ?. end" not in shown:
                shown = str(await platform.messages(chat))
                await trio.sleep(0.05)
        assert "x" * 5_000 in shown
        await platform.send(chat, "more", mention_bot=True)
        async with await next_turn(proxy) as turn:
            await turn.think("漢" * (4 * 1024 * 1024))
            await turn.send("done with that")
        with trio.fail_after(60):
            while "done with that" not in str(await platform.messages(chat)):
                await trio.sleep(0.05)


async def test_what_was_sent_before_a_cancellation_still_goes_out(state_dir: Path) -> None:
    async with open_served(state_dir) as platform:
        with trio.CancelScope() as scope:
            async with open_proxy(settings(state_dir)) as proxy:
                await platform.send(await platform.chat(), "hello")
                turn = await next_turn(proxy)
                await turn.ack()
                await turn.send("the last word")
                scope.cancel()
                await turn.end("complete")
        assert scope.cancel_called
        await platform.wait_cards(1, "the last word")


async def test_a_proxy_that_waits_for_its_daemon_reports_its_link(state_dir: Path) -> None:
    reported: list[bool] = []
    async with (
        open_platform() as platform,
        open_proxy(
            settings(state_dir, waits_for_daemon=True),
            link_changed=lambda registered, _why: reported.append(registered is not None),
        ) as proxy,
    ):
        assert attached(proxy) is None
        with pytest.raises(Disconnected, match="not reachable"):
            await proxy.call_tool("feishu_channel_status")
        async with open_daemon(platform, state_dir):
            with trio.fail_after(60):
                while attached(proxy) is None:
                    await trio.sleep(0.01)
    assert reported[0] is False
    assert True in reported


async def test_a_permission_is_asked_in_the_chat_and_decided_there(state_dir: Path) -> None:
    async with (
        open_served(state_dir) as platform,
        open_proxy(settings(state_dir, capabilities=("turns", "cancel", "permission"))) as proxy,
    ):
        chat = await platform.chat()
        await platform.send(chat, "hello")
        async with await next_turn(proxy) as turn:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(press_allow, platform, chat)
                verdict = await turn.ask_permission(
                    "Run it?",
                    [
                        wire.PermissionOption(id="y", label="Allow", kind="allow_once"),
                        wire.PermissionOption(id="n", label="Deny", kind="reject_once"),
                    ],
                    detail="rm -rf build",
                )
        assert (verdict.outcome, verdict.option_id) == ("selected", "y")
        assert verdict.by == turn.deliver.meta["sender_id"]


async def press_allow(platform: Platform, chat: dict[str, Any]) -> None:
    """Press the first button of the question, as the one who began the turn."""
    with trio.fail_after(60):
        while True:
            for message in await platform.messages(chat):
                value = find_value(json.loads(message["content"]))
                if message["msg_type"] == "interactive" and value is not None:
                    await platform.post(
                        "click",
                        message_id=message["message_id"],
                        value=value,
                        operator=chat["members"][0],
                    )
                    return
            await trio.sleep(0.05)


def find_value(node: object) -> object:
    if isinstance(node, dict):
        if node.get("type") == "callback" and "value" in node:
            return node["value"]
        node = list(node.values())
    if isinstance(node, list):
        return next((found for each in node if (found := find_value(each)) is not None), None)
    return None


@pytest.mark.parametrize("proof", [None, "0" * 64])
async def test_who_has_no_proof_of_being_the_daemon_is_not_believed(
    state_dir: Path, proof: str | None
) -> None:
    """Somebody took the port: he lets everybody in, delivers, and reports that it is over."""
    seen: list[object] = []
    unlucky = trio.Event()

    async def impostor(stream: trio.SocketStream) -> None:
        reader = FrameReader()
        await stream.send_all(frame(wire.Hello(nonce=bytes(32))))
        while data := await stream.receive_some(4096):
            reader.feed(data)
            for body in reader:
                seen.append(codec.decode_from_proxy(body))
                for message in (
                    wire.Deliver(
                        event_id="e",
                        turn_id="t",
                        attempt=1,
                        lease_epoch=1,
                        chat_id="c",
                        content="rm -rf /",
                        meta={},
                    ),
                    wire.Bye(reason="replaced"),
                    wire.Registered(
                        session_id="s", alias="s", role="session", lease_epoch=1, proof=proof
                    ),
                ):
                    await stream.send_all(frame(message))
                if len([one for one in seen if isinstance(one, wire.Register)]) > 1:
                    unlucky.set()

    reasons: list[str] = []
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, impostor, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        address = ("127.0.0.1", port)
        reason = (
            f"something else answers at 127.0.0.1:{port}; it does not know this state"
            " directory's token"
        )
        with pytest.RaisesGroup(
            pytest.RaisesExc(NotTheDaemon, match=re.escape(reason)), allow_unwrapped=True
        ):
            async with open_proxy(settings(state_dir, address=address, token=b"k" * 43)):
                raise AssertionError("believed it")
        waiting = settings(state_dir, address=address, token=b"k" * 43, waits_for_daemon=True)
        async with open_proxy(
            waiting, link_changed=lambda _registered, why: reasons.append(str(why))
        ) as proxy:
            with trio.fail_after(60):
                await unlucky.wait()
            assert proxy.ended is None, "nothing it sends is final"
            assert attached(proxy) is None
            with trio.move_on_after(0.2):
                async for turn in proxy.turns():
                    raise AssertionError(turn.text)
        nursery.cancel_scope.cancel()
    assert reasons[0] == reason
    assert not [one for one in seen if isinstance(one, wire.Ack)]


async def test_a_refusal_or_a_leaving_it_does_not_know_is_not_final(state_dir: Path) -> None:
    """What a newer daemon may answer: the session is tried again until it is served."""
    key, attached, registrations = b"k" * 43, trio.Event(), 0

    async def newer_daemon(stream: trio.SocketStream) -> None:
        nonlocal registrations
        reader, nonce = FrameReader(), bytes(32)
        await stream.send_all(frame(wire.Hello(nonce=nonce)))
        while data := await stream.receive_some(4096):
            reader.feed(data)
            for body in reader:
                asked = codec.decode_from_proxy(body)
                if not isinstance(asked, wire.Register):
                    continue
                assert asked.nonce is not None
                registrations += 1
                proven = daemon_proof(key, asked.nonce, nonce, "s")
                registered = wire.Registered(
                    session_id="s", alias="s", role="session", lease_epoch=1, proof=proven
                )
                refused = {"t": "refused", "code": "too_late_today", "message": "not now"}
                bye = {"t": "bye", "reason": "repotting", "retry_after_ms": 1}
                answers: list[object] = [registered]
                if registrations < 3:
                    answers = [refused] if registrations == 1 else [registered, bye]
                for one in map(msgspec.msgpack.Encoder().encode, answers):
                    await stream.send_all(len(one).to_bytes(4, "big") + one)
                if registrations < 3:
                    return

    def changed(registered: wire.Registered | None, _why: object) -> None:
        if registered is not None and registrations == 3:
            attached.set()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, newer_daemon, 0, host="127.0.0.1"))
        address = ("127.0.0.1", listeners[0].socket.getsockname()[1])
        waiting = settings(
            state_dir, "s", role="session", address=address, token=key, waits_for_daemon=True
        )
        async with open_proxy(waiting, link_changed=changed) as proxy:
            with trio.fail_after(60):
                await attached.wait()
            assert proxy.ended is None
        nursery.cancel_scope.cancel()


async def test_text_is_joined_for_a_moment_and_all_else_leaves_at_once(
    autojump_clock: MockClock,
) -> None:
    ours, theirs = memory_stream_pair()
    outgoing = Outgoing(ours)
    received: list[tuple[float, object]] = []

    async def read() -> None:
        reader = FrameReader()
        while True:
            reader.feed(await theirs.receive_some())
            at = trio.current_time() - began
            received.extend((at, codec.decode_from_proxy(body)) for body in reader)

    def delta(text: str) -> wire.Delta:
        return wire.Delta(turn_id="t", text=text)

    end = wire.TurnEnd(turn_id="t", status="complete")
    async with trio.open_nursery() as nursery:
        began = trio.current_time()
        nursery.start_soon(outgoing.run)
        nursery.start_soon(read)
        for text in "abc":
            await outgoing.put(delta(text))
            await trio.sleep(0.005)
        await trio.sleep(0.1)
        await outgoing.put(delta("d"))
        await outgoing.put(end)
        await trio.sleep(0.01)
        await outgoing.put(delta("e"))
        await trio.sleep(1)
        before, tokens_at = len(received), trio.current_time()
        for number in range(50):  # at the rate of a model
            await trio.sleep_until(tokens_at + number / 50)
            await outgoing.put(delta(f"{number} "))
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    first = received[:before]
    assert [message for _, message in first] == [delta("abc"), delta("d"), end, delta("e")]
    assert [at for at, _ in first] == pytest.approx([0.02, 0.115, 0.115, EVERY_S])
    tokens = received[before:]
    text = "".join(message.text for _, message in tokens if isinstance(message, wire.Delta))
    assert text == "".join(f"{number} " for number in range(50))
    pauses = [later - at for (at, _), (later, _) in itertools.pairwise(tokens)]
    assert JOIN_S <= pauses.pop(0) <= EVERY_S, "then at multiples of it"
    assert pauses == pytest.approx([EVERY_S] * len(pauses))

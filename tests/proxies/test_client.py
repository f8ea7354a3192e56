"""The typed client against a real daemon: its turns, its tools, its reconnects."""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

from actors.proxies.client import (
    DaemonNotRunning,
    Disconnected,
    Proxy,
    ProxySettings,
    Refused,
    Replaced,
    ToolFailed,
    Turn,
    open_proxy,
)
from tests.kit.house import Platform, environment, open_daemon, open_platform

README = Path(__file__).resolve().parents[2] / "actors" / "proxies" / "README.md"


def settings(state_dir: Path, session_id: str = "boss", **more: object) -> ProxySettings:
    fields = {"role": "dispatcher"} | more
    return ProxySettings(session_id=session_id, state_dir=state_dir, **fields)  # type: ignore[arg-type]


async def next_turn(proxy: Proxy) -> Turn:
    with trio.fail_after(10):
        async for turn in proxy.turns():
            return turn
    raise AssertionError("no more turns")


async def test_a_turn_is_answered_and_ends_with_its_block(state_dir: Path) -> None:
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir),
        open_proxy(settings(state_dir)) as proxy,
    ):
        assert proxy.attached is not None
        assert proxy.attached.alias == "boss"
        await platform.say(await platform.chat(), "hello")
        turn = await next_turn(proxy)
        assert turn.text == "hello"
        async with turn:
            await turn.think("hm")
            await turn.tool("c", name="Read", kind="read", status="running", summary="a.py")
            await turn.plan([("look", "completed")])
            await turn.usage(input_tokens=10)
            await turn.say("answered")
        await platform.wait_cards(1, "answered", "Done · ", "hm", "a.py", "look", "↑10")


async def test_a_block_that_raises_ends_the_turn_as_an_error(state_dir: Path) -> None:
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir),
        open_proxy(settings(state_dir)) as proxy,
    ):
        await platform.say(await platform.chat(), "hello")
        async with await next_turn(proxy):
            raise ValueError("agent broke")
        await platform.wait_cards(1, "❌ Error · ", "ValueError: agent broke")


async def test_cancel_ends_the_block_at_once(state_dir: Path) -> None:
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir),
        open_proxy(settings(state_dir)) as proxy,
    ):
        chat = await platform.chat()
        await platform.say(chat, "hello")
        turn = await next_turn(proxy)
        reached_the_end = False
        with trio.fail_after(15):
            async with turn:
                await turn.say("working")
                await platform.wait_cards(1, "working")
                await platform.say(chat, "停止")
                await trio.sleep_forever()
                reached_the_end = True
        assert not reached_the_end
        assert turn.cancel_reason == "user"
        await platform.wait_cards(1, "🛑 Stopped · ", "working")


async def test_tools_answer_or_say_why_not(state_dir: Path) -> None:
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir),
        open_proxy(settings(state_dir)) as boss,
        open_proxy(settings(state_dir, "mate", role="session")) as mate,
    ):
        status = await mate.call_tool("feishu_channel_status")
        assert status["owner_session_id"] == "boss"
        with pytest.raises(ToolFailed, match="was not granted by the dispatcher"):
            await mate.call_tool("feishu_channel_acquire")
        assert "owner is now mate" in await boss.call_tool(
            "feishu_channel_acquire", {"session_id": "mate"}
        )


async def test_a_restart_of_the_daemon_is_survived(state_dir: Path) -> None:
    async with open_platform() as platform:
        async with open_daemon(platform, state_dir) as first:
            async with open_proxy(settings(state_dir)) as proxy:
                assert proxy.attached is not None
                await first.kill()
                with trio.fail_after(5):
                    while proxy.attached is not None:
                        await trio.sleep(0.01)
                with pytest.raises(Disconnected, match="not reachable; reconnecting"):
                    await proxy.call_tool("feishu_channel_status")
                async with open_daemon(platform, state_dir):
                    with trio.fail_after(15):
                        while proxy.attached is None:
                            await trio.sleep(0.01)
                    await platform.say(await platform.chat(), "still there?")
                    async with await next_turn(proxy) as turn:
                        await turn.say("yes")
                    await platform.wait_cards(1, "yes", "Done · ")


async def test_a_newer_connection_ends_the_older_for_good(state_dir: Path) -> None:
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir),
        open_proxy(settings(state_dir)) as older,
        open_proxy(settings(state_dir)) as newer,
    ):
        with trio.fail_after(5):
            async for _ in older.turns():
                raise AssertionError("nothing was sent")
        assert isinstance(older.ended, Replaced)
        assert newer.attached is not None


async def test_no_daemon_and_a_wrong_token_are_told_apart(state_dir: Path) -> None:
    await trio.Path(state_dir).mkdir()
    with pytest.RaisesGroup(
        pytest.RaisesExc(DaemonNotRunning, match="no larkd serves .*; start it with"),
        allow_unwrapped=True,
    ):
        async with open_proxy(settings(state_dir)):
            raise AssertionError("attached to nothing")
    async with open_platform() as platform, open_daemon(platform, state_dir):
        with pytest.RaisesGroup(
            pytest.RaisesExc(Refused, match="^bad_proof: "), allow_unwrapped=True
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
        await platform.say(await platform.chat(), "hi")
        await platform.wait_cards(1, "Hello from **my agent**.", "Done · ")
        nursery.cancel_scope.cancel()


async def test_the_example_of_the_readme_works_as_it_stands(
    state_dir: Path, tmp_path: Path
) -> None:
    async with open_platform() as platform, open_daemon(platform, state_dir):
        await run_readme_example(platform, state_dir, tmp_path)

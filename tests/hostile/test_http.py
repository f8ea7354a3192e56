"""The ports of metrics and console, and who has no token for them."""

from __future__ import annotations

import random
import signal
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
import trio

from tests.daemon.test_console import split
from tests.daemon.test_metrics import address_of
from tests.daemon.test_operator import output_of
from tests.hostile.machine import REQUESTS
from tests.kit.daemon import environment, open_daemon, open_platform
from tests.kit.ports import free_port
from tests.kit.raw_proxy import session


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors with /proc")
async def test_a_flood_of_half_requests_ends_nothing_and_takes_no_descriptors(
    state_dir: Path,
) -> None:
    """One client that closed in the middle of its body ended metrics and console for all."""
    rng = random.Random(1)
    port = free_port()
    metrics = {"host": "127.0.0.1", "port": port}
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir, metrics=metrics) as daemon,
        httpx.AsyncClient(trust_env=False, timeout=60) as http,
    ):
        for _ in range(6):
            async with AsyncExitStack() as stack:
                for _ in range(60):
                    stream = await trio.open_tcp_stream("127.0.0.1", port)
                    await stack.enter_async_context(stream)
                    with suppress(trio.BrokenResourceError):
                        await stream.send_all(rng.choice(REQUESTS))
                await trio.sleep(0.05)
                opened = list(Path(f"/proc/{daemon.process.pid}/fd").iterdir())
                assert len(opened) < 48 + 60
        with trio.fail_after(60):
            while (await http.get(f"http://127.0.0.1:{port}/healthz")).status_code != 200:
                await trio.sleep(0.05)
        # Who reads nothing of a large answer does not hold up the way out.
        async with await trio.open_tcp_stream("127.0.0.1", port) as deaf:
            with trio.move_on_after(0.5):
                while True:
                    await deaf.send_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
            daemon.signal(signal.SIGTERM)
            assert await daemon.wait(within_s=60) == 0
        assert "crashed" not in await daemon.log()


MARK = 'marked",evil="1"}\n# EOF\n'
"""What would end a label, and then the exposition."""


async def test_nothing_that_others_choose_becomes_a_metric(state_dir: Path) -> None:
    """Neither its text, which could forge one, nor one series for each, which would never end."""
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir, metrics={"port": 0}) as daemon,
        httpx.AsyncClient(trust_env=False, timeout=60) as http,
    ):
        address = await address_of(daemon, "metrics")
        chat = await platform.chat()
        metadata = {"alias": MARK, "cwd": "/" + MARK, MARK: MARK}
        async with session(
            state_dir, "marked", "dispatcher", metadata=metadata, proxy_version=MARK
        ) as evil:
            await platform.send(chat, MARK)
            row = await evil.until("deliver")
            turn = {"turn_id": row["turn_id"]}
            await evil.send(t="ack", event_id=row["event_id"], attempt=1)
            await evil.send(t="tool_event", call_id=MARK, name=MARK, kind="other", **turn)
            await evil.send(t="delta", text=f"![x](http://127.0.0.1/{MARK}) done", **turn)
            await evil.send(t="turn_end", status="complete", text="the end", **turn)
            for tool in (MARK, "marked", "reply", "inbox", "feishu_attachment"):
                await evil.tool(tool, chat_id=MARK, text=MARK, event_id=MARK, file_key=MARK)
            await platform.wait_cards(1, "the end", "Done · ")
        for path in (f"/{quote(MARK)}", "/metrics/marked", f"/metrics?x={quote(MARK)}"):
            await http.get(address + path, headers={"Host": "marked.example"})
        shown = (await http.get(address + "/metrics")).text
        assert shown.count("# EOF") == 1
        for chosen in ("marked", row["turn_id"], row["event_id"], chat["chat_id"]):
            assert chosen not in shown


async def test_the_token_of_the_console_stands_in_no_log_and_in_no_answer(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    debug = environment() | {"LARKD_LOG_LEVEL": "debug"}
    monkeypatch.setattr("tests.kit.daemon.environment", lambda: debug)
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir, console={"port": 0}) as daemon,
        httpx.AsyncClient(trust_env=False, timeout=60) as http,
    ):
        acting = await output_of(state_dir, "console")
        base, may_act = split(acting)
        token = may_act["Authorization"].removeprefix("Bearer ")
        answers = [
            await http.get(acting),
            await http.get(f"{base}/static/console.js", headers={"Referer": acting}),
            await http.get(f"{base}/{token}?token={token}", headers=may_act),
            await http.post(f"{base}/api/handoff?token={token}", content=b"{", headers=may_act),
            await http.post(f"{base}/api/stop", content=token.encode(), headers=may_act),
            await http.request("BREW", acting),
        ]
        assert [one.status_code for one in answers[:3]] == [200, 200, 404]
        assert answers[0].headers["referrer-policy"] == "no-referrer"
        assert not any(token in one.text or token in str(one.headers) for one in answers)
        # From a page of another site, no header goes along, and the address alone does nothing.
        cross = {"Origin": "https://evil.example", "Content-Type": "text/plain"}
        answer = await http.post(f"{base}/api/handoff?token={token}", headers=cross)
        assert answer.status_code == 401
        daemon.signal(signal.SIGTERM)
        assert await daemon.wait(within_s=60) == 0
        written = await daemon.log()  # all of it
        assert "daemon.stopped" in written
        assert token not in written

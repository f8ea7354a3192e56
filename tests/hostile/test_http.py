"""The ports of metrics and console, and who has no token for them."""

from __future__ import annotations

import random
import signal
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import httpx
import pytest
import trio

from tests.hostile.machine import REQUESTS
from tests.kit.daemon import open_daemon, open_platform
from tests.kit.ports import free_port


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
        assert "crashed" not in await daemon.log()
        # Who reads nothing of a large answer does not hold up the way out.
        async with await trio.open_tcp_stream("127.0.0.1", port) as deaf:
            with trio.move_on_after(0.5):
                while True:
                    await deaf.send_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
            daemon.signal(signal.SIGTERM)
            assert await daemon.wait(within_s=60) == 0

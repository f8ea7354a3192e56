"""Readiness and heartbeat, as systemd receives them."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trio

from tests.kit.daemon import open_daemon, open_platform


async def test_the_service_manager_receives_ready_and_then_beats(
    tmp_path: Path, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = tmp_path / "notify"
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        await manager.bind(str(address))
        monkeypatch.setenv("NOTIFY_SOCKET", str(address))
        monkeypatch.setenv("WATCHDOG_USEC", "600000")
        async with open_platform() as platform, open_daemon(platform, state_dir) as daemon:
            received: list[str] = []
            with trio.fail_after(60):
                ready: list[str] = []
                while not ready or received.count("WATCHDOG=1") < 3:
                    received.append((await manager.recv(4096)).decode())
                    ready = [one for one in received if one.startswith("READY=1")]
            assert ready == [f"READY=1\nSTATUS=serving on {daemon.address}"]

"""The official SDKs take the sandbox for the platform: connect, receive, answer, stream.

One scenario for both: a card is created, sent, streamed, closed, updated and replied to,
an event is received and acked, whole and in three fragments, and a press on the card's
button is answered by a toast.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.kit import node
from tests.kit.daemon import Platform, open_platform

CLIENTS = Path(__file__).parent / "clients"
WITHIN_S = 60.0
"""The Python SDK takes seconds to import, more on a busy machine."""


SPOKEN = "recognised speech"
"""What the sandbox takes any sound for; only the Python client asks."""
OPERATIONS = (
    *("content", "content", "batch", "patch", "replace", "add", "delete"),
    *("settings", "update"),
)


class Client:
    """An SDK in a process of its own, and what it reported so far."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._buffer = b""

    async def reported(self, what: str) -> dict[str, Any]:
        """Return the next line that reports *what*."""
        assert self._process.stdout is not None
        with trio.fail_after(WITHIN_S):
            while True:
                line, newline, rest = self._buffer.partition(b"\n")
                if newline:
                    self._buffer = rest
                    report: dict[str, Any] = json.loads(line) if line.startswith(b"{") else {}
                    assert report.get("what") != "failed", report
                    if report.get("what") == what:
                        return report
                    continue
                data = await self._process.stdout.receive_some(65536)
                assert data, "the SDK's process has ended"
                self._buffer += data


@asynccontextmanager
async def open_client(command: list[str], platform: Platform) -> AsyncIterator[Client]:
    settings = platform.running.settings
    chat = await platform.chat()
    account = settings.app_id, settings.app_secret, chat["chat_id"]
    async with open_sdk([*command, platform.base_url, *account]) as client:
        yield client


@asynccontextmanager
async def open_sdk(command: list[str]) -> AsyncIterator[Client]:
    process = await trio.lowlevel.open_process(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Client(process)
    finally:
        process.kill()
        with trio.move_on_after(60, shield=True):
            await process.wait()


async def scenario(command: list[str]) -> None:
    async with open_platform() as platform, open_client(command, platform) as sdk:
        # Whether it acks is what counts here, not whether a busy machine does in the usual 3 s.
        platform.running.sockets.ack_within_s = WITHIN_S
        own = await sdk.reported("read_back")
        assert own["online"] in (0, 1), "it may not be connected yet"
        assert {"im:message", "cardkit:card:write"} <= set(own["scopes"])
        assert own.get("spoken", SPOKEN) == SPOKEN
        card = await sdk.reported("card")
        shown = next(c for c in await platform.cards() if c["card_id"] == card["card_id"])
        assert shown["card"]["body"]["elements"][0]["content"] == "Hello world, updated"
        assert (shown["streaming"], shown["sequence"]) == (False, 9)
        history = await platform.get(f"cards/{card['card_id']}/history")
        assert tuple(one["op"] for one in history) == OPERATIONS
        elements = history[6]["card"]["body"]["elements"]
        assert [one["element_id"] for one in elements] == ["text", "go", "more"]
        assert [elements[0]["content"], elements[2]["content"]] == ["Hello in a batch", "replaced"]
        shown_messages = await platform.messages(await platform.chat())
        messages = {one["message_id"]: one for one in shown_messages}
        assert messages[card["message_id"]]["card_id"] == card["card_id"]
        assert messages[card["reply_id"]]["parent_id"] == card["message_id"]

        with trio.fail_after(WITHIN_S):
            await platform.wait_connected()
        sent = await platform.send(await platform.chat(), "hello", wait_ack=True)
        await receives(sdk, sent["message_id"])
        # Its answer comes when the push was acked.
        pushed = await platform.post(
            "push", repeat_event_id=sent["event_id"], frames="split:3", times=1
        )
        await receives(sdk, sent["message_id"])
        assert [push["ack"] for push in pushed["pushes"]] == [200, 200]

        answer = await platform.post("click", card_id=card["card_id"], element_id="go")
        assert (await sdk.reported("pressed"))["value"] == {"key": "value"}
        assert answer["code"] == 0
        assert answer["toast"]["content"] == "pressed through the SDK"


async def receives(sdk: Client, message_id: str) -> None:
    event = await sdk.reported("event")
    assert event["message_id"] == message_id
    assert json.loads(event["content"]) == {"text": "hello"}


async def test_the_python_sdk() -> None:
    await scenario([sys.executable, str(CLIENTS / "python_sdk.py")])


@pytest.fixture(scope="session")
def node_client() -> list[str]:
    """Return the command of a client on the Node SDK, as locked."""
    folder = node.installed(CLIENTS, ["node_sdk.mjs", "node_register.mjs"])
    return ["node", str(folder / "node_sdk.mjs")]


async def test_the_node_sdk(node_client: list[str]) -> None:
    await scenario(node_client)

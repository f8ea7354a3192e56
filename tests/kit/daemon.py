"""Platform and daemon on loopback: the sandbox platform and the daemon as a real process."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import trio

from actors.sandbox.access import TOKEN_HEADER
from actors.sandbox.server import RunningSandbox, SandboxSettings, serve_sandbox
from tests.kit import preloaded
from tests.kit.preloaded import ForkedProcess
from tests.kit.raw_proxy import RawProxy

READY_WITHIN_S = 60.0
"""Generous for a machine that runs other tests beside; the promise is held in bench."""

LEAVES_WITHIN_MS = 300_000
"""For the cards when it stops: a slow machine is no reason to leave one open. Tests of the
deadline itself set their own ``tuning``."""

PRESSED_WITHIN_S = 60.0
"""For the answer to a press, of which the platform waits 3 s (``longer_deadlines.py``)."""

CHANGED_WITHIN_S = 0.5
"""Then one looks again, whatever the feed brings."""


class Platform:
    """The sandbox, spoken to over its control API as a person and an operator would."""

    def __init__(self, running: RunningSandbox, http: httpx.AsyncClient) -> None:
        self.running = running
        self.base_url = running.base_url
        self.http = http

    async def get(self, path: str, /, **params: Any) -> Any:
        answer = await self.http.get(f"{self.base_url}/sandbox/{path}", params=params)
        answer.raise_for_status()
        return answer.json()

    async def post(self, path: str, /, **body: Any) -> Any:
        answer = await self.http.post(f"{self.base_url}/sandbox/{path}", json=body)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    async def chat(self, kind: str = "p2p", name: str = "Alice") -> dict[str, Any]:
        """Return the chat of the fresh sandbox, or make one for a new user."""
        state = await self.get("state")
        for chat in state["chats"]:
            if chat["type"] == kind and chat["name"] == name:
                found: dict[str, Any] = chat
                return found
        user = await self.post("users", name=name)
        made: dict[str, Any] = await self.post(
            "chats", type=kind, name=name, members=[user["open_id"]]
        )
        return made

    async def lift_faults(self) -> None:
        """Take all faults away. Calls that are delayed are answered."""
        await self.http.delete(f"{self.base_url}/sandbox/faults")

    async def send(self, chat: dict[str, Any], text: str, **more: Any) -> dict[str, Any]:
        sent: dict[str, Any] = await self.post("send", chat_id=chat["chat_id"], text=text, **more)
        return sent

    async def cards(self) -> list[dict[str, Any]]:
        state = await self.get("state")
        cards: list[dict[str, Any]] = state["cards"]
        return cards

    async def running_cards(self) -> set[str]:
        """Return the ids of cards that are shown to somebody and still run.

        Not of cards no message carries: who made one and was cut off before the answer does
        not know its id, and nobody sees it.
        """
        return {
            one["card_id"]
            for one in await self.cards()
            if one["streaming"] and one["message_id"] is not None
        }

    async def messages(self, chat: dict[str, Any]) -> list[dict[str, Any]]:
        state = await self.get("state")
        return [m for m in state["messages"] if m["chat_id"] == chat["chat_id"]]

    @property
    def seq(self) -> int:
        """How many changes the page would have been shown so far."""
        return self.running.world.feed.seq

    async def wait_change(self, seq: int) -> None:
        """Wait until something of the page changed after *seq*; half a second at most.

        In place of a short pause before one looks again: looking costs the processor that what
        is waited for needs.
        """
        feed = self.running.world.feed
        subscriber = feed.subscribe()
        try:
            # No checkpoint from the subscription to the look at the number.
            if feed.seq == seq:
                with trio.move_on_after(CHANGED_WITHIN_S):
                    await subscriber.wait_changes()
        finally:
            feed.unsubscribe(subscriber)

    async def connections(self) -> set[int]:
        """Return the numbers of the connections there are."""
        return {one["id"] for one in await self.get("connections")}

    async def wait_connected(self, beside: Collection[int] = ()) -> None:
        """Wait until a bot listens: what is pushed before counts as not delivered.

        One on another connection than those *beside*, which are others' or of a daemon that
        was killed a moment ago.
        """
        with trio.fail_after(60):
            while not any(
                one["pings"] and one["id"] not in beside for one in await self.get("connections")
            ):
                await trio.sleep(0.02)

    async def wait_handled(self, event_id: str, pushes: int = 1) -> list[dict[str, Any]]:
        """Wait until so many pushes of an event were acked: the daemon has taken it in.

        Return them. Of one chat, what is sent after that comes after it.
        """
        with trio.fail_after(60):
            while True:
                for event in await self.get("events"):
                    if event["event_id"] == event_id:
                        done = [push for push in event["pushes"] if push["ack"] == 200]
                        if len(done) >= pushes:
                            return done
                await trio.sleep(0.02)

    async def wait_cards(
        self, count: int, *needles: str, within_s: float = 60
    ) -> list[dict[str, Any]]:
        """Wait until *count* cards hold every one of the *needles* somewhere.

        A card is there before the message that shows it; it counts from then on.
        """
        found: list[dict[str, Any]] = []
        with trio.move_on_after(within_s):
            while True:
                seq = self.seq
                found = [
                    card
                    for card in await self.cards()
                    if card["message_id"] is not None
                    and all(n in json.dumps(card["card"], ensure_ascii=False) for n in needles)
                ]
                if len(found) >= count:
                    return found
                await self.wait_change(seq)
        raise AssertionError(
            f"{len(found)} of {count} cards hold {needles}; there are: "
            + json.dumps(await self.cards(), ensure_ascii=False)[:3000]
        )


@asynccontextmanager
async def open_platform(**settings: Any) -> AsyncIterator[Platform]:
    async with trio.open_nursery() as nursery:
        running: RunningSandbox = await nursery.start(
            serve_sandbox, SandboxSettings(reconnect_interval_s=1, reconnect_nonce_s=0, **settings)
        )
        running.sockets.press_within_s = PRESSED_WITHIN_S
        token = {TOKEN_HEADER: running.settings.token}
        # Over plain HTTP: reading the certificates of the machine takes longer than a test.
        async with httpx.AsyncClient(
            trust_env=False,
            timeout=60,
            headers=token,
            verify=False,  # noqa: S501
        ) as http:
            yield Platform(running, http)
        nursery.cancel_scope.cancel()


def whole_lines(log: Path) -> str:
    """Return the lines of a log that are whole: the last may be on its way to the disk."""
    text = log.read_bytes().decode() if log.exists() else ""
    return text[: text.rfind("\n") + 1]


class Daemon:
    """A daemon process of its own, and the state directory it serves."""

    def __init__(self, process: ForkedProcess, state_dir: Path, address: str) -> None:
        self.process = process
        self.state_dir = state_dir
        self.address = address

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Stop the process meanwhile: what is sent to it, it receives all at once afterwards.

        However slow the machine, no time passes for the daemon between the first and the last.
        """
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    async def wait(self, *, within_s: float) -> int:
        with trio.fail_after(within_s):
            return await self.process.wait()

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    async def log(self) -> str:
        """Return what is in the log so far. It is written beside the work: see ``logged``."""
        return whole_lines(self.state_dir / "larkd.log")

    async def logged(self, text: str, times: int = 1) -> list[str]:
        """Wait until so many lines of the log hold *text*; return these."""
        with trio.fail_after(60):
            while True:
                found = [line for line in (await self.log()).splitlines() if text in line]
                if len(found) >= times:
                    return found
                await trio.sleep(0.02)


def configuration(platform_url: str, app_id: str, app_secret: str, **options: Any) -> str:
    """Return a configuration; *options* are the channel's, but for those of the top."""
    listen = {"host": "127.0.0.1", "port": 0} | options.pop("listen", {})
    tuning = {"shutdownDeadlineMs": LEAVES_WITHIN_MS} | options.pop("tuning", {})
    top = {
        key: options.pop(key)
        for key in ("language", "agents", "agentsPerPerson", "metrics", "console")
        if key in options
    }
    return json.dumps(
        {
            **top,
            "listen": listen,
            "channels": [
                {
                    "id": "feishu",
                    "type": "feishu",
                    "enabled": True,
                    "options": {
                        "appId": app_id,
                        "appSecret": app_secret,
                        "domain": platform_url,
                        "dmPolicy": "open",
                        "groupPolicy": "open",
                        "tuning": tuning,
                    }
                    | options,
                }
            ],
        }
    )


def environment() -> dict[str, str]:
    """The machine's, without anything of larkd's own, or of the terminal that tests run in.

    Processes of parallel tests have the width of that terminal, to which commands cut lines.
    """
    of_a_terminal = ("COLUMNS", "LINES")
    return {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("LARKD_") and key not in of_a_terminal
    }


@asynccontextmanager
async def open_daemon(platform: Platform, state_dir: Path, **options: Any) -> AsyncIterator[Daemon]:
    """Start ``python -m actors.daemon`` and wait for its ready line; kill it at the end.

    *descriptors* is how many files and sockets it may have open.
    """
    descriptors = options.pop("descriptors", None)
    if not {"allowFrom", "dmPolicy"} & options.keys():
        # Who has a direct chat already is known to the bot; who comes later is a stranger.
        chats = (await platform.get("state"))["chats"]
        options["allowFrom"] = [one for chat in chats for one in chat["members"]]
    config = state_dir.parent / f"{state_dir.name}.json"
    settings = platform.running.settings
    config.write_text(
        configuration(platform.base_url, settings.app_id, settings.app_secret, **options)
    )
    arguments = ["--config", str(config), "--state-dir", str(state_dir)]
    others = await platform.connections()
    process = await preloaded.start(
        "actors.daemon", arguments, environment(), stderr=True, descriptors=descriptors
    )
    try:
        address = await _ready(process)
        await platform.wait_connected(beside=others)
        async with trio.open_nursery() as nursery:
            assert process.stderr is not None
            nursery.start_soon(_drain, process.stderr)
            yield Daemon(process, state_dir, address)
            nursery.cancel_scope.cancel()
    finally:
        if process.returncode is None:
            process.kill()
        with trio.move_on_after(60, shield=True):
            await process.wait()
            process.close()


@asynccontextmanager
async def open_served(state_dir: Path, **options: Any) -> AsyncIterator[Platform]:
    """Open a platform, and a daemon that serves it."""
    async with open_platform() as platform, open_daemon(platform, state_dir, **options):
        yield platform


async def _ready(process: ForkedProcess) -> str:
    assert process.stdout is not None
    assert process.stderr is not None
    output = b""
    with trio.move_on_after(READY_WITHIN_S):
        async for chunk in process.stdout:
            output += chunk
            for line in output.decode().splitlines():
                if line.startswith("larkd ready on "):
                    return line.removeprefix("larkd ready on ").strip()
    process.kill()
    errors = b""
    async for chunk in process.stderr:
        errors += chunk
    raise AssertionError(
        f"no ready line; stdout: {output.decode()}\nstderr: {errors.decode()[-4000:]}"
    )


async def _drain(stream: trio.abc.ReceiveStream) -> None:
    async for _ in stream:
        pass


async def wait_refused(proxy: RawProxy, account: str, counts: Mapping[str, int]) -> None:
    """Wait until the status shows that so many messages were refused, and why."""
    found: Any = None
    with trio.move_on_after(60):
        while True:
            status = (await proxy.tool("feishu_channel_status", 98))["result"]
            found = status["connection"][account]["refused"]
            if found == counts:
                return
            await trio.sleep(0.02)
    raise AssertionError(f"{found} instead of {dict(counts)}")


async def wait_reactions(platform: Platform, sent: list[dict[str, Any]], wanted: list[str]) -> None:
    """Wait until each of the messages carries just these reactions."""
    ids = {one["message_id"] for one in sent}
    found: list[list[str]] = []
    with trio.move_on_after(60):
        while True:
            state = await platform.get("state")
            found = [
                [reaction["emoji_type"] for reaction in message["reactions"]]
                for message in state["messages"]
                if message["message_id"] in ids
            ]
            if found == [wanted] * len(sent):
                return
            await trio.sleep(0.02)
    raise AssertionError(f"{found} instead of {wanted} each")

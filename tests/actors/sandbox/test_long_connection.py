"""The sandbox's long connection as a client meets it: fragments, acks, presses, bad networks."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import pytest
import trio
import trio_websocket as ws

from actors.sandbox import frames
from tests.actors.sandbox.by_hand import handshake
from tests.kit.daemon import Platform, open_platform

WITHIN_S = 60.0
SILENCE_S = 0.1
"""How long nothing must come for a test to call it silence."""
CARDS = "/open-apis/cardkit/v1/cards"
ENDPOINT = "/callback/ws/endpoint"
TOKEN = "/open-apis/auth/v3/tenant_access_token/internal"


class Bot:
    """A client of the long connection that has sent its first ping."""

    def __init__(self, socket: ws.WebSocketConnection) -> None:
        self.socket = socket

    async def frame(self) -> frames.Frame:
        with trio.fail_after(WITHIN_S):
            data = await self.socket.get_message()
        assert isinstance(data, bytes), "frames are binary"
        return frames.decode(data)

    async def ping(self) -> dict[str, Any]:
        """Send a ping; return the configuration its pong carries."""
        await self.socket.send_message(frames.encode(frames.Frame(headers={"type": "ping"})))
        pong = await self.frame()
        assert pong.headers == {"type": "pong"}
        configuration: dict[str, Any] = json.loads(pong.payload)
        return configuration

    async def answer(self, frame: frames.Frame, code: int = 200, data: Any = None) -> None:
        """Ack *frame*; *data* is what a callback answers with."""
        body: dict[str, Any] = {"code": code}
        if data is not None:
            body["data"] = base64.b64encode(json.dumps(data).encode()).decode()
        ack = frames.Frame(
            method=frame.method, headers=frame.headers, payload=json.dumps(body).encode()
        )
        await self.socket.send_message(frames.encode(ack))

    async def closed(self) -> int:
        """Wait for the end of the connection; return its close code."""
        with trio.fail_after(WITHIN_S), pytest.raises(ws.ConnectionClosed) as ended:
            await self.socket.get_message()
        assert ended.value.reason is not None
        return int(ended.value.reason.code)

    async def receives_nothing(self) -> bool:
        with trio.move_on_after(SILENCE_S) as deadline:
            await self.socket.get_message()
        return deadline.cancelled_caught


async def discover(platform: Platform, secret: str | None = None) -> dict[str, Any]:
    settings = platform.running.settings
    answer = await platform.http.post(
        platform.base_url + ENDPOINT,
        json={"AppID": settings.app_id, "AppSecret": secret or settings.app_secret},
    )
    found: dict[str, Any] = answer.json()
    return found


@asynccontextmanager
async def open_bot(platform: Platform) -> AsyncIterator[Bot]:
    address = (await discover(platform))["data"]["URL"]
    async with ws.open_websocket_url(address) as socket:
        bot = Bot(socket)
        await bot.ping()
        try:
            yield bot
        finally:
            # After an abnormal end the library leaves the TCP stream open.
            if socket.closed is not None:
                await trio.aclose_forcefully(socket._stream)


async def token_of(platform: Platform) -> httpx.Response:
    settings = platform.running.settings
    return await platform.http.post(
        platform.base_url + TOKEN,
        json={"app_id": settings.app_id, "app_secret": settings.app_secret},
    )


async def code(platform: Platform, token: str, method: str, path: str, **body: Any) -> int:
    answer = await platform.http.request(
        method,
        platform.base_url + path,
        json=body,
        headers={"Authorization": f"Bearer {token}"},
    )
    return int(answer.json()["code"])


async def event_when(platform: Platform, event_id: str, state: str) -> dict[str, Any]:
    """Return the event once it is in *state*."""
    with trio.fail_after(WITHIN_S):
        while True:
            for event in await platform.get("events"):
                if event["event_id"] == event_id and event["state"] == state:
                    found: dict[str, Any] = event
                    return found
            await trio.sleep(0.01)


# ── pushes and acks ─────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [("split:3", ["0", "1", "2"]), ("reversed", ["2", "1", "0"]), ("missing", ["0", "1"])],
)
async def test_a_push_in_fragments(kind: str, numbers: list[str]) -> None:
    envelope = {
        "schema": "2.0",
        "header": {"event_id": "e1", "event_type": "im.message.receive_v1"},
        "event": {"text": "in three fragments"},
    }
    async with open_platform() as platform, open_bot(platform) as bot:
        async with trio.open_nursery() as nursery:

            async def push() -> None:
                await platform.post("push", event=envelope, frames=kind)

            nursery.start_soon(push)
            parts = [await bot.frame() for _ in numbers]
            await bot.answer(parts[-1])
        assert [part.headers["seq"] for part in parts] == numbers
        assert {part.headers["sum"] for part in parts} == {"3"}
        assert len({part.headers["message_id"] for part in parts}) == 1
        if len(parts) == 3:
            ordered = sorted(parts, key=lambda part: part.headers["seq"])
            assert json.loads(b"".join(part.payload for part in ordered)) == envelope


async def test_an_event_refused_by_the_bot_comes_again_with_its_own_id() -> None:
    async with open_platform(clock_scale=10_000) as platform, open_bot(platform) as bot:
        sent = await platform.send(await platform.chat(), "hi")
        first = await bot.frame()
        await bot.answer(first, code=500)
        second = await bot.frame()
        await bot.answer(second)
        event = await event_when(platform, sent["event_id"], "delivered")
        assert [push["ack"] for push in event["pushes"]] == [500, 200]
        assert first.payload == second.payload
        assert first.headers["message_id"] != second.headers["message_id"]


async def test_an_event_refused_five_times_is_lost() -> None:
    async with open_platform(clock_scale=1_000_000) as platform, open_bot(platform) as bot:
        sent = await platform.send(await platform.chat(), "hi")
        for _ in range(5):
            await bot.answer(await bot.frame(), code=500)
        event = await event_when(platform, sent["event_id"], "lost")
        assert [push["ack"] for push in event["pushes"]] == [500] * 5


async def test_each_event_goes_to_one_of_the_connections() -> None:
    async with open_platform() as platform, open_bot(platform) as one, open_bot(platform) as two:
        took: list[str] = []

        async def take(bot: Bot, name: str) -> None:
            while True:
                data = await bot.socket.get_message()
                assert isinstance(data, bytes)
                took.append(name)
                await bot.answer(frames.decode(data))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take, one, "one")
            nursery.start_soon(take, two, "two")
            with trio.fail_after(WITHIN_S):
                await platform.post("flood", count=20, at_once=5)
            nursery.cancel_scope.cancel()
        assert len(took) == 20
        assert set(took) == {"one", "two"}


# ── presses ─────────────────────────────────────────────────────────────────

BUTTON = {
    "tag": "button",
    "element_id": "go",
    "text": {"tag": "plain_text", "content": "Go"},
    "behaviors": [{"type": "callback", "value": {"key": "value"}}],
}


async def send_a_card(platform: Platform, token: str) -> str:
    """Create and send a card with one button; return its id."""
    card = json.dumps({"schema": "2.0", "body": {"elements": [BUTTON]}})
    headers = {"Authorization": f"Bearer {token}"}
    made = await platform.http.post(
        platform.base_url + CARDS, json={"type": "card_json", "data": card}, headers=headers
    )
    card_id = str(made.json()["data"]["card_id"])
    sent = await platform.http.post(
        f"{platform.base_url}/open-apis/im/v1/messages?receive_id_type=chat_id",
        json={
            "receive_id": (await platform.chat())["chat_id"],
            "msg_type": "interactive",
            "content": json.dumps({"type": "card", "data": {"card_id": card_id}}),
        },
        headers=headers,
    )
    assert sent.json()["code"] == 0
    return card_id


@pytest.mark.parametrize(
    ("acked", "data", "shown"),
    [
        (200, {"toast": {"type": "info", "content": "done"}}, 0),
        (200, {"toast": {"type": "loud", "content": "done"}}, 200672),
        (200, "done", 200672),
        (500, None, 200671),
    ],
)
async def test_a_press_shows_what_the_callback_answered(acked: int, data: Any, shown: int) -> None:
    async with open_platform() as platform, open_bot(platform) as bot:
        token = (await token_of(platform)).json()["tenant_access_token"]
        card_id = await send_a_card(platform, token)
        path = f"{CARDS}/{card_id}/settings"
        settings = {"settings": '{"config":{}}', "sequence": 1}
        answers: list[Any] = []

        async def press() -> None:
            answers.append(await platform.post("click", card_id=card_id, element_id="go"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(press)
            callback = await bot.frame()
            pending = await code(platform, token, "PATCH", path, **settings)
            assert pending == 200810, "a card is not updated while its callback is unanswered"
            await bot.answer(callback, acked, data)
        body = json.loads(callback.payload)
        assert callback.headers["type"] == "event"
        assert body["event"]["action"]["value"] == {"key": "value"}
        assert answers[0]["code"] == shown
        assert await code(platform, token, "PATCH", path, **settings) == 0


async def test_a_press_that_reaches_nobody_ends_at_once_and_is_not_repeated() -> None:
    async with open_platform(clock_scale=10_000) as platform:
        token = (await token_of(platform)).json()["tenant_access_token"]
        card_id = await send_a_card(platform, token)
        answer = await platform.post("click", card_id=card_id, element_id="go")
        assert answer["code"] == 200341
        async with open_bot(platform) as bot:
            assert await bot.receives_nothing()


# ── bad networks ────────────────────────────────────────────────────────────


async def test_connections_are_closed_with_a_code() -> None:
    async with open_platform() as platform, open_bot(platform) as bot:
        async with trio.open_nursery() as nursery:

            async def close() -> None:
                await platform.post("connections", action="close", code=3001)

            nursery.start_soon(close)
            assert await bot.closed() == 3001


async def test_connections_are_cut_without_a_close_frame() -> None:
    async with open_platform() as platform, open_bot(platform) as bot:
        await platform.post("connections", action="abort")
        assert await bot.closed() == 1006
        assert await platform.get("connections") == []


async def test_a_frozen_connection_stays_open_and_sends_nothing() -> None:
    async with open_platform(clock_scale=10_000) as platform, open_bot(platform) as bot:
        await platform.post("connections", action="freeze")
        for _ in range(3):  # the first may be read by a receive that had begun
            await bot.socket.send_message(frames.encode(frames.Frame(headers={"type": "ping"})))
            with trio.move_on_after(SILENCE_S) as deadline:
                await bot.socket.ping()
            assert deadline.cancelled_caught, "not even WebSocket pings are answered"
        await platform.send(await platform.chat(), "hi")
        assert await bot.receives_nothing()
        (state,) = await platform.get("connections")
        assert (state["state"], state["pings"]) == ("frozen", 1)
        await platform.post("connections", action="abort")
        assert await bot.closed() == 1006


async def test_the_ping_interval_changes_with_the_next_pong() -> None:
    async with open_platform() as platform, open_bot(platform) as bot:
        await platform.post("connections", action="ping_interval", seconds=7)
        assert (await bot.ping())["PingInterval"] == 7


async def test_the_51st_connection_is_refused_at_discovery_and_at_the_handshake() -> None:
    async with open_platform() as platform:
        addresses = [(await discover(platform))["data"]["URL"] for _ in range(51)]
        async with trio.open_nursery() as nursery:

            async def hold(address: str, *, task_status: trio.TaskStatus[None]) -> None:
                async with ws.open_websocket_url(address):
                    task_status.started()
                    await trio.sleep_forever()

            for address in addresses[:50]:
                await nursery.start(hold, address)
            refused = await discover(platform)
            late = await handshake(platform, addresses[50])
            nursery.cancel_scope.cancel()
        assert (refused["code"], refused["data"]) == (1000040350, {})
        assert late.headers["handshake-autherrcode"] == "1000040350"


# ── discovery, tokens and faults ────────────────────────────────────────────


async def test_discovery_refuses_a_wrong_secret_with_data_all_the_same() -> None:
    async with open_platform() as platform:
        refused = await discover(platform, "wrong")
        assert (refused["code"], refused["data"]) == (514, {})


@pytest.mark.parametrize("template", [ENDPOINT, TOKEN])
async def test_faults_meet_discovery_and_the_token_call_too(template: str) -> None:
    async with open_platform() as platform:
        match = {"method": "POST", "template": template}
        await platform.post("faults", match=match, kind="code", code=1, status=500)
        answer = await platform.http.post(platform.base_url + template, json={})
        assert answer.status_code == 500
        assert await platform.get("faults") == []


async def test_an_expired_token_is_refused_and_a_fresh_one_is_taken() -> None:
    async with open_platform() as platform:
        info = "/open-apis/bot/v3/info"
        old = (await token_of(platform)).json()["tenant_access_token"]
        await platform.post("expire_token")
        assert await code(platform, old, "GET", info) == 99991663
        new = (await token_of(platform)).json()["tenant_access_token"]
        assert new != old
        assert await code(platform, new, "GET", info) == 0


async def test_a_call_can_be_late_or_happen_and_never_answer() -> None:
    async with open_platform() as platform:
        token = (await token_of(platform)).json()["tenant_access_token"]
        match = {"method": "POST", "template": CARDS}
        body = {"type": "card_json", "data": '{"schema":"2.0"}'}
        await platform.post("faults", match=match, kind="delay", seconds=0.15)
        before = trio.current_time()
        assert await code(platform, token, "POST", CARDS, **body) == 0
        assert trio.current_time() - before >= 0.15
        await platform.post("faults", match=match, kind="apply_then_hang")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(code, platform, token, "POST", CARDS, **body))
            with trio.fail_after(WITHIN_S):
                while len(await platform.cards()) < 2:
                    await trio.sleep(0.01)
            await trio.sleep(SILENCE_S)
            assert nursery.child_tasks, "it is not answered"
            nursery.cancel_scope.cancel()
        assert len(await platform.cards()) == 2
        await platform.post("faults", match=match, kind="hang", times=None)
        await platform.http.delete(f"{platform.base_url}/sandbox/faults")
        assert await code(platform, token, "POST", CARDS, **body) == 0


async def test_a_wrong_path_and_a_wrong_method_are_distinguished() -> None:
    async with open_platform() as platform:
        assert await code(platform, "t-x", "GET", "/open-apis/nothing") == 99991201
        assert await code(platform, "t-x", "DELETE", TOKEN) == 99991301

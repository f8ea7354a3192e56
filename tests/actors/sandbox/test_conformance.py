"""The sandbox does what the platform's pages promise; it is called as any client would."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio
import trio_websocket as ws
from trio.testing import MockClock

from actors.sandbox import frames
from tests.actors.sandbox.by_hand import handshake
from tests.kit.daemon import Platform, open_platform
from tests.kit.loopback import loopback_clock

CARDS = "/open-apis/cardkit/v1/cards"
MESSAGES = "/open-apis/im/v1/messages"


class Setup:
    """An app that calls the platform's API with its token."""

    def __init__(self, platform: Platform, token: str) -> None:
        self.platform = platform
        self.token = token

    async def call(self, method: str, path: str, **body: Any) -> httpx.Response:
        return await self.platform.http.request(
            method,
            self.platform.base_url + path,
            json=body,
            headers={"Authorization": f"Bearer {self.token}"},
        )

    async def code(self, method: str, path: str, **body: Any) -> int:
        """Make a call and return its code."""
        return int((await self.call(method, path, **body)).json()["code"])

    async def create_card(self, *elements: dict[str, Any], **config: Any) -> str:
        answer = await self.call("POST", CARDS, type="card_json", data=card(*elements, **config))
        return str(answer.json()["data"]["card_id"])


def markdown(content: str = "", element_id: str = "answer") -> dict[str, Any]:
    return {"tag": "markdown", "element_id": element_id, "content": content}


def card(*elements: dict[str, Any], **config: Any) -> str:
    shown = list(elements) or [markdown()]
    return json.dumps(
        {"schema": "2.0", "config": {"streaming_mode": True} | config, "body": {"elements": shown}}
    )


async def token_of(platform: Platform, secret: str | None = None) -> dict[str, Any]:
    settings = platform.running.settings
    answer = await platform.http.post(
        f"{platform.base_url}/open-apis/auth/v3/tenant_access_token/internal",
        json={"app_id": settings.app_id, "app_secret": secret or settings.app_secret},
    )
    found: dict[str, Any] = answer.json()
    return found


@asynccontextmanager
async def open_app(**settings: Any) -> AsyncIterator[Setup]:
    async with open_platform(**settings) as platform:
        yield Setup(platform, (await token_of(platform))["tenant_access_token"])


@pytest.fixture
def clock() -> MockClock:
    """Of the tests that ask for it: none passes by itself, and minutes go by at once."""
    return loopback_clock()


# ── tokens ──────────────────────────────────────────────────────────────────


async def test_a_token_stays_the_same_while_half_an_hour_remains() -> None:
    async with open_platform() as platform:
        first, second = await token_of(platform), await token_of(platform)
        assert first["tenant_access_token"] == second["tenant_access_token"]
        assert first["expire"] > 600
        assert (await token_of(platform, "wrong"))["code"] == 10014


async def test_calls_without_a_good_token_are_refused() -> None:
    async with open_app() as app:
        info = "/open-apis/bot/v3/info"
        assert await app.code("GET", info) == 0
        app.token = "t-unknown"
        assert await app.code("GET", info) == 99991663
        app.token = "x"
        assert await app.code("GET", info) == 99991671
        answer = await app.platform.http.get(app.platform.base_url + info)
        assert answer.json()["code"] == 99991661


async def test_headers_are_spelt_as_one_client_reads_them() -> None:
    async with open_platform() as platform:
        address = httpx.URL(platform.base_url)
        stream = await trio.open_tcp_stream(address.host, address.port or 0)
        async with stream:
            await stream.send_all(b"GET /open-apis/bot/v3/info HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            head = b""
            while b"\r\n\r\n" not in head:
                head += await stream.receive_some()
        assert b"\r\nContent-Type: application/json; charset=utf-8\r\n" in head
        assert b"\r\nX-Tt-Logid: " in head


# ── card entities ───────────────────────────────────────────────────────────


async def test_one_rising_sequence_for_every_call_on_a_card() -> None:
    async with open_app() as app:
        path = f"{CARDS}/{await app.create_card()}"
        content = f"{path}/elements/answer/content"
        assert await app.code("PUT", content, content="a", sequence=1) == 0
        assert await app.code("PUT", content, content="b", sequence=1) == 300317
        assert await app.code("PUT", content, content="b", sequence=5) == 0
        update = {"type": "card_json", "data": card(markdown("c"))}
        assert await app.code("PUT", path, card=update, sequence=4) == 300317
        assert await app.code("PUT", path, card=update, sequence=6) == 0
        settings = json.dumps({"config": {"streaming_mode": False}})
        assert await app.code("PATCH", f"{path}/settings", settings=settings, sequence=6) == 300317
        assert await app.code("PATCH", f"{path}/settings", settings=settings, sequence=7) == 0
        assert await app.code("PUT", content, content="d", sequence=8) == 300309


async def test_a_uuid_happens_once() -> None:
    async with open_app() as app:
        path = f"{CARDS}/{await app.create_card()}"
        content = f"{path}/elements/answer/content"
        for _ in range(2):
            assert await app.code("PUT", content, content="a", sequence=1, uuid="u") == 0
        update = {"type": "card_json", "data": card()}
        assert await app.code("PUT", path, card=update, sequence=2, uuid="u") == 200770


@pytest.mark.parametrize(
    ("element", "content", "code"),
    [("ghost", "x", 300313), ("line", "x", 300310), ("answer", "", 10002)],
)
async def test_content_needs_a_text_element_and_text(element: str, content: str, code: int) -> None:
    async with open_app() as app:
        card_id = await app.create_card(markdown(), {"tag": "hr", "element_id": "line"})
        path = f"{CARDS}/{card_id}/elements/{element}/content"
        assert await app.code("PUT", path, content=content, sequence=1) == code


async def test_streaming_closes_ten_minutes_after_it_was_opened(clock: MockClock) -> None:
    async with open_app() as app:
        path = f"{CARDS}/{await app.create_card()}"
        content = f"{path}/elements/answer/content"
        await trio.sleep(10.5 * 60)
        assert await app.code("PUT", content, content="a", sequence=1) == 200850
        assert await app.code("PUT", content, content="a", sequence=2) == 300309
        on = json.dumps({"config": {"streaming_mode": True}})
        assert await app.code("PATCH", f"{path}/settings", settings=on, sequence=3) == 0
        assert await app.code("PUT", content, content="a", sequence=4) == 0


@pytest.mark.parametrize(
    ("elements", "code"),
    [
        ([markdown("x" * 31_000)], 200860),
        ([markdown("x", f"e{number}") for number in range(201)], 300305),
        ([{"tag": "note"}], 200861),
        ([{**markdown(), "colour": "red"}], 200621),
        ([markdown("", "1bad")], 200220),
        ([markdown(), markdown()], 300301),
        ([markdown("|a|b|\n|-|-|\n", f"t{number}") for number in range(6)], 230099),
        ([{"tag": "collapsible_panel", "elements": [{"tag": "form", "name": "f"}]}], 200220),
    ],
)
async def test_a_card_the_platform_does_not_take(elements: list[Any], code: int) -> None:
    async with open_app() as app:
        assert await app.code("POST", CARDS, type="card_json", data=card(*elements)) == code


async def test_an_entity_is_sent_once() -> None:
    async with open_app() as app:
        chat = await app.platform.chat()
        content = json.dumps({"type": "card", "data": {"card_id": await app.create_card()}})
        send = {"receive_id": chat["chat_id"], "msg_type": "interactive", "content": content}
        path = f"{MESSAGES}?receive_id_type=chat_id"
        assert await app.code("POST", path, **send) == 0
        assert await app.code("POST", path, **send) == 230099


# ── messages and limits ─────────────────────────────────────────────────────


async def test_the_same_uuid_is_the_same_message() -> None:
    async with open_app() as app:
        chat = await app.platform.chat()
        sent = await app.platform.send(chat, "hi")
        reply = f"{MESSAGES}/{sent['message_id']}/reply"
        body = {"msg_type": "text", "content": '{"text":"yes"}', "uuid": "u"}
        first, second = [(await app.call("POST", reply, **body)).json() for _ in range(2)]
        assert first["data"]["message_id"] == second["data"]["message_id"]
        assert first["data"]["parent_id"] == sent["message_id"]
        await app.platform.post("recall", message_id=sent["message_id"])
        assert await app.code("POST", reply, msg_type="text", content='{"text":"x"}') == 230011


async def test_five_messages_a_second_and_chat(clock: MockClock) -> None:
    async with open_app() as app:
        chat = await app.platform.chat()
        body = {"receive_id": chat["chat_id"], "msg_type": "text", "content": '{"text":"x"}'}
        path = f"{MESSAGES}?receive_id_type=chat_id"
        codes = [await app.code("POST", path, **body) for _ in range(7)]
        assert codes == [0] * 5 + [230020] * 2


async def test_fifty_calls_a_second_and_api_with_the_reset_in_a_header(clock: MockClock) -> None:
    async with open_app() as app:
        answers = [await app.call("GET", "/open-apis/bot/v3/info") for _ in range(51)]
        assert [answer.status_code for answer in answers] == [200] * 50 + [429]
        assert answers[-1].json()["code"] == 99991400
        assert int(answers[-1].headers["x-ogw-ratelimit-reset"]) >= 1


async def test_a_missing_scope_names_the_page_that_grants_it() -> None:
    async with open_app() as app:
        await app.platform.post("scopes", missing=["cardkit:card:write"])
        refused = (await app.call("POST", CARDS, type="card_json", data=card())).json()
        assert refused["code"] == 99991672
        assert refused["error"]["permission_violations"][0]["subject"] == "cardkit:card:write"
        assert "/auth?q=cardkit:card:write" in refused["msg"]


# ── the long connection ─────────────────────────────────────────────────────


async def address_of(platform: Platform) -> str:
    settings = platform.running.settings
    answer = await platform.http.post(
        f"{platform.base_url}/callback/ws/endpoint",
        json={"AppID": settings.app_id, "AppSecret": settings.app_secret},
    )
    return str(answer.json()["data"]["URL"])


async def next_frame(socket: ws.WebSocketConnection) -> frames.Frame:
    data = await socket.get_message()
    assert isinstance(data, bytes), "frames are binary"
    return frames.decode(data)


async def ping(socket: ws.WebSocketConnection) -> frames.Frame:
    await socket.send_message(frames.encode(frames.Frame(headers={"type": "ping"})))
    return await next_frame(socket)


async def test_nothing_is_pushed_before_the_first_ping_and_a_pong_configures() -> None:
    async with open_platform(clock_scale=100) as platform:
        url = await address_of(platform)
        assert "?device_id" not in url
        async with ws.open_websocket_url(url) as socket:
            await platform.send(await platform.chat(), "early")
            with trio.move_on_after(0.1) as deadline:
                await socket.get_message()
            assert deadline.cancelled_caught
            pong = await ping(socket)
            assert pong.headers == {"type": "pong"}
            assert set(json.loads(pong.payload)) == {
                "PingInterval",
                "ReconnectCount",
                "ReconnectInterval",
                "ReconnectNonce",
            }
            with trio.fail_after(60):  # 15 s of the platform's clock
                pushed = await next_frame(socket)
            assert pushed.headers["type"] == "event"
            assert json.loads(pushed.payload)["event"]["message"]["content"] == '{"text":"early"}'


async def test_an_event_that_is_not_acked_comes_again_on_the_schedule() -> None:
    async with open_platform(clock_scale=10_000) as platform:
        async with ws.open_websocket_url(await address_of(platform)) as socket:
            await ping(socket)
            sent = await platform.send(await platform.chat(), "again")
            pushes = []
            with trio.fail_after(60):
                for _ in range(2):
                    frame = await next_frame(socket)
                    pushes.append(frame)
                    if len(pushes) == 2:
                        ack = frames.Frame(
                            seq_id=frame.seq_id,
                            log_id=frame.log_id,
                            service=frame.service,
                            method=frame.method,
                            headers=frame.headers | {"biz_rt": "-1"},
                            payload=b'{"code":200}',
                        )
                        await socket.send_message(frames.encode(ack))
                while True:
                    (event,) = await platform.get("events")
                    if event["state"] == "delivered":
                        break
                    await trio.sleep(0.02)
            assert len({json.loads(one.payload)["header"]["event_id"] for one in pushes}) == 1
            assert len({one.headers["message_id"] for one in pushes}) == 2
            assert event["event_id"] == sent["event_id"]


async def test_a_ticket_opens_one_connection_and_refusals_carry_their_reason() -> None:
    async with open_platform() as platform:
        url = await address_of(platform)
        async with ws.open_websocket_url(url) as socket:
            await ping(socket)
        refused = await handshake(platform, url)
        assert refused.headers["handshake-status"] == "514"
        assert refused.headers["handshake-autherrcode"] == "1"
        await platform.post(
            "connections", action="refuse", status=403, handshake_status=403, times=1
        )
        refused = await handshake(platform, await address_of(platform))
        assert refused.status_code == 403
        assert refused.headers["handshake-status"] == "403"


async def wait_met(platform: Platform) -> None:
    """Wait until every fault has met as many calls as it was for."""
    with trio.fail_after(60):
        while await platform.get("faults"):
            await trio.sleep(0.01)


# ── faults ──────────────────────────────────────────────────────────────────


async def test_every_kind_of_fault_is_met_and_counted() -> None:
    async with open_app() as app:
        platform, info = app.platform, "/open-apis/bot/v3/info"
        match = {"method": "GET", "template": info}
        await platform.post("faults", match=match, kind="code", code=230001, status=400, after=1)
        assert [await app.code("GET", info) for _ in range(3)] == [0, 230001, 0]
        await platform.post("faults", match=match, kind="garbage", status=502)
        assert (await app.call("GET", info)).status_code == 502
        await platform.post("faults", match=match, kind="drop")
        with pytest.raises(httpx.TransportError):
            await app.call("GET", info)
        await platform.post("faults", match=match, kind="hang")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(app.call, "GET", info)
            await wait_met(platform)
            await trio.sleep(0.2)
            assert nursery.child_tasks, "it is not answered"
            nursery.cancel_scope.cancel()
        assert await app.code("GET", info) == 0
        answers = [call["code"] for call in await platform.get("calls", path="bot/v3/info")]
        assert answers.count(230001) == 1


async def test_a_call_can_happen_and_nobody_is_notified() -> None:
    async with open_app() as app:
        card_id = await app.create_card()
        path = f"{CARDS}/{card_id}/elements/answer/content"
        await app.platform.post(
            "faults",
            match={"method": "PUT", "template": f"{CARDS}/:card_id/elements/:element_id/content"},
            kind="apply_then_drop",
        )
        with pytest.raises(httpx.TransportError):
            await app.call("PUT", path, content="applied", sequence=1)
        (shown,) = await app.platform.cards()
        assert shown["card"]["body"]["elements"][0]["content"] == "applied"
        assert await app.code("PUT", path, content="again", sequence=1) == 300317

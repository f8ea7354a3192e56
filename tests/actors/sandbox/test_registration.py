"""Apps made by a scan, as the platform's device flow and its official SDKs do it."""

from __future__ import annotations

import base64
import gzip
import json
import sys
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from tests.actors.sandbox.test_official_sdks import CLIENTS, node_client, open_sdk
from tests.kit.daemon import Platform, open_platform
from tests.kit.loopback import loopback_clock

__all__ = ["node_client"]

BEGIN = {
    "archetype": "PersonalAgent",
    "auth_method": "client_secret",
    "request_user_info": "open_id",
}
SCOPES = ["im:message", "cardkit:card:write", "im:made:up"]
ADDONS = {
    "preset": False,
    "scopes": {"tenant": SCOPES},
    "events": {"items": {"tenant": ["im.message.receive_v1"]}},
    "callbacks": {"items": ["card.action.trigger"]},
}


def encoded(addons: dict[str, Any]) -> str:
    packed = gzip.compress(json.dumps(addons).encode(), mtime=0)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


@pytest.fixture
def clock() -> MockClock:
    """Of the test that asks for it: no time passes between its polls."""
    return loopback_clock()


async def register(platform: Platform, action: str, **form: str) -> httpx.Response:
    url = f"{platform.base_url}/oauth/v1/app/registration"
    return await platform.http.post(url, data={"action": action, **form})


async def begin(platform: Platform) -> dict[str, Any]:
    answer: dict[str, Any] = (await register(platform, "begin", **BEGIN)).json()
    return answer


async def poll(platform: Platform, begun: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    answer = await register(platform, "poll", device_code=begun["device_code"])
    return answer.status_code, answer.json()


async def call(platform: Platform, app: dict[str, Any], method: str, path: str, **body: Any) -> Any:
    credentials = {"app_id": app["client_id"], "app_secret": app["client_secret"]}
    url = f"{platform.base_url}/open-apis/auth/v3/tenant_access_token/internal"
    token = (await platform.http.post(url, json=credentials)).json()["tenant_access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    answer = await platform.http.request(
        method, f"{platform.base_url}/open-apis/{path}", json=body, headers=headers
    )
    return answer.json()


async def test_from_init_to_an_app_that_can_be_used_at_once() -> None:
    async with open_platform() as platform:
        init = (await register(platform, "init")).json()
        assert "client_secret" in init["supported_auth_methods"]
        begun = await begin(platform)
        link = begun["verification_uri_complete"]
        assert link.startswith(f"{platform.base_url}/page/launcher?user_code={begun['user_code']}")
        assert (await poll(platform, begun))[0] == 400
        scanned = await platform.post(
            "registrations", url=f"{link}&name=Robo&addons={encoded(ADDONS)}"
        )
        assert scanned["state"] == "approved"
        status, app = await poll(platform, begun)
        assert status == 200
        assert app["client_id"].startswith("cli_")
        assert len(app["client_id"]) == 20
        alice = (await platform.get("state"))["users"][0]
        assert app["user_info"] == {"open_id": alice["open_id"], "tenant_brand": "feishu"}
        assert (await poll(platform, begun))[1] == app, "a lost answer can be asked for again"
        assert (await call(platform, app, "GET", "bot/v3/info"))["bot"]["app_name"] == "Robo"
        listed = (await call(platform, app, "GET", "application/v6/scopes"))["data"]["scopes"]
        assert [one["scope_name"] for one in listed] == ["cardkit:card:write", "im:message"]
        refused = await call(platform, app, "GET", "im/v1/chats/oc_x")
        assert refused["code"] == 99991672
        online = await call(platform, app, "GET", "event/v1/connection")
        assert online["data"] == {"online_instance_cnt": 0}


async def test_a_tenant_of_lark_gets_the_secret_at_the_second_poll() -> None:
    async with open_platform() as platform:
        begun = await begin(platform)
        await platform.post("registrations", user_code=begun["user_code"], tenant_brand="lark")
        _, first = await poll(platform, begun)
        assert first["user_info"]["tenant_brand"] == "lark"
        assert "client_secret" not in first
        _, second = await poll(platform, begun)
        assert second["client_secret"]


async def test_polling_too_often_slows_down_and_keeps_slow(clock: MockClock) -> None:
    async with open_platform() as platform:
        begun = await begin(platform)
        answers = [(await poll(platform, begun))[1]["error"] for _ in range(3)]
        assert answers == ["authorization_pending", "slow_down", "slow_down"]
        begun = await begin(platform)
        await platform.post("registrations", user_code=begun["user_code"], action="slow_down")
        assert (await poll(platform, begun))[1]["error"] == "slow_down"


@pytest.mark.parametrize(
    ("action", "error"), [("deny", "access_denied"), ("expire", "expired_token")]
)
async def test_what_was_denied_or_expired_stays_so(action: str, error: str) -> None:
    async with open_platform() as platform:
        begun = await begin(platform)
        await platform.post("registrations", user_code=begun["user_code"], action=action)
        for _ in range(2):
            status, answer = await poll(platform, begun)
            assert (status, answer["error"]) == (400, error)


async def test_a_code_expires_by_the_clock_and_an_unknown_one_is_invalid() -> None:
    async with open_platform(clock_scale=1_000) as platform:
        begun = await begin(platform)
        assert begun["expires_in"] == 600
        await trio.sleep(0.65)
        assert (await poll(platform, begun))[1]["error"] == "expired_token"
        assert (await poll(platform, {"device_code": "x"}))[1]["error"] == "invalid_grant"
        (shown,) = await platform.get("registrations")
        assert shown["state"] == "expired"
        assert "device_code" not in shown


async def test_an_app_of_the_past_is_widened_instead_of_made() -> None:
    async with open_platform() as platform:
        settings = platform.running.settings
        await platform.post("scopes", granted=["im:message"])
        begun = await begin(platform)
        link = f"{begun['verification_uri_complete']}&clientID={settings.app_id}"
        await platform.post("registrations", url=f"{link}&addons={encoded(ADDONS)}")
        _, app = await poll(platform, begun)
        assert (app["client_id"], app["client_secret"]) == (settings.app_id, settings.app_secret)
        granted = (await platform.post("scopes"))["granted"][settings.app_id]
        assert granted == ["cardkit:card:write", "im:message"]


@pytest.mark.parametrize("addons", ["!", "AAAA", encoded({"scopes": 7})])
async def test_addons_that_are_none_are_named(addons: str) -> None:
    async with open_platform() as platform:
        begun = await begin(platform)
        url = f"{begun['verification_uri_complete']}&addons={addons}"
        answer = await platform.http.post(
            f"{platform.base_url}/sandbox/registrations", json={"url": url}
        )
        assert answer.status_code == 400
        assert "addons" in answer.json()["error"]


async def test_what_no_scope_allows_is_not_pushed() -> None:
    async with open_platform() as platform:
        await platform.post("scopes", granted=["im:message", "im:message.group_at_msg:readonly"])
        direct, group = await platform.chat(), await platform.chat("group", "Team")
        assert (await platform.send(direct, "x"))["event_id"] is None
        assert (await platform.send(group, "x"))["event_id"] is None
        assert (await platform.send(group, "x", mention_bot=True))["event_id"]


async def test_the_list_of_scopes_can_be_silent() -> None:
    async with open_platform() as platform:
        settings = platform.running.settings
        app = {"client_id": settings.app_id, "client_secret": settings.app_secret}
        assert (await call(platform, app, "GET", "application/v6/scopes"))["data"]["scopes"]
        await platform.post("scopes", listed=False)
        assert not (await call(platform, app, "GET", "application/v6/scopes"))["data"]["scopes"]


# ── the official SDKs ───────────────────────────────────────────────────────


async def registers(command: list[str], brand: str) -> None:
    async with open_platform() as platform, open_sdk([*command, platform.base_url]) as sdk:
        url = (await sdk.reported("link"))["url"]
        assert "source=" in url
        await platform.post("registrations", url=url, tenant_brand=brand)
        app = (await sdk.reported("app"))["app"]
        assert app["user_info"]["tenant_brand"] == brand
        assert (await call(platform, app, "GET", "bot/v3/info"))["bot"]["app_name"] == "Robo"
        listed = (await call(platform, app, "GET", "application/v6/scopes"))["data"]["scopes"]
        assert [one["scope_name"] for one in listed] == ["im:message"]


@pytest.mark.parametrize("brand", ["feishu", "lark"])
async def test_the_python_sdk_makes_an_app(brand: str) -> None:
    await registers([sys.executable, str(CLIENTS / "python_register.py")], brand)


@pytest.mark.parametrize("brand", ["feishu", "lark"])
async def test_the_node_sdk_makes_an_app(node_client: list[str], brand: str) -> None:
    script = node_client[1].replace("node_sdk.mjs", "node_register.mjs")
    await registers([node_client[0], script], brand)

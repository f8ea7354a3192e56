"""Nobody but the person who started the sandbox can use it: not a web page, not another user."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from actors.sandbox.access import TOKEN_HEADER
from actors.sandbox.server import SandboxSettings
from tests.kit.daemon import Platform, open_platform

EVIL = "http://evil.example"


async def post(
    platform: Platform, path: str, headers: dict[str, str], body: str = "{}"
) -> httpx.Response:
    """Post to the control API with these headers and no others of ours."""
    async with httpx.AsyncClient(trust_env=False) as stranger:
        return await stranger.post(
            f"{platform.base_url}/sandbox/{path}", headers=headers, content=body
        )


def good(platform: Platform, **more: str) -> dict[str, str]:
    token = {TOKEN_HEADER: platform.running.settings.token, "Content-Type": "application/json"}
    return {**token, **more}


async def test_the_printed_address_is_what_lets_in() -> None:
    async with open_platform() as platform:
        token = platform.running.settings.token
        assert platform.running.page_url == f"{platform.base_url}/sandbox/?token={token}"
        body = json.dumps({"name": "Carol"})
        assert (await post(platform, "users", good(platform), body)).json()["name"] == "Carol"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({TOKEN_HEADER: ""}, 401),
        ({TOKEN_HEADER: "guess"}, 401),
        ({TOKEN_HEADER: "schlüssel".encode().decode("latin-1")}, 401),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:80"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "[::1"}, 403),
        ({"Origin": EVIL}, 403),
        ({"Origin": "null"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ],
)
async def test_nobody_else_writes_as_alice(change: dict[str, str], status: int) -> None:
    async with open_platform() as platform:
        chat = await platform.chat()
        body = json.dumps({"chat_id": chat["chat_id"], "text": "from a stranger"})
        headers: dict[Any, Any] = {
            key: value.encode("utf-8") for key, value in (good(platform) | change).items()
        }
        answer = await post(platform, "send", headers, body)
        assert answer.status_code == status
        assert answer.json()["error"]
        assert await platform.messages(chat) == []


@pytest.mark.parametrize("path", ["state", "stream", "calls", "events", "files/x"])
async def test_nobody_else_reads(path: str) -> None:
    async with open_platform() as platform, httpx.AsyncClient(trust_env=False) as stranger:
        assert (await stranger.get(f"{platform.base_url}/sandbox/{path}")).status_code == 401
        asked = f"{platform.base_url}/sandbox/{path}?token={platform.running.settings.token}"
        assert (await stranger.get(asked)).status_code == 401, "the token is for a header"


async def test_the_platforms_api_is_not_for_web_pages_either() -> None:
    async with open_platform() as platform, httpx.AsyncClient(trust_env=False) as stranger:
        token = f"{platform.base_url}/open-apis/auth/v3/tenant_access_token/internal"
        settings = platform.running.settings
        body = {"app_id": settings.app_id, "app_secret": settings.app_secret}
        assert (await stranger.post(token, json=body)).status_code == 200
        for headers in ({"Host": "evil.example"}, {"Origin": EVIL}):
            assert (await stranger.post(token, json=body, headers=headers)).status_code == 403


async def test_the_page_itself_needs_no_token_and_embeds_nothing_foreign() -> None:
    async with open_platform() as platform, httpx.AsyncClient(trust_env=False) as anyone:
        page = await anyone.get(f"{platform.base_url}/sandbox/")
        assert page.status_code == 200
        assert "default-src 'self'" in page.headers["content-security-policy"]
        assert page.headers["referrer-policy"] == "no-referrer"
        assert (await anyone.get(f"{platform.base_url}/sandbox/static/app.js")).status_code == 200


async def test_ids_secrets_and_tokens_differ_from_run_to_run() -> None:
    seen: list[set[str]] = []
    for _ in range(2):
        async with open_platform() as platform:
            state = await platform.get("state")
            settings = platform.running.settings
            seen.append(
                {
                    settings.token,
                    settings.app_secret,
                    *(chat["chat_id"] for chat in state["chats"]),
                    *(user["open_id"] for user in state["users"]),
                }
            )
    assert not seen[0] & seen[1]
    assert len(SandboxSettings().token) == 0, "made for each run"

"""The console: who may open it, what it shows, and what can be done from it, in a real browser."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.daemon.test_operator import larkd, output_of, refused
from tests.kit.browser import Browser, open_browser
from tests.kit.daemon import Platform, open_daemon, open_platform
from tests.kit.raw_proxy import RawProxy, session


@asynccontextmanager
async def open_console(platform: Platform, state_dir: Path) -> AsyncIterator[tuple[str, str]]:
    """Give the address to act from, and the one to look only."""
    async with open_daemon(platform, state_dir, console={"port": 0}):
        acting = await output_of(state_dir, "console")
        yield acting, await output_of(state_dir, "console", "--read-only")


def split(address: str) -> tuple[str, dict[str, str]]:
    base, _, token = address.partition("?token=")
    return base.rstrip("/"), {"Authorization": f"Bearer {token}"}


async def test_without_its_token_nothing_is_shown_or_done(state_dir: Path) -> None:
    async with (
        open_platform() as platform,
        open_console(platform, state_dir) as (acting, looking),
        session(state_dir, "boss", "dispatcher"),
        session(state_dir, "mate"),
        httpx.AsyncClient(trust_env=False, timeout=10) as http,
    ):
        base, may_act = split(acting)
        _, may_look = split(looking)
        wanted = {"action": "acquire", "session_id": "mate"}
        for path in (
            "/",
            "/?token=",
            "/?token=guess",
            "/api/stream",
            "/api/log?message=om_1",
            "/api",
        ):
            assert (await http.get(base + path)).status_code == 401, path
        assert (await http.get(base + "/api")).status_code == 401, "nor what there is"
        assert (await http.get(base + "/api", headers=may_look)).status_code == 404
        for path in ("/api/handoff", "/api/stop"):
            assert (await http.post(base + path, json=wanted)).status_code == 401
            answer = await http.post(base + path, json=wanted, headers=may_look)
            assert answer.status_code == 403
        page = await http.get(looking)
        assert (page.status_code, page.headers["cache-control"]) == (200, "no-store")
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]

        done = await http.post(base + "/api/handoff", json=wanted, headers=may_act)
        assert done.json() == {"result": "Feishu channel owner is now mate (session, epoch 2)."}
        wrong = await http.post(
            base + "/api/handoff", json={"action": "acquire", "session_id": "x"}, headers=may_act
        )
        assert (wrong.status_code, wrong.json()["error"]) == (
            409,
            "no live channel proxy session: x",
        )
        for body in (b"[]", b"{", b'{"action": 5}', b"x" * 10_000):
            answer = await http.post(base + "/api/handoff", content=body, headers=may_act)
            assert answer.status_code in (400, 413)

        await output_of(state_dir, "tokens", "rotate", "dispatcher")
        assert (await http.get(acting)).status_code == 401, "its address ends with the token"
        assert (await http.get(looking)).status_code == 200


async def test_the_command_says_how_to_have_one(state_dir: Path) -> None:
    async with open_platform() as platform, open_daemon(platform, state_dir):
        assert "the daemon serves no console; add it to the configuration" in await refused(
            state_dir, "console"
        )
    assert (await larkd(state_dir, "console")).returncode == 1


def wait_text(browser: Browser, selector: str, wanted: str) -> None:
    def shown(driver: Browser) -> bool:
        return wanted in driver.find_element(By.CSS_SELECTOR, selector).text

    WebDriverWait(browser, 20).until(shown, f"{wanted!r} in {selector}")


def click(browser: Browser, selector: str) -> None:
    button = browser.find_element(By.CSS_SELECTOR, selector)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
    button.click()


@pytest.mark.parametrize(("width", "phone"), [(1280, False), (390, True)])
async def test_an_operator_sees_and_does_it_in_a_browser(
    state_dir: Path, width: int, phone: bool
) -> None:
    async with (
        open_platform() as platform,
        open_console(platform, state_dir) as (acting, looking),
        session(state_dir, "boss", "dispatcher", metadata={"alias": "boss", "cwd": "/src/a"}),
        session(state_dir, "mate", capabilities=["turns", "cancel"]) as mate,
    ):
        await output_of(state_dir, "handoff", "acquire", "mate")
        sent = await platform.send(await platform.chat(), "a long task")
        deliver = await mate.expect("deliver")
        await mate.send(t="ack", event_id=deliver["event_id"], attempt=1)
        await mate.send(t="delta", turn_id=deliver["turn_id"], text="working")

        def work() -> None:
            with open_browser(width, 900, phone=phone) as browser:
                browser.get(acting)
                wait_text(browser, "#link", "live")
                wait_text(browser, "#sessions", "/src/a")
                wait_text(browser, "#sessions", "gets the messages")
                wait_text(browser, "#flight", "mate")
                wait_text(browser, "#connections", "connected")
                overflow = browser.execute_script(
                    "return document.documentElement.scrollWidth - innerWidth"
                )
                assert overflow <= 0, "nothing is wider than the screen"

                browser.find_element(By.ID, "log-id").send_keys(sent["message_id"])
                click(browser, "#log-form button")
                wait_text(browser, "#log", "feishu.message.received")
                click(browser, "#flight button")
                wait_text(browser, "#outcome", "Stopped mate.")
                click(browser, '#sessions tr[data-key="boss"] button')
                wait_text(browser, "#outcome", "Feishu channel owner is now boss")
                errors = [one for one in browser.get_log("browser") if one["level"] == "SEVERE"]
                assert not errors, errors
            with open_browser(width, 900, phone=phone) as browser:
                browser.get(looking)
                wait_text(browser, "#daemon", "to look only")
                buttons = browser.find_elements(By.CSS_SELECTOR, "#sessions button")
                assert buttons
                assert not any(button.is_enabled() for button in buttons)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer_cancel, mate)
            await trio.to_thread.run_sync(work)
            nursery.cancel_scope.cancel()
        status = json.loads(await output_of(state_dir, "status", "--json"))
        assert status["owner_session_id"] == "boss"


async def answer_cancel(mate: RawProxy) -> None:
    cancel = await mate.expect("cancel", within_s=60)
    await mate.send(t="turn_end", turn_id=cancel["turn_id"], status="aborted")
    await trio.sleep_forever()

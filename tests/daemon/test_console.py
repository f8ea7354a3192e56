"""The console: who may open it, what it shows, and what can be done from it, in a real browser."""

from __future__ import annotations

import base64
import json
import os
import ssl
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest
import trio
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    NoSuchElementException,
    StaleElementReferenceException,
)
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from protocol.config.reading import read_settings
from tests.cluster.nodes import Certificates
from tests.daemon.test_approvals import ask
from tests.daemon.test_metrics import address_of
from tests.daemon.test_operator import larkd, output_of, refused
from tests.kit.axe import axe_source, serious
from tests.kit.browser import Browser, open_browser
from tests.kit.daemon import Platform, open_daemon, open_platform, open_served
from tests.kit.ports import free_port
from tests.kit.raw_proxy import RawProxy, session
from tests.kit.sizes import NIGHTLY


@asynccontextmanager
async def open_console(
    platform: Platform, state_dir: Path, port: int = 0
) -> AsyncIterator[tuple[str, str]]:
    """Give the address to act from, and the one to look only. With *port* also of metrics."""
    where = {"console": {"port": port}} | ({"metrics": {"port": port}} if port else {})
    async with open_daemon(platform, state_dir, **where):
        acting = await output_of(state_dir, "console")
        yield acting, await output_of(state_dir, "console", "--read-only")


def split(address: str) -> tuple[str, dict[str, str]]:
    base, _, token = address.partition("?token=")
    return base.rstrip("/"), {"Authorization": f"Bearer {token}"}


async def test_without_its_token_nothing_is_shown_or_done(state_dir: Path) -> None:
    async with (
        open_platform() as platform,
        open_console(platform, state_dir, free_port()) as (acting, looking),
        session(state_dir, "boss", "dispatcher"),
        session(state_dir, "mate"),
        httpx.AsyncClient(trust_env=False, timeout=60) as http,
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
        for path in ("/metrics", "/livez"):
            assert (await http.get(base + path)).status_code == 200, "metrics are for scrapers"
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


async def test_the_command_prints_how_to_have_one(state_dir: Path) -> None:
    async with open_served(state_dir):
        refusal = await refused(state_dir, "console")
        assert "serves no console; add it to the end of the configuration, and restart:" in refusal
        # What it writes is what the configuration takes.
        options = {"appId": "cli_0123456789abcdef", "appSecret": "s"}
        ours = {"channels": [{"type": "feishu", "options": options}]}
        added = tomllib.loads(refusal.partition(":\n\n")[2])
        settings = read_settings({**ours, **added}, {}, str)
        assert settings.console is not None
        assert (settings.console.host, settings.console.port) == ("127.0.0.1", 7347)
    assert (await larkd(state_dir, "console")).returncode == 1


async def test_over_tls_both_are_served_with_the_certificate_of_now(
    state_dir: Path, tmp_path: Path
) -> None:
    files = made_in(tmp_path / "first")
    tls = {"certFile": str(files.cert), "keyFile": str(files.key)}
    shown_too = tls | {"clientCaFile": str(files.ca)}
    async with (
        open_platform() as platform,
        open_daemon(
            platform,
            state_dir,
            console={"port": 0, "tls": tls},
            metrics={"port": 0, "tls": shown_too},
        ) as daemon,
    ):
        console = await output_of(state_dir, "console")
        metrics = await address_of(daemon, "metrics")
        assert console.startswith("https://")
        assert await fetched(console, files) == 200
        assert await fetched(f"{metrics}/livez", files, shows=files) == 200
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError, httpx.ConnectError)):
            await fetched(f"{metrics}/livez", files)  # a client shows none
        with pytest.raises(httpx.ConnectError):  # it is no other authority's
            await fetched(console, made_in(tmp_path / "second"))
        with pytest.raises(httpx.ConnectError):
            await fetched(console, files, newest=ssl.TLSVersion.TLSv1_2)

        renewed = made_in(tmp_path / "renewed")
        files.key.write_bytes(renewed.key.read_bytes())
        files.cert.write_bytes(renewed.cert.read_bytes())
        files.ca.write_bytes(renewed.ca.read_bytes())
        assert await fetched(console, renewed) == 200
        assert await fetched(f"{metrics}/livez", renewed, shows=renewed) == 200


async def test_a_certificate_that_is_none_is_named(state_dir: Path, tmp_path: Path) -> None:
    missing = str(tmp_path / "none.pem")
    async with open_platform() as platform:
        with pytest.raises(AssertionError, match=r"console\.tls: the certificate .*none\.pem"):
            async with open_daemon(
                platform,
                state_dir,
                console={"port": 0, "tls": {"certFile": missing, "keyFile": missing}},
            ):
                pass


def made_in(folder: Path) -> Certificates:
    folder.mkdir()
    return Certificates.made(folder)


async def fetched(
    url: str,
    trusted: Certificates,
    *,
    shows: Certificates | None = None,
    newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> int:
    context = ssl.create_default_context(cafile=str(trusted.ca))
    if shows is not None:
        context.load_cert_chain(shows.cert, shows.key)
    context.maximum_version = newest
    async with httpx.AsyncClient(trust_env=False, timeout=60, verify=context) as http:
        return (await http.get(url.replace("http://", "https://"))).status_code


# ── in a browser ────────────────────────────────────────────────────────────


MOVED: Final = (
    ElementClickInterceptedException,
    NoSuchElementException,
    StaleElementReferenceException,
)


def wait_text(browser: Browser, selector: str, *wanted: str) -> None:
    def shown(driver: Browser) -> bool:
        text = driver.find_element(By.CSS_SELECTOR, selector).text
        return all(one in text for one in wanted)

    moving = WebDriverWait(browser, 60, poll_frequency=0.1, ignored_exceptions=MOVED)
    moving.until(shown, f"{wanted} in {selector}")


def click(browser: Browser, selector: str) -> None:
    """Press; again where its row was drawn anew, or moved, between the aim and the press."""

    def pressed(driver: Browser) -> bool:
        button = driver.find_element(By.CSS_SELECTOR, selector)
        driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
        button.click()
        return True

    WebDriverWait(browser, 60, poll_frequency=0.1, ignored_exceptions=MOVED).until(pressed)


SCREENS: Final = {
    "desktop": {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    "phone": {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True},
}


def as_on(browser: Browser, screen: str, *, dark: bool = False) -> None:
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", SCREENS[screen])
    touch = {"enabled": screen == "phone"}
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", touch)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def inspected(browser: Browser, axe: str, folder: Path, screen: str, look: str) -> None:
    """Nothing is wider than the screen or found serious; a picture of the whole is taken."""
    wide = browser.execute_script("return document.scrollingElement.scrollWidth")
    assert wide <= SCREENS[screen]["width"], "nothing is wider than the screen"
    if (screen, look) != ("desktop", "zh") or NIGHTLY:  # once in Chinese; it takes a second
        assert serious(browser, axe) == [], (screen, look)
    picture = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
    (folder / f"console-{screen}-{look}.png").write_bytes(base64.b64decode(picture["data"]))


CLOCK_IS_WRONG: Final = "const now = Date.now; Date.now = () => now() + 36e6;"


async def test_an_operator_sees_and_does_it_in_a_browser(state_dir: Path, tmp_path: Path) -> None:
    axe = await trio.to_thread.run_sync(axe_source)
    folder = Path(os.environ.get("LARKD_SCREENSHOTS") or tmp_path)
    async with (
        open_platform() as platform,
        open_console(platform, state_dir) as (acting, looking),
        session(state_dir, "boss", "dispatcher", metadata={"alias": "boss", "cwd": "/src/a"}),
        session(state_dir, "mate", capabilities=["turns", "cancel"]) as mate,
    ):
        team = await platform.chat("group", "Team")
        await output_of(state_dir, "handoff", "acquire", "mate")
        sent = await platform.send(await platform.chat(), "a long task")
        deliver = await mate.expect("deliver")
        await mate.send(t="ack", event_id=deliver["event_id"], attempt=1)
        await mate.send(t="delta", turn_id=deliver["turn_id"], text="working")
        await ask(mate, deliver["turn_id"])
        await platform.send(team, "and this, <b>please</b>", mention_bot=True)
        await platform.send(team, "not for the bot")

        def work() -> None:
            with open_browser() as browser:
                browser.get(acting)
                see_all_of_it(browser)
                see_it_in_chinese(browser, axe, folder)
                act(browser, axe, str(sent["message_id"]))
                errors = [one for one in browser.get_log("browser") if one["level"] == "SEVERE"]
                assert not errors, errors
                browser.execute_cdp_cmd(
                    "Page.addScriptToEvaluateOnNewDocument", {"source": CLOCK_IS_WRONG}
                )
                browser.get(looking)
                look_only(browser)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer_cancel, mate)
            await trio.to_thread.run_sync(work)
            nursery.cancel_scope.cancel()
        status = json.loads(await output_of(state_dir, "status", "--json"))
        assert status["owner_session_id"] == "boss"


def see_all_of_it(browser: Browser) -> None:
    wait_text(browser, "#link", "live")
    wait_text(browser, "#sessions", "/src/a", "gets the messages", "a turn, ")
    wait_text(browser, "#turns", "mate", "Alice")
    wait_text(browser, "#asked", "mate", "Alice", "Run a command", "rm -rf build")
    wait_text(browser, "#queue", "Team", "and this, <b>please</b>", "mate")
    wait_text(browser, "#chats", "Alice", "Team", "mate")
    wait_text(browser, "#connections", "default", "connected")
    wait_text(browser, "#refused", "bot not mentioned")
    wait_text(browser, "#budgets", "of 1000")


def see_it_in_chinese(browser: Browser, axe: str, folder: Path) -> None:
    for screen in SCREENS:
        as_on(browser, screen)
        inspected(browser, axe, folder, screen, "en")
        click(browser, "#language")
        wait_text(browser, "#sessions", "接收消息", "任务，")
        wait_text(browser, "#refused", "没有 @ 机器人")
        assert browser.find_element(By.TAG_NAME, "html").get_attribute("lang") == "zh-CN"
        inspected(browser, axe, folder, screen, "zh")
        click(browser, "#language")
    as_on(browser, "desktop", dark=True)
    inspected(browser, axe, folder, "desktop", "dark")


def act(browser: Browser, axe: str, message_id: str) -> None:
    browser.find_element(By.ID, "log-id").send_keys(message_id)
    click(browser, "#log-form button")
    wait_text(browser, "#log", "offered to mate", "feishu.message.received")
    click(browser, "#turns button")
    wait_text(browser, "#outcome", "Stopped mate.")
    click(browser, '#sessions tr[data-key="boss"] button')
    wait_text(browser, "#outcome", "Feishu channel owner is now boss")
    click(browser, "#language")
    click(browser, "#reclaim")
    wait_text(browser, "#outcome", "频道已收回。")
    assert serious(browser, axe) == [], "with a log and an outcome"
    click(browser, "#language")


ACTING: Final = """
return [...document.querySelectorAll("main table button, .actions button")]
  .map((one) => [one.textContent, one.disabled]).filter(([label]) => label !== "Why?");
"""


def look_only(browser: Browser) -> None:
    wait_text(browser, "#daemon", "to look only")
    shown = browser.find_element(By.ID, "chats").text + browser.find_element(By.ID, "daemon").text
    assert " h" not in shown, "how long is by the daemon's clock"
    wait_text(browser, "#sessions", "boss")
    acting = browser.execute_script(ACTING)  # in one look: rows are drawn anew
    assert acting
    assert all(disabled for _, disabled in acting)
    # What people wrote is for who may act.
    assert "rm -rf build" not in browser.page_source
    assert "and this" not in browser.page_source


async def answer_cancel(mate: RawProxy) -> None:
    cancel = await mate.until("cancel", within_s=250)
    await mate.send(t="turn_end", turn_id=cancel["turn_id"], status="aborted")
    while True:  # its pings are answered for as long as the browser takes
        await mate.receive()

"""What a newcomer does: one command, a message typed into the page, an answer that streams."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    StaleElementReferenceException,
)
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.wait import WebDriverWait

from tests.kit import preloaded
from tests.kit.browser import Browser, open_browser
from tests.kit.daemon import environment
from tests.kit.ports import free_port

ANSWER = '[data-element-id="answer"]'
FOOTER = '[data-element-id="footer"]'
PRINTED = r"chat page: (http://127\.0\.0\.1:\d+/sandbox/\?token=\w+)$"


@pytest.fixture
def chat_page(state_dir: Path) -> Iterator[str]:
    """Run the daemon on its sandbox; give the address it prints."""
    with open_sandbox_daemon(state_dir) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Browser]:
    """One browser for all: each daemon has an origin of its own."""
    yield browser
    browser.get("about:blank")


@contextmanager
def open_sandbox_daemon(state_dir: Path, *options: str) -> Iterator[str]:
    process, output = preloaded.start_without_trio(
        "actors.daemon", ["--sandbox", "--state-dir", str(state_dir), *options], environment()
    )
    assert process.pid is not None
    try:
        for line in output:
            if found := re.match(PRINTED, line.strip()):
                yield found[1]
                break
        else:
            raise AssertionError("the chat page's address was never printed")
        os.kill(process.pid, signal.SIGINT)
        process.join(60)
        assert process.exitcode == 0
    finally:
        process.kill()
        process.join(60)
        process.close()
        output.close()


def echo_of(daemon: int, state_dir: Path) -> int:
    """Return the echo session's process, a child of the daemon, once it is attached."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        log = state_dir / "larkd.log"
        if not log.exists() or "session.registered" not in log.read_text("utf-8"):
            time.sleep(0.02)
            continue
        for children in Path(f"/proc/{daemon}/task").glob("*/children"):
            for one in children.read_text("ascii").split():
                with suppress(OSError):
                    if b"actors.proxies.echo" in Path(f"/proc/{one}/cmdline").read_bytes():
                        return int(one)
        time.sleep(0.02)
    raise AssertionError("there is no echo session")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_its_echo_session_ends_with_it_however_it_ends(
    state_dir: Path, number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "actors.daemon", "--sandbox", "--state-dir", str(state_dir)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment()
    ) as process:
        assert process.stdout is not None
        try:
            assert any("chat page" in line for line in process.stdout)
            echo = echo_of(process.pid, state_dir)
            process.send_signal(number)
            process.wait(timeout=60)
        finally:
            process.kill()
    until = time.monotonic() + 60
    while Path(f"/proc/{echo}").exists():
        assert time.monotonic() < until, "it is still there"
        time.sleep(0.05)


def type_message(page: WebDriver, text: str) -> None:
    # What is sent before is pushed again a quarter of a minute later.
    wait_text(page, "#connection-text", "bot connected")
    composer = page.find_element(By.ID, "composer")
    composer.send_keys(text)
    composer.send_keys(Keys.ENTER)


def card(page: WebDriver, state: str, within_s: float = 120) -> None:
    """Wait until the last card is in this state."""
    WebDriverWait(page, within_s, poll_frequency=0.05).until(
        lambda page: page.find_elements(By.CSS_SELECTOR, f'.card[data-state="{state}"]')
    )


def text_of(page: WebDriver, selector: str) -> str:
    return str(
        page.execute_script(
            "return [...document.querySelectorAll(arguments[0])].at(-1)?.innerText ?? ''", selector
        )
    )


def wait_text(page: WebDriver, selector: str, needle: str, within_s: float = 120) -> None:
    WebDriverWait(page, within_s, poll_frequency=0.05).until(
        lambda page: needle in text_of(page, selector)
    )


def test_a_typed_message_streams_into_a_card_and_ends_as_done(
    chat_page: str, page: Browser
) -> None:
    page.get(chat_page)
    type_message(page, "Hello agent")
    shot = os.environ.get("LARKD_SCREENSHOT")
    if shot:
        wait_text(page, ANSWER, "In short")
        page.save_screenshot(shot)
    card(page, "final")
    wait_text(page, FOOTER, "Done · ")
    wait_text(page, ANSWER, "return message")
    titles = "[...document.querySelectorAll('.panel summary')].map((one) => one.innerText)"
    panels = set(page.execute_script(f"return {titles}"))
    assert panels == {"📋 Plan (3/3)", "🔧 Tool calls (3)", "🧠 Reasoning"}
    assert not page.find_elements(By.CSS_SELECTOR, ".panel[open]"), "the plan is done"
    WebDriverWait(page, 60).until_not(
        lambda page: page.find_elements(By.CSS_SELECTOR, ".typing"), "the typing mark goes"
    )

    page.find_element(By.ID, "language").click()
    wait_text(page, FOOTER, "已完成 · ")
    wait_text(page, "[data-element-id=tools_panel] summary", "🔧 工具调用 (3)")


MOVED = (ElementClickInterceptedException, StaleElementReferenceException)


def press_while_it_moves(page: WebDriver, selector: str) -> None:
    """Press; again, as a person does, where the card grew between the aim and the press."""

    def pressed(browser: WebDriver) -> bool:
        browser.find_element(By.CSS_SELECTOR, selector).click()
        return True

    WebDriverWait(page, 60, ignored_exceptions=MOVED).until(pressed)


def test_stop_stops_the_answer(chat_page: str, page: Browser) -> None:
    page.get(chat_page)
    # It goes on for minutes, so that a slow browser sees it run, too.
    type_message(page, "a long and slow answer please")
    card(page, "streaming")
    wait_text(page, ANSWER, "You wrote")
    wait_text(page, FOOTER, "Processing...")
    press_while_it_moves(page, '[data-element-id="stop"]')
    wait_text(page, FOOTER, "🛑 Stopped · ")
    card(page, "final")
    assert not page.find_elements(By.CSS_SELECTOR, '[data-element-id="stop"]')
    stopped = text_of(page, ANSWER)
    type_message(page, "short again")
    wait_text(page, ANSWER, "short again")
    wait_text(page, FOOTER, "Done · ")
    first = page.execute_script("return document.querySelector(arguments[0]).innerText", ANSWER)
    assert first == stopped, "the stopped card kept what it showed"


def test_what_people_type_stays_text(chat_page: str, page: Browser) -> None:
    page.get(chat_page)
    type_message(page, "short <img src=x onerror=window.bad=1> <script>window.bad=1</script>")
    wait_text(page, FOOTER, "Done · ")
    assert "onerror=window.bad" in text_of(page, ANSWER)
    assert page.execute_script("return window.bad ?? null") is None
    assert not page.find_elements(By.CSS_SELECTOR, "#messages img, #messages script")


def test_on_a_port_of_its_own_an_open_page_survives_a_restart(
    state_dir: Path, page: Browser
) -> None:
    port = free_port()
    for number in (1, 2):
        with open_sandbox_daemon(state_dir, "--sandbox-port", str(port)) as address:
            if number == 1:
                page.get(address)
            wait_text(page, "#connection-text", "bot connected")
            type_message(page, f"short {number}")
            wait_text(page, ANSWER, f"short {number}")
            wait_text(page, FOOTER, "Done · ")
        wait_text(page, "#connection-text", "not reachable")


def test_a_port_that_is_taken_is_named(state_dir: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "actors.daemon", "--sandbox", "--sandbox-port", str(port)]
        ended = subprocess.run(
            [*command, "--state-dir", str(state_dir)],
            capture_output=True,
            text=True,
            timeout=60,
            env=environment(),
            check=False,
        )
    assert ended.returncode == 1
    assert f"larkd: can't serve the chat page on 127.0.0.1:{port}: " in ended.stderr
    assert "Traceback" not in ended.stderr

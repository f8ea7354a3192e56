"""Voice messages on the chat page: recorded, or attached as a file; played again; recognised."""

from __future__ import annotations

from pathlib import Path

from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.daemon.test_chat_page import (
    ANSWER,
    chat_page,
    text_of,
    wait_text,
)
from tests.daemon.test_voice import recording
from tests.kit.browser import Browser, open_browser

__all__ = ["chat_page"]

PLAYERS = ".message.mine audio"
PLAY = """
const [player, done] = [[...document.querySelectorAll(arguments[0])].at(-1), arguments[1]];
player.muted = true;
player.ontimeupdate = () => { if (player.currentTime > 0.1) done(player.duration); };
player.onerror = () => done(player.error.message);
player.play().catch((wrong) => done(String(wrong)));
"""


def click(page: Browser, element_id: str) -> None:
    page.find_element(By.ID, element_id).click()


def played_s(page: Browser) -> float:
    """Play the last voice message; return how many seconds it is long."""
    WebDriverWait(page, 60).until(lambda page: page.find_elements(By.CSS_SELECTOR, PLAYERS))
    page.set_script_timeout(60)
    seconds = page.execute_async_script(PLAY, PLAYERS)
    assert isinstance(seconds, float | int), seconds
    return float(seconds)


def test_a_voice_message_is_recorded_played_and_understood(chat_page: str, tmp_path: Path) -> None:
    (attached := tmp_path / "speech.opus").write_bytes(recording(2.0))
    with open_browser(microphone=True) as page:
        page.get(chat_page)
        wait_text(page, "#connection-text", "bot connected")
        record = page.find_element(By.ID, "record")
        assert record.get_attribute("aria-label") == "Record a voice message"
        record.click()
        WebDriverWait(page, 60).until(
            lambda page: int("0" + text_of(page, "#record-seconds").rstrip("″")) >= 1
        )
        assert record.get_attribute("aria-label") == "End the recording"
        record.click()
        wait_text(page, "#attached", "voice.ogg")
        assert text_of(page, "#record-seconds") == ""
        click(page, "send")
        assert played_s(page) > 0.8
        wait_text(page, ANSWER, "recognised speech")

        page.find_element(By.ID, "files").send_keys(str(attached))
        wait_text(page, "#attached", "speech.opus")
        click(page, "send")
        wait_text(page, ANSWER, "[audio, 2.0 s]")
        assert 1.9 < played_s(page) < 2.1

        # As where the person declines, or the machine has none.
        page.execute_script("navigator.mediaDevices.getUserMedia = () => Promise.reject()")
        record.click()
        wait_text(page, ".toast", "attach an .ogg or .opus file instead")
        assert record.is_enabled()

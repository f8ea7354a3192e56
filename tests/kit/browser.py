"""A real browser for the chat page: Debian's Chromium, headless, driven by selenium."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

Browser: TypeAlias = webdriver.Chrome
CHROMIUM = Path("/usr/bin/chromium")
DRIVER = Path("/usr/bin/chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--force-device-scale-factor=1",
)


@contextmanager
def open_browser(
    width: int = 1280,
    height: int = 860,
    *,
    language: str = "en-US",
    dark: bool = False,
    phone: bool = False,
    microphone: bool = False,
) -> Iterator[Browser]:
    """Give a fresh browser; skip the test where the machine has none.

    A *phone* is a screen of that size, narrower than a window can be, with a finger. The
    *microphone* is the browser's own: it beeps, and nobody is asked for it.
    """
    if not (CHROMIUM.exists() and DRIVER.exists()):
        pytest.skip("no browser: install Debian's packages chromium and chromium-driver")
    with TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        options.add_argument(f"--lang={language}")
        options.add_experimental_option("prefs", {"intl.accept_languages": language})
        if microphone:
            options.add_argument("--use-fake-device-for-media-stream")
            options.add_argument("--use-fake-ui-for-media-stream")
        if dark:
            options.add_argument("--force-dark-mode")
            options.add_argument("--blink-settings=preferredColorScheme=0")
        driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
        try:
            driver.set_window_size(width, height)
            if phone:
                screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True}
                driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
                driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
            yield driver
        finally:
            driver.quit()

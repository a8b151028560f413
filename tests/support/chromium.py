"""A headless Chromium for tests of pages, as Debian packages it, with an empty profile of its own."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

REQUIRED = "IMBALANCE_SPARK_REQUIRE_BROWSER"
"""Where this variable is set, tests fail that find no Chromium."""

_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def binaries() -> tuple[str, str]:
    """Chromium and its driver; the test is skipped where one of them is not installed, unless it is required."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium and driver:
        return chromium, driver
    if os.environ.get(REQUIRED):
        pytest.fail(f"{REQUIRED} is set, and Chromium or its driver is not installed")
    pytest.skip("Chromium is not installed, on Debian: apt-get install chromium chromium-driver")


@contextmanager
def running(chromium: str, driver: str) -> Iterator[Chrome]:
    """A browser that lives as long as the block, as large as a common screen."""
    options = ChromeOptions()
    options.binary_location = chromium
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        for flag in (*_FLAGS, "--window-size=1920,1080", f"--user-data-dir={profile}"):
            options.add_argument(flag)
        browser = Chrome(options=options, service=Service(driver))
        try:
            yield browser
        finally:
            browser.quit()

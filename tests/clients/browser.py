"""A real Chromium without a screen, in the shapes and colours in which a person may have it, and axe as its critic."""

from __future__ import annotations

import importlib.util
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.servers.waiting import eventually

T = TypeVar("T")

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
WITHIN = 30.0  # seconds for what a page does
# Alone on this machine: no updates, no services of the browser's maker; as root it has no sandbox of its own.
ARGUMENTS = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --no-default-browser-check --disable-extensions"
)
# What axe calls these is what a person who cannot see, or cannot hold a mouse, is stopped by.
SERIOUS = ("serious", "critical")


class Browser:
    """One window. `look` functions are tried until they are true; what a page's script logs as an error is kept."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def go(self, address: str) -> None:
        self.driver.get(address)

    def home(self) -> str:
        """Where the page that is shown comes from: its origin."""
        return str(self.run("return location.origin"))

    def shape(self, width: int, *, dark: bool) -> None:
        """As wide as a desk's screen or a phone's, in the colours that the person's system asks for."""
        metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
        colours = {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", colours)

    def every(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        """The first that a person can see, or choose a file by."""

        def look() -> WebElement | None:
            shown = (
                each for each in self.every(selector) if each.is_displayed() or each.get_attribute("type") == "file"
            )
            return next(shown, None)

        return self.until(look, selector)

    def text(self, selector: str = "body") -> str:
        return self.one(selector).text

    def until(self, look: Callable[[], T | None], what: str = "") -> T:
        def steady() -> T | None:
            try:
                return look()
            except StaleElementReferenceException:  # the page put another in its place meanwhile
                return None

        found = eventually(steady, what, within=WITHIN, every=0.05)
        assert found is not None
        return found

    def sees(self, words: str, selector: str = "body") -> None:
        self.until(lambda: words in self.text(selector), f"{words!r} in {selector}")

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def press(self, *keys: str) -> None:
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def complaints(self) -> list[str]:
        """What the browser found wrong since it was last asked: failed requests, refusals by the policy, faults."""
        return [f"{each['level']}: {each['message']}" for each in self.driver.get_log("browser")]

    def overflows(self) -> bool:
        """Must one scroll sideways?"""
        return bool(self.run("return document.documentElement.scrollWidth > document.documentElement.clientWidth"))

    def barriers(self) -> list[str]:
        """What axe finds that stops somebody."""
        self.run(_axe())
        asked = "const done = arguments[0]; axe.run().then(done, (why) => done(String(why)));"
        found = self.driver.execute_async_script(asked)
        assert isinstance(found, dict), found
        return [
            f"{each['id']}: {each['help']}: {node['html'][:200]} {json.dumps(node['any'])[:300]}"
            for each in found["violations"]
            if each["impact"] in SERIOUS
            for node in each["nodes"]
        ]


def _axe() -> str:
    """axe-core as it stands in a package of Python's that brings it along."""
    found = importlib.util.find_spec("axe_playwright_python")
    assert found is not None, "axe is not installed; see tests/setup"
    assert found.submodule_search_locations is not None
    return (Path(found.submodule_search_locations[0]) / "axe.min.js").read_text()


@contextmanager
def chromium(*more: str) -> Iterator[Browser]:
    """A window with nothing in it, of a person whom nobody knows; `more` are further arguments of the browser's."""
    with tempfile.TemporaryDirectory(prefix="pd-", ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for each in (*ARGUMENTS.split(), *more, f"--user-data-dir={profile}"):
            options.add_argument(each)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
        try:
            yield Browser(driver)
        finally:
            driver.quit()

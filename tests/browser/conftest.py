"""A real browser. It needs packages of the system, so these tests run only if they are named: ``make browser``."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from processes import _members

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from selenium.webdriver import ChromeService
    from selenium.webdriver.remote.webdriver import WebDriver
    from selenium.webdriver.remote.webelement import WebElement

    from tests.browser.airflow_ui import AirflowUi

DOCS = Path(__file__).parents[2] / "docs"

# On a machine whose network is closed, a browser that calls home waits for answers that never come.
OPTIONS = (
    "--headless",
    "--no-sandbox",  # with it, root cannot start it
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--hide-scrollbars",
    "--lang=en-US",
    "--no-first-run",
    "--no-proxy-server",
    "--window-size=1280,1300",
)


# A file named in full runs all the same.
collect_ignore = ["test_connection_form_2.py"]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return None if any("browser" in argument for argument in config.args) else True


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    """Chromium without a window, as Selenium drives it: fresh at the beginning, and shared by all tests."""
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    chromium, chromedriver = map(_found, ("chromium", "chromedriver"))
    home = tmp_path_factory.mktemp("browser")
    options = ChromeOptions()
    options.binary_location = chromium
    for option in (*OPTIONS, f"--user-data-dir={home / 'profile'}"):
        options.add_argument(option)
    service = ChromeService(chromedriver, env={**os.environ, "HOME": str(home)}, popen_kw={"start_new_session": True})
    # What the browser cannot load it tells here.
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = None
    try:
        driver = Chrome(options=options, service=service)
        yield driver
    finally:
        if driver is not None:
            driver.quit()
        _end(service)


@pytest.fixture(scope="session")
def airflow_ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowUi]:
    """An Airflow with a UI, and nothing in it."""
    from tests.browser.airflow_ui import AirflowUi

    with AirflowUi(tmp_path_factory.mktemp("airflow")) as running:
        running.bring_up()
        yield running


@pytest.fixture
def take_picture(tmp_path: Path) -> Callable[[WebElement, str], None]:
    """Keep what can be seen of an element as a PNG: for the docs if ``SCREENSHOTS`` is set, else only for a look."""
    folder = DOCS / "_static" if os.environ.get("SCREENSHOTS") else tmp_path

    def take(element: WebElement, name: str) -> None:
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.png").write_bytes(element.screenshot_as_png)

    return take


def _found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.fail(f"{program} is missing: `make browser` installs it, or install chromium and its driver", False)
    return path


def _end(service: ChromeService) -> None:
    """End whatever has survived of the driver and its browser."""
    process = getattr(service, "process", None)
    for each in _members({process.pid}) if process is not None else ():
        with suppress(psutil.NoSuchProcess):
            each.kill()

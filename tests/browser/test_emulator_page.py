"""The emulator's page for people, as a person sees it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal, cast

import httpx
import pytest
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from airflow_provider_cerebras.emulator.control.client import EmulatorClient
from airflow_provider_cerebras.emulator.server import EmulatorServer
from airflow_provider_cerebras.emulator.settings import Settings
from tests.conftest import INFERENCE_KEY, MANAGEMENT_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from selenium.webdriver.chromium.webdriver import ChromiumDriver
    from selenium.webdriver.remote.webdriver import WebDriver
    from selenium.webdriver.remote.webelement import WebElement

pytestmark = pytest.mark.browser

ARCH = "gpt-oss-120b"
HOSTILE = "<img src=x onerror=\"document.title='broken into'\"><b>"


class Page:
    """The page of an emulator whose time stands still."""

    def __init__(self, browser: WebDriver, emulator: EmulatorClient) -> None:
        self.browser = cast("ChromiumDriver", browser)
        self.emulator = emulator
        self._wait = WebDriverWait(
            browser, 30, 0.1, ignored_exceptions=[NoSuchElementException, StaleElementReferenceException]
        )

    def open(self) -> None:
        self.browser.get(f"{self.emulator.base_url}/")
        self.until_it_says("connection", "Running")

    def until_it_says(self, place: str, text: str) -> str:
        """Wait until a part of the page has a text in it, and give all its text."""

        def said(browser: WebDriver) -> str | Literal[False]:
            whole = str(browser.find_element(By.ID, place).text)
            return whole if text in whole else False

        found: str = self._wait.until(said, f"{place} never said {text}")
        return found

    def find(self, path: str) -> WebElement:
        return self.browser.find_element(By.XPATH, path)

    def row(self, table: str, first: str) -> list[str]:
        """The texts of a table's row, by the table's caption and the row's first cell."""
        path = f"//table[caption[.='{table}']]//tr[td[1][.='{first}']]/td"
        return [str(cell.text) for cell in self.browser.find_elements(By.XPATH, path)]

    def get(self, path: str, **params: str) -> None:
        """A request without a key."""
        httpx.get(f"{self.emulator.base_url}{path}", params=params or None)


@pytest.fixture(scope="module")
def running() -> Iterator[EmulatorClient]:
    settings = Settings(
        port=0, management_key=MANAGEMENT_KEY, inference_key=INFERENCE_KEY, sync_seconds=100, rollout_seconds=100
    )
    with (
        EmulatorServer(settings, lambda: 1_736_700_000.0) as server,
        EmulatorClient(server.base_url, server.settings) as running,
    ):
        yield running


@pytest.fixture
def page(browser: WebDriver, running: EmulatorClient) -> Page:
    running.reset()
    page = Page(browser, running)
    page.open()
    return page


def test_an_empty_emulator_says_what_there_is(page: Page) -> None:
    text = page.until_it_says("organizations", "my-org")
    assert "my-org-gpt-oss-120b" in text
    assert text.count("nothing yet") == text.count("Nothing has been uploaded.") == 2
    assert page.find("//*[@id='faults']").text == "None: every request is answered as the service would."
    assert page.find("//*[@id='requests']").text == "None has come in."
    assert page.find("//*[@id='clock']").text == "2025-01-12 16:40:00 UTC"


def test_it_follows_a_version_to_where_it_serves_without_being_loaded_again(page: Page) -> None:
    name = page.emulator.upload("s3://weights/run-1", "production", "v1")
    page.until_it_says("organizations", "s3://weights/run-1")
    assert page.row(f"Versions of {ARCH}", "1")[1:3] == ["queued", "production\nv1"]
    page.emulator.advance_clock(50)
    page.until_it_says("organizations", "in_progress")
    assert page.find("//progress[@aria-label='Sync']").get_attribute("value") == "50"
    page.emulator.advance_clock(50)
    page.until_it_says("organizations", "done")
    page.emulator.deploy(name)
    page.until_it_says("organizations", "Rolls out")
    page.emulator.advance_clock(100)
    assert "nothing yet" not in page.until_it_says("organizations", "version 1").split("my-org-llama3.1-8b")[0]
    page.emulator.set_aliases(name, "stable")
    page.until_it_says("organizations", "stable")
    assert page.row(f"Versions of {ARCH}", "1")[2] == "stable"


def test_it_says_why_a_sync_and_a_rollout_have_failed(page: Page) -> None:
    page.emulator.add_fault("upload_model_version", fail_sync="config.json is missing", skip=1)
    page.emulator.add_fault("deploy_model", fail_rollout="no room left")
    name = page.emulator.upload("s3://weights/run-1")
    page.emulator.upload("s3://weights/run-2")
    page.emulator.advance_clock(100)
    page.until_it_says("organizations", "config.json is missing")
    page.emulator.deploy(name)
    page.emulator.advance_clock(100)
    assert "nothing yet" in page.until_it_says("organizations", "no room left")


def test_it_shows_faults_requests_and_other_organizations(page: Page) -> None:
    page.emulator.add_organization("acme")
    rule = str(page.emulator.add_fault("get_endpoint", status=503, message="be right back", times=2).id)
    page.emulator.use_profile("maintenance")
    page.get(f"/management/v1/endpoints/my-org-{ARCH}", why="not")
    page.until_it_says("faults", "1 of 2")
    assert page.row("Fault rules in force", rule) == [
        rule, "get_endpoint", "status 503, message be right back", "", "1 of 2",
    ]  # fmt: skip
    assert page.row("Fault rules in force", str(int(rule) + 1))[3] == "maintenance"
    page.until_it_says("requests", "?why=not")
    assert page.row("Last requests", "16:40:00")[1:] == [
        "GET", f"/management/v1/endpoints/my-org-{ARCH}?why=not", "", "503", "answered",
    ]  # fmt: skip
    page.until_it_says("organizations", "acme-gpt-oss-120b")


def test_its_buttons_do_what_their_commands_say(page: Page) -> None:
    def press(label: str) -> None:
        page.find(f"//button[.='{label}']").click()

    press("Advance the clock by an hour")
    page.until_it_says("clock", "2025-01-12 17:40:00 UTC")
    press("Fail the next rollout")
    page.until_it_says("faults", "fail_rollout")
    name = page.emulator.upload("s3://weights/run-1", "airflow-5f2b7c0e91d34a6688aa0c1b2d3e4f5061728394-0")
    page.emulator.advance_clock(100)
    for _ in range(2):
        page.emulator.deploy(name)
        page.emulator.advance_clock(100)
    # What failed stays after something else serves.
    text = page.until_it_says("organizations", "Asked for on the page.")
    assert "1 of Airflow" in text
    assert "5f2b7c0e" not in text
    assert "-X POST" in page.find("//button[.='Take the service down']/../code").text
    press("Take the service down")
    page.until_it_says("faults", "maintenance")
    press("Bring it back")
    page.until_it_says("done", "Done: Bring it back.")
    press("Reset")
    page.browser.switch_to.alert.accept()
    page.until_it_says("requests", "None has come in.")


def test_it_fits_a_narrow_screen(page: Page) -> None:
    fill(page)
    page.browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 380, "height": 900, "deviceScaleFactor": 1, "mobile": True}
    )
    try:
        page.open()
        page.until_it_says("organizations", "Rolls out")
        assert page.browser.execute_script("return document.documentElement.scrollWidth") <= 380
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_it_tells_a_clock_that_stands_still(page: Page) -> None:
    page.emulator.advance_clock(3600)
    page.emulator.freeze_clock()
    page.until_it_says("clock", "2025-01-12 17:40:00 UTC, standing still")


def test_whatever_is_sent_to_the_emulator_is_text_on_its_page(page: Page) -> None:
    page.emulator.upload(f"s3://weights/{HOSTILE}", "harmless")
    page.emulator.add_fault("*", path_contains=HOSTILE, status=500, message=HOSTILE, times=None)
    page.get(f"/{HOSTILE}", q=HOSTILE)
    page.emulator.add_fault("upload_model_version", fail_sync=HOSTILE)
    page.emulator.upload("s3://weights/other")
    page.emulator.advance_clock(100)
    page.until_it_says("organizations", f"s3://weights/{HOSTILE}")
    page.until_it_says("organizations", f"\n{HOSTILE}")
    page.until_it_says("faults", HOSTILE)
    page.until_it_says("requests", "onerror")
    assert page.browser.title == "Cerebras emulator"
    assert page.browser.find_elements(By.XPATH, "//main//img | //main//b | //main//script") == []


def test_no_key_is_on_it(page: Page) -> None:
    page.get("/management/v1/orgs/x/models", key=MANAGEMENT_KEY)
    page.until_it_says("requests", "key=***")
    assert MANAGEMENT_KEY not in page.browser.page_source
    assert INFERENCE_KEY not in page.browser.page_source


def test_it_asks_nobody_but_the_emulator_and_the_browser_has_nothing_to_complain_of(page: Page) -> None:
    page.browser.get_log("browser")  # type: ignore[no-untyped-call]
    page.open()
    asked = page.browser.execute_script("return performance.getEntriesByType('resource').map((each) => each.name)")
    assert asked
    assert [each for each in asked if not each.startswith(f"{page.emulator.base_url}/_emulator/")] == []
    assert page.browser.get_log("browser") == []  # type: ignore[no-untyped-call]


def test_it_says_so_when_the_emulator_has_gone(browser: WebDriver) -> None:
    with EmulatorServer(Settings(port=0)) as server, EmulatorClient(server.base_url, server.settings) as emulator:
        page = Page(browser, emulator)
        page.open()
    page.until_it_says("connection", "The emulator does not answer")


def test_it_can_be_read_by_machines_that_read_aloud(page: Page) -> None:
    page.emulator.upload("s3://weights/run-1", "production")
    page.until_it_says("organizations", "production")
    headings = [
        int(each.tag_name[1])
        for each in page.browser.find_elements(By.XPATH, "//*[self::h1 or self::h2 or self::h3 or self::h4]")
    ]
    assert headings[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(headings))
    assert (
        page.browser.find_elements(By.XPATH, "//th[not(@scope)] | //table[not(caption)] | //progress[not(@aria-label)]")
        == []
    )
    for each in page.browser.find_elements(By.XPATH, "//*[@class='scroll']"):
        assert (each.get_attribute("tabindex"), each.aria_role) == ("0", "region")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_by_day_and_by_night(
    page: Page, scheme: str, take_picture: Callable[[WebElement, str], None]
) -> None:
    fill(page)
    media = {"media": "", "features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    try:
        page.browser.get(f"{page.emulator.base_url}/")
        page.until_it_says("organizations", "Rolls out")
        page.until_it_says("requests", "dropped")
        contrasts = page.browser.execute_script(CONTRASTS)
        assert len(contrasts) > 50
        assert [each for each in contrasts if each[0] < 4.5] == []
        take_picture(page.find("//body"), f"emulator-page-{scheme}")
    finally:
        page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def fill(page: Page) -> None:
    """A day's work, for the picture."""
    emulator = page.emulator
    first = emulator.upload("s3://acme-weights/2025-01-10", "v1")
    second = emulator.upload("s3://acme-weights/2025-01-11", "production", "v2")
    emulator.add_fault("upload_model_version", fail_sync="s3://acme-weights/2025-01-12/config.json is missing")
    emulator.upload("s3://acme-weights/2025-01-12")
    page.emulator.advance_clock(120)
    for name in (first, second):
        emulator.deploy(name)
        page.emulator.advance_clock(110)
    third = emulator.upload("s3://acme-weights/2025-01-13", "candidate")
    page.emulator.advance_clock(100)
    emulator.deploy(third)
    page.emulator.advance_clock(40)
    emulator.upload("s3://acme-weights/2025-01-14", "airflow-5f2b7c0e91d34a6688aa0c1b2d3e4f5061728394-0")
    page.emulator.advance_clock(30)
    emulator.add_fault("get_endpoint", status=503, message="Service temporarily unavailable.", retry_after=5)
    emulator.add_fault("get_model_version", drop=True)
    with pytest.raises(Exception, match="disconnected"):
        emulator.api("GET", f"/{third}")
    with pytest.raises(Exception, match="503"):
        emulator.api("GET", f"/endpoints/{emulator.endpoint_id}")


# Of each text that can be seen: its contrast against what is behind it, as WCAG 2 computes it, and the text.
CONTRASTS = """
const channels = (color) => (color.match(/[\\d.]+/g) || []).map(Number);
const luminance = (color) => {
  const [red, green, blue] = channels(color).map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const behind = (element) => {
  for (; element; element = element.parentElement) {
    const color = getComputedStyle(element).backgroundColor;
    const [, , , alpha = 1] = channels(color);
    if (alpha) return color;
  }
  return "rgb(255, 255, 255)";
};
const found = [];
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
  const parent = texts.currentNode.parentElement;
  if (!texts.currentNode.data.trim() || !parent.checkVisibility() || parent.closest("noscript")) continue;
  const [one, other] = [luminance(getComputedStyle(parent).color), luminance(behind(parent))].sort((a, b) => b - a);
  found.push([(one + 0.05) / (other + 0.05), texts.currentNode.data.trim()]);
}
return found;
"""

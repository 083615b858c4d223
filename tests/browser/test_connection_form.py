"""The form for a Cerebras connection, and the button that tests it, as a person meets them in Airflow's UI."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal, Self

import pytest
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from airflow_provider_cerebras.provider_info import get_provider_info

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from selenium.webdriver.remote.webdriver import WebDriver
    from selenium.webdriver.remote.webelement import WebElement

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.browser.airflow_ui import AirflowUi

pytestmark = pytest.mark.browser

CONNECTION_ID = "cerebras_default"
TYPE = "Cerebras"
# Each with the label, whether what is typed stays hidden, what is in it, and the placeholder.
STANDARD_FIELDS = [
    ("Base URL", False, "", "https://api.cerebras.ai"),
    ("Management API key", True, "", "not the inference API key"),
    ("Port", False, "", "443"),
]
EXTRA_FIELDS = [
    ("Organization name", False, "", ""),
    ("Inference API key", True, "", ""),
    ("Request timeout (seconds)", False, "30", ""),
    ("Retries of a request", False, "5", ""),
    ("CA bundle", False, "", ""),
    ("Proxy", True, "", ""),
]
PROXY_PASSWORD = "proxy-password-that-must-never-be-seen"


class Page:
    """Airflow's page of connections, where everything takes a moment to appear."""

    def __init__(self, browser: WebDriver, airflow_ui: AirflowUi) -> None:
        self._browser = browser
        self._airflow_ui = airflow_ui
        self._wait = WebDriverWait(
            browser, 30, 0.1, ignored_exceptions=[NoSuchElementException, StaleElementReferenceException]
        )
        self.reload()

    def reload(self) -> None:
        self._browser.get(self._airflow_ui.page("connections"))
        self.find("//button[normalize-space()='Add Connection']")

    def source(self) -> str:
        return str(self._browser.page_source)

    def find(self, path: str) -> WebElement:
        """The element at an XPath, as soon as it can be seen."""

        def seen(browser: WebDriver) -> WebElement | Literal[False]:
            element = browser.find_element(By.XPATH, path)
            return element if element.is_displayed() else False

        found: WebElement = self._wait.until(seen, f"nothing to be seen at {path}")
        return found

    def press(self, button: str) -> None:
        """Press a button by its text, or by the name that a screen reader reads, when it does not move any more."""
        self._wait_for_stillness()
        self.find(f"//button[normalize-space()='{button}' or @aria-label='{button}']").click()

    def dialog(self) -> WebElement:
        return self.find("//*[@role='dialog']")

    def new_connection(self) -> Self:
        """Begin a connection of our type."""
        self.press("Add Connection")
        self.dialog().find_element(By.NAME, "connection_id").send_keys(CONNECTION_ID)
        kind = self.find("//*[@role='dialog']//input[@role='combobox']")
        kind.send_keys(TYPE)
        self.find(f"//*[@role='option'][normalize-space()='{TYPE}']")
        kind.send_keys(Keys.ENTER)
        self.field("Base URL")
        return self

    def open(self, section: str, *, first: str) -> Self:
        """Open a part of the form, of which one is open at a time, and return when its first field can be seen."""
        self.press(section)
        self.field(first)
        return self

    def field(self, label: str) -> WebElement:
        return self.find(f"//label[normalize-space()='{label}']/ancestor::*[@data-part='root'][1]//input")

    def fields(self) -> list[tuple[str, bool, str, str]]:
        """What there is to fill in when no part of the form opens or closes any more, as the tables above have it."""
        self._wait_for_stillness()
        labels = [each.text for each in self.dialog().find_elements(By.XPATH, ".//label") if each.is_displayed()]
        found = []
        for label in labels[2:]:  # after the connection's id and type
            if label != "Description":
                field = self.field(label)
                hidden = field.get_dom_attribute("type") == "password"
                found.append(
                    (label, hidden, str(field.get_property("value")), field.get_attribute("placeholder") or "")
                )
        return found

    def _wait_for_stillness(self) -> None:
        # While one part of the form closes and another opens, the fields of both can be seen.
        script = "return !document.querySelector('[role=dialog]')?.getAnimations({subtree: true}).length"
        self._wait.until(lambda browser: browser.execute_script(script), "the form goes on moving")

    def wait_for_values(self, expected: dict[str, str]) -> None:
        """Wait until fields have these values, by their labels: a field corrects what was typed a moment later."""
        self._wait.until(lambda _: {each: self.field(each).get_property("value") for each in expected} == expected)

    def help(self, label: str) -> str:
        """The words below a field."""
        path = f"//label[normalize-space()='{label}']/ancestor::*[@data-part='root'][1]//*[@data-part='helper-text']"
        return str(self.find(path).text)

    def fill(self, **fields: str) -> Self:
        """Fill fields in, by their labels with ``_`` for a space."""
        for name, value in fields.items():
            self.field(name.replace("_", " ")).send_keys(Keys.CONTROL, "a", Keys.NULL, value)
        return self

    def save(self) -> Self:
        """Save, and return when the connection is in the list."""
        self.press("Save")
        self._wait.until(lambda browser: not browser.find_elements(By.XPATH, "//*[@role='dialog']"))
        self.find("//button[@aria-label='Test Connection']")
        return self

    def test(self) -> str:
        """Press the button that tests the connection, and tell the color that it takes on."""
        self.press("Test Connection")
        self._wait.until(lambda _: self._color() in {"green", "red"})
        return self._color()

    def complaint(self) -> str:
        """The words that pop up in red."""
        return str(self.find("//*[@data-scope='toast' and @data-type='error']//*[@data-part='description']").text)

    def _color(self) -> str:
        icon = self._browser.find_element(By.XPATH, "//button[@aria-label='Test Connection']/*")
        return str(icon.get_dom_attribute("color"))


@pytest.fixture
def page(browser: WebDriver, airflow_ui: AirflowUi) -> Iterator[Page]:
    yield Page(browser, airflow_ui)
    for each in airflow_ui.rest.call("GET", "connections")["connections"]:
        airflow_ui.rest.call("DELETE", f"connections/{each['connection_id']}")


def host_and_port(emulator: EmulatorClient) -> dict[str, str]:
    host, _, port = emulator.base_url.rpartition(":")
    return {"Base_URL": host, "Port": port}


def test_the_form_has_a_labelled_field_for_everything(
    page: Page, take_picture: Callable[[WebElement, str], None]
) -> None:
    page.new_connection()
    assert page.fields() == STANDARD_FIELDS
    take_picture(page.dialog(), "connection-form")

    page.open("Extra Fields", first="Organization name")
    assert page.fields() == EXTRA_FIELDS
    take_picture(page.dialog(), "connection-form-extra")


def test_each_extra_field_is_explained(page: Page) -> None:
    page.new_connection().open("Extra Fields", first="Organization name")
    (kind,) = get_provider_info()["connection-types"]
    for field in kind["conn-fields"].values():
        assert page.help(field["label"]) == field["description"]


def test_numbers_that_make_no_sense_cannot_be_entered(page: Page) -> None:
    page.new_connection().open("Extra Fields", first="Organization name")
    page.fill(**{"Request_timeout_(seconds)": f"-3{Keys.TAB}", "Retries_of_a_request": f"-1{Keys.TAB}"})
    page.wait_for_values({"Request timeout (seconds)": "1", "Retries of a request": "0"})


def test_what_is_typed_in_is_what_the_connection_holds(page: Page, airflow_ui: AirflowUi) -> None:
    page.new_connection().fill(Base_URL="https://api.example.com", Port="8443", Management_API_key="key")
    page.open("Extra Fields", first="Organization name")
    page.fill(Organization_name="my-org", CA_bundle="/etc/ca.pem", **{"Request_timeout_(seconds)": f"12{Keys.TAB}"})
    page.save()

    (connection,) = airflow_ui.rest.call("GET", "connections")["connections"]

    assert (connection["conn_type"], connection["host"], connection["port"]) == (
        "cerebras",
        "https://api.example.com",
        8443,
    )
    assert {name: value for name, value in json.loads(connection["extra"]).items() if value is not None} == {
        "org_name": "my-org",
        "request_timeout": 12,
        "max_retries": 5,
        "verify": "/etc/ca.pem",
    }


def test_a_working_connection_turns_the_button_green(page: Page, emulator: EmulatorClient) -> None:
    page.new_connection()
    page.fill(**host_and_port(emulator), Management_API_key=emulator.settings.management_key)
    page.open("Extra Fields", first="Organization name").fill(Organization_name=emulator.org).save()

    assert page.test() == "green"
    assert emulator.requests("list_model_architectures")


def test_a_wrong_key_turns_the_button_red_and_the_reason_is_told(
    page: Page, emulator: EmulatorClient, take_picture: Callable[[WebElement, str], None]
) -> None:
    page.new_connection().fill(**host_and_port(emulator), Management_API_key=emulator.settings.inference_key)
    page.open("Extra Fields", first="Organization name").fill(Organization_name=emulator.org).save()

    assert page.test() == "red"
    assert "The key was refused. Is it the management API key, not the inference API key?" in page.complaint()
    take_picture(page.find("//body"), "connection-test-refused")


def test_what_is_missing_is_told_by_the_field_s_name(page: Page, emulator: EmulatorClient) -> None:
    page.new_connection().fill(**host_and_port(emulator), Management_API_key=emulator.settings.management_key).save()

    assert page.test() == "red"
    assert page.complaint().startswith("Field extra: has no org_name")


def test_no_secret_is_shown_once_it_is_saved(page: Page, emulator: EmulatorClient, airflow_ui: AirflowUi) -> None:
    page.new_connection().fill(Management_API_key=emulator.settings.management_key)
    page.open("Extra Fields", first="Organization name")
    page.fill(
        Inference_API_key=emulator.settings.inference_key, Proxy=f"http://user:{PROXY_PASSWORD}@127.0.0.1:3128"
    ).save()
    page.reload()
    page.press("Edit Connection")
    page.field("Management API key")

    shown = page.source() + json.dumps(airflow_ui.rest.call("GET", "connections"))

    assert CONNECTION_ID in shown
    for secret in (emulator.settings.management_key, emulator.settings.inference_key, PROXY_PASSWORD):
        assert secret not in shown

"""The same form on Airflow 2, whose extra fields are WTForms'. ``nox --session form`` runs it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

import pytest
from local_stack import _answers, _environment, _free_ports, _module
from processes import Processes
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.ui import Select, WebDriverWait

from airflow_provider_cerebras.provider_info import CONNECTION_FIELDS, UI_FIELD_BEHAVIOUR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from selenium.webdriver.remote.webdriver import WebDriver
    from selenium.webdriver.remote.webelement import WebElement

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient

pytestmark = pytest.mark.browser

CONNECTION_ID = "cerebras_default"
PROXY_PASSWORD = "proxy-password-that-must-never-be-seen"
PROXY = f"http://user:{PROXY_PASSWORD}@127.0.0.1:3128"
FIELDS = {name: field for name, field in CONNECTION_FIELDS.items() if name not in {"max_retries", "verify"}}
SECRETS = {"password", "inference_api_key", "proxy"}


class Webserver(Processes):
    """Airflow 2's webserver, which lets everybody in and tests connections.

    :param home: folder for all that is written.
    """

    def __init__(self, home: Path) -> None:
        ports = _free_ports(3)
        self.url = f"http://127.0.0.1:{ports[0]}"
        environment = {
            **_environment(home, *ports),
            "AIRFLOW__CORE__EXECUTOR": "SequentialExecutor",  # which Airflow 2 wants beside SQLite
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__WEBSERVER__BASE_URL": self.url,
            "AIRFLOW__WEBSERVER__SECRET_KEY": "of the tests",
        }
        self._exported = home / "connections.json"
        (home / "airflow").mkdir(parents=True)
        (home / "airflow" / "webserver_config.py").write_text('AUTH_ROLE_PUBLIC = "Admin"\n')
        self._port = str(ports[0])
        super().__init__(home / "logs", environment)

    def bring_up(self) -> None:
        """Start it, and return when it is ready."""
        self.run("migration", *_module("airflow"), "db", "migrate")
        options = ("--workers", "1", "--hostname", "127.0.0.1", "--port", self._port)
        self.start("webserver", *_module("airflow"), "webserver", *options)
        self.wait_until("Airflow", lambda: _answers(f"{self.url}/health"), timeout=120)

    def stored(self) -> dict[str, Any]:
        """What the database holds of the connection, its secrets too."""
        self.run("export", *_module("airflow"), "connections", "export", str(self._exported), "--file-format", "json")
        found: dict[str, Any] = json.loads(self._exported.read_text())[CONNECTION_ID]
        found["extra"] = json.loads(found["extra"])
        return found

    def delete_all(self) -> None:
        """Delete the connection."""
        self.run("deletion", *_module("airflow"), "connections", "delete", CONNECTION_ID)


class Form:
    """The page on which a connection is made or changed."""

    def __init__(self, browser: WebDriver, url: str) -> None:
        self._browser = browser
        self._url = url

    def new(self) -> Self:
        self._browser.get(f"{self._url}/connection/add")
        self._find("conn_id").send_keys(CONNECTION_ID)
        Select(self._find("conn_type")).select_by_value("cerebras")
        # The page knows of a change by its own drop-down list only.
        self._browser.execute_script("$('#conn_type').trigger('change')")
        WebDriverWait(self._browser, 30).until(lambda _: self.field("org_name").is_displayed())
        return self

    def edit(self) -> Self:
        self._browser.get(f"{self._url}/connection/list/")
        self._browser.find_element(By.XPATH, "//a[contains(@href, '/connection/edit/')]").click()
        WebDriverWait(self._browser, 30).until(lambda _: self.field("org_name").is_displayed())
        return self

    def field(self, name: str) -> WebElement:
        return self._find(f"extra__cerebras__{name}" if name in FIELDS else name)

    def labels(self) -> list[str]:
        elements = self.element().find_elements(By.TAG_NAME, "label")
        return [each.text.rstrip(" *") for each in elements if each.is_displayed() and each.text]

    def element(self) -> WebElement:
        return self._find("model_form")

    def fill(self, **fields: object) -> Self:
        for name, value in fields.items():
            self.field(name).clear()
            self.field(name).send_keys(str(value))
        return self

    def fill_extra(self, content: dict[str, object]) -> Self:
        """Fill in the editor that lies above the field."""
        script = "document.querySelector('.CodeMirror').CodeMirror.setValue(arguments[0])"
        self._browser.execute_script(script, json.dumps(content))
        return self

    def send(self) -> None:
        """Send the form, and return when the next page is there, which may be the form once more."""
        before = self.element()
        before.find_element(By.XPATH, ".//button[@type='submit']").click()
        WebDriverWait(self._browser, 30).until(staleness_of(before))

    def save(self) -> None:
        self.send()
        form = f"{self._url}/connection/"
        pages = (f"{form}add", f"{form}edit")
        WebDriverWait(self._browser, 30).until(lambda browser: not browser.current_url.startswith(pages))

    def test(self) -> str:
        """Press the button that tests the connection; the words that follow."""
        self._find("test-connection").click()
        path = "//div[contains(@class, 'alert-success') or contains(@class, 'alert-error')]"
        return WebDriverWait(self._browser, 30).until(lambda browser: browser.find_element(By.XPATH, path)).text

    def source(self) -> str:
        return str(self._browser.page_source)

    def _find(self, element_id: str) -> WebElement:
        return self._browser.find_element(By.ID, element_id)


@pytest.fixture(scope="module")
def webserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webserver]:
    with Webserver(tmp_path_factory.mktemp("airflow")) as running:
        running.bring_up()
        yield running


@pytest.fixture
def form(browser: WebDriver, webserver: Webserver) -> Form:
    return Form(browser, webserver.url)


def test_the_form_has_a_labelled_field_for_everything(
    form: Form, take_picture: Callable[[WebElement, str], None]
) -> None:
    form.new()

    labels = form.labels()
    for label in (*UI_FIELD_BEHAVIOUR["relabeling"].values(), *(each["label"] for each in FIELDS.values()), "Extra"):
        assert label in labels
    assert {"Schema", "Login"}.isdisjoint(labels)
    fields = {name: form.field(name) for name in (*FIELDS, *SECRETS)}
    hidden = {name for name, field in fields.items() if field.get_dom_attribute("type") == "password"}
    assert hidden == SECRETS
    for each in FIELDS.values():
        assert each["description"] in form.element().text
    take_picture(form.element(), "connection-form-2")


def test_a_connection_works_and_a_wrong_key_is_told(form: Form, emulator: EmulatorClient) -> None:
    host, _, port = emulator.base_url.rpartition(":")
    form.new().fill(host=host, port=port, password=emulator.settings.management_key, org_name=emulator.org)
    assert form.test().startswith("Connected to organization")
    assert emulator.requests("list_model_architectures")

    form.new().fill(host=host, port=port, password=emulator.settings.inference_key, org_name=emulator.org)
    assert "The key was refused. Is it the management API key, not the inference API key?" in form.test()


def test_no_secret_is_shown_once_it_is_saved_and_nothing_is_lost(form: Form, webserver: Webserver) -> None:
    in_extra: dict[str, object] = {"max_retries": 0, "verify": False}
    given = {"org_name": "my-org", "inference_api_key": "a-secret-key", "proxy": PROXY, "request_timeout": "12"}
    form.new().fill(password="another-secret-key", **given).fill_extra(in_extra).save()
    form.edit()
    shown = form.source()
    for secret in ("another-secret-key", "a-secret-key", PROXY_PASSWORD):
        assert secret not in shown

    form.fill(org_name="our-org").save()

    stored = webserver.stored()
    assert stored["password"] == "another-secret-key"
    assert stored["extra"] == {**given, **in_extra, "org_name": "our-org"}
    webserver.delete_all()


def test_what_was_typed_is_there_when_the_form_comes_back_for_another_field(form: Form, webserver: Webserver) -> None:
    form.new().fill(password="a-first-key", org_name="my-org", inference_api_key="a-secret-key", proxy=PROXY)
    form.fill(port="no number").send()
    assert form.field("org_name").get_property("value") == "my-org"
    form.fill(password="another-secret-key", port="8900").save()

    stored = webserver.stored()
    assert stored["password"] == "another-secret-key"
    assert stored["extra"] == {"org_name": "my-org", "inference_api_key": "a-secret-key", "proxy": PROXY}
    webserver.delete_all()

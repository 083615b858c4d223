"""Every example DAG in the stack of ``make standalone``, started as a user would, and seen in Airflow's UI."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from local_stack import CEREBRAS, LocalStack
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from airflow_provider_cerebras.emulator.control.client import EmulatorClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from selenium.webdriver.remote.webdriver import WebDriver
    from selenium.webdriver.remote.webelement import WebElement

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1800)]

RUN_SECONDS = 600
ENDED = {"success", "failed"}
ENDPOINT = "my-org-gpt-oss-120b"
SCHEDULED = ("finetune_upload_deploy", "prune_weekly", "keep_endpoints", "scheduled_release")
TRIGGERED = ("staging_to_production", "fan_out_endpoints")


class Stack(LocalStack):
    """The stack of ``make standalone``, and what a test does with it."""

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return the runs of a DAG, the newest one first."""
        answer = self.airflow.call("GET", f"dags/{dag_id}/dagRuns", params={"order_by": "-run_after", "limit": 10})
        runs: list[dict[str, Any]] = answer["dag_runs"]
        return runs

    def wait_for_run(self, dag_id: str, run_type: str) -> str:
        """Wait until a run has ended, and return its id.

        :param run_type: how it was started, as Airflow calls it.
        """

        def has_ended() -> bool:
            return any(each["state"] in ENDED for each in self.runs(dag_id))

        self.wait_until(f"a run of {dag_id}", has_ended, timeout=RUN_SECONDS)
        (run,) = self.runs(dag_id)
        states = {each["task_id"]: each["state"] for each in self.tasks(dag_id, run["dag_run_id"])}
        assert run["state"] == "success", f"{dag_id}: {states}"
        assert run["run_type"] == run_type
        assert set(states.values()) <= {"success", "skipped"}
        return str(run["dag_run_id"])

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the tasks of a run."""
        answer = self.airflow.call("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances")
        tasks: list[dict[str, Any]] = answer["task_instances"]
        return tasks

    def task_state(self, dag_id: str, run_id: str, task_id: str) -> str | None:
        """Return the state of a task."""
        return next((each["state"] for each in self.tasks(dag_id, run_id) if each["task_id"] == task_id), None)

    def result(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """Return what a task has returned."""
        return self.airflow.call(
            "GET",
            f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value",
            params={"deserialize": True},
        )["value"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("standalone") / "home", to_look_around=True) as stack:
        stack.start_services()
        stack.start_standalone()
        stack.prepare("finetune_upload_deploy")
        yield stack


@pytest.fixture(scope="module")
def emulator(stack: Stack) -> Iterator[EmulatorClient]:
    with EmulatorClient(stack.emulator_url, CEREBRAS) as emulator:
        yield emulator


@pytest.mark.parametrize("dag_id", SCHEDULED)
def test_it_runs_by_its_schedule(stack: Stack, emulator: EmulatorClient, dag_id: str) -> None:
    before = emulator.serving(ENDPOINT)
    stack.airflow.unpause(dag_id)
    stack.wait_for_run(dag_id, "scheduled")
    changed = emulator.serving(ENDPOINT) != before
    assert changed == (dag_id in {"finetune_upload_deploy", "scheduled_release"})


@pytest.mark.parametrize("dag_id", TRIGGERED)
def test_it_runs_when_it_is_triggered(stack: Stack, emulator: EmulatorClient, dag_id: str) -> None:
    stack.airflow.unpause(dag_id)
    stack.airflow.trigger(dag_id, {})
    run_id = stack.wait_for_run(dag_id, "manual")
    last = "production.conclude" if dag_id == "staging_to_production" else "canary.conclude"
    record = stack.result(dag_id, run_id, last)
    assert record["outcome"] == "released"
    assert record["serves_now"] == record["model_version"] == emulator.serving(ENDPOINT)
    others = {"staging_to_production": ("staging",), "fan_out_endpoints": ("eu", "us")}[dag_id]
    assert {emulator.serving(f"{ENDPOINT}-{each}") for each in others} == {record["model_version"]}


def test_an_upload_starts_the_dag_that_deploys(stack: Stack, emulator: EmulatorClient) -> None:
    stack.airflow.unpause("deploy_on_new_version")
    stack.airflow.unpause("fine_tune_and_upload")
    run_id = stack.wait_for_run("fine_tune_and_upload", "scheduled")
    uploaded = stack.result("fine_tune_and_upload", run_id, "upload")
    stack.wait_for_run("deploy_on_new_version", "asset_triggered")
    assert emulator.serving(ENDPOINT) == uploaded


def test_a_person_approves_a_release(
    stack: Stack, emulator: EmulatorClient, browser: WebDriver, take_picture: Callable[[WebElement, str], None]
) -> None:
    dag_id, approve = "release_with_approval", "cerebras_release.approve"
    stack.airflow.unpause(dag_id)
    run_id = stack.airflow.trigger(dag_id, {}).run_id
    stack.wait_until(
        "the request for approval",
        lambda: stack.task_state(dag_id, run_id, approve) in {"deferred", "awaiting_input"},
        timeout=RUN_SECONDS,
    )
    browser.set_window_size(1400, 800)
    show(browser, stack, f"dags/{dag_id}/runs/{run_id}/tasks/{approve}/required_actions", "Serves now")
    take_picture(browser.find_element(By.TAG_NAME, "body"), "release-approval")

    path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{approve}/-1/hitlDetails"
    stack.airflow.call("PATCH", path, json={"chosen_options": ["Approve"], "params_input": {}})

    stack.wait_for_run(dag_id, "manual")
    record = stack.result(dag_id, run_id, "cerebras_release.conclude")
    assert record["outcome"] == "released"
    assert record["approval"]["option"] == "Approve"
    assert record["model_version"] == emulator.serving(ENDPOINT)
    for key, value in (("default_dag_view", "graph"), (f"{dag_id}/open-groups", ["cerebras_release"])):
        browser.execute_script("localStorage.setItem(arguments[0], arguments[1])", key, json.dumps(value))
    show(browser, stack, f"dags/{dag_id}/runs/{run_id}", "wait for rollout")
    take_picture(browser.find_element(By.TAG_NAME, "body"), "release-graph")


def test_an_alias_that_moves_starts_the_dag_that_watches_it(stack: Stack, emulator: EmulatorClient) -> None:
    def polls() -> int:
        # What is answered is what the watcher takes for the state at its beginning, whenever it reads that.
        return sum(
            len(emulator.requests(call, stage="answered")) for call in ("list_model_versions", "get_model_version")
        )

    before = polls()
    stack.airflow.unpause("on_new_version_watched")
    stack.wait_until("the first poll of the watcher", lambda: polls() > before, timeout=RUN_SECONDS)
    version = emulator.upload("s3://my-bucket/fine-tunes/candidate")
    stack.wait_until("the sync", lambda: emulator.versions()[version].done, timeout=60)
    held = {name: each.aliases for name, each in emulator.versions().items() if "production" in each.aliases}
    for name, aliases in held.items():
        emulator.set_aliases(name, *(alias for alias in aliases if alias != "production"))
    emulator.set_aliases(version, "production")
    stack.wait_for_run("on_new_version_watched", "asset_triggered")
    assert emulator.serving(ENDPOINT) == version


def test_no_example_is_left_out(stack: Stack) -> None:
    dags = {each["dag_id"] for each in stack.airflow.call("GET", "dags", params={"limit": 100})["dags"]}
    others = {"deploy_on_new_version", "fine_tune_and_upload", "release_with_approval", "on_new_version_watched"}
    assert dags == {*SCHEDULED, *TRIGGERED, *others}


def show(browser: WebDriver, stack: Stack, path: str, text: str) -> None:
    """Open a page of Airflow's UI, and return when a text can be seen on it."""
    target = quote(f"{stack.airflow_url}/{path}", safe="")
    browser.get(f"{stack.airflow_url}/auth/token/login?next={target}")
    body = (By.TAG_NAME, "body")
    try:
        WebDriverWait(browser, 60, 0.2).until(lambda _: text in browser.find_element(*body).text)
    except TimeoutException:
        pytest.fail(f"There is no {text!r} on the page {path}: {browser.find_element(*body).text}", pytrace=False)

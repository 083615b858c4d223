"""The two keys appear nowhere: in no log, error, XCom, rendered field, trigger, event or representation."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import task

from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator
from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator
from airflow_provider_cerebras.sensors.endpoints import CerebrasDeploymentSensor
from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor
from airflow_provider_cerebras.triggers.endpoints import CerebrasDeploymentTrigger
from airflow_provider_cerebras.triggers.model_versions import CerebrasModelVersionTrigger
from tests.conftest import INFERENCE_KEY, MANAGEMENT_KEY
from tests.integration.dag_run import full_text, metadata
from tests.integration.scenario import OPERATOR_MODES, POLL, SENSOR_MODES, output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.integration.dag_run import DagResult, DagRunner

PROXY_PASSWORD = "-".join(("proxy", "password", "that", "must", "never", "be", "seen", "77d0"))
SECRETS = (MANAGEMENT_KEY, INFERENCE_KEY, PROXY_PASSWORD)
# Of a secret, the beginning is secret too.
BEGINNING = 16
BOTH = f"{MANAGEMENT_KEY} and {INFERENCE_KEY}"
VERSION = "orgs/my-org/models/gpt-oss-120b/versions/1"
ENDPOINT = "my-org-gpt-oss-120b"
DEPLOYMENT = "00000000-0000-4000-8000-000000000000"

ECHOES: dict[str, dict[str, Any]] = {
    "detail": {"status": 400, "body": {"detail": f"you sent {BOTH}"}},
    "error object": {"status": 401, "body": {"error": {"message": f"not valid: {BOTH}", "code": MANAGEMENT_KEY}}},
    "web page": {"status": 403, "text": f"<html><title>{BOTH}</title><b>{MANAGEMENT_KEY}</b></html>"},
    "unknown shape": {"status": 404, "body": {"authorization": [MANAGEMENT_KEY, {"inference": INFERENCE_KEY}]}},
    "message": {"status": 410, "body": {"message": BOTH}},
    "list of details": {"status": 422, "body": {"detail": [{"loc": ["header", MANAGEMENT_KEY], "msg": BOTH}]}},
    "text": {"status": 500, "text": f"Traceback: Bearer {BOTH}", "content_type": "text/plain"},
    "request id": {"status": 503, "headers": {"x-request-id": MANAGEMENT_KEY}, "body": {"detail": "no"}},
    "text that is cut within a key": {"status": 502, "body": {"detail": f"{'x' * 480} {BOTH}"}},
    "header": {"status": 409, "headers": {"x-echo": BOTH}, "body": {"detail": "no"}},
    "redirect": {"status": 302, "headers": {"location": f"https://example.com/?key={MANAGEMENT_KEY}"}},
    "another document": {"status": 200, "body": {MANAGEMENT_KEY: INFERENCE_KEY, "name": [BOTH], "done": BOTH}},
    "malformed JSON": {"status": 200, "text": f'{{"name": "{BOTH}', "content_type": "application/json"},
}
"""Answers that repeat what they were sent."""


@pytest.fixture(autouse=True)
def everything_is_logged() -> Iterator[None]:
    levels = dict.fromkeys(("", "httpx", "httpcore", "airflow.task"), logging.DEBUG)
    before = {name: logging.getLogger(name).level for name in levels}
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


@dataclass(frozen=True)
class Before:
    """What was there before the test."""

    metadata: set[str]
    log_files: set[Path]


@pytest.fixture
def before(airflow_db: None) -> Before:
    return Before(metadata(*(secret[:BEGINNING] for secret in SECRETS)), set(log_files()))


def log_files() -> Iterator[Path]:
    return (Path(os.environ["AIRFLOW_HOME"]) / "logs").rglob("*.log")


def places(result: DagResult, before: Before, secrets: Iterable[str] = SECRETS) -> dict[str, str]:
    """Everywhere that a secret could have come to."""
    parts = (result.run_id, *(secret[:BEGINNING] for secret in secrets))
    new_files = [path for path in log_files() if path not in before.log_files]
    return {
        "the log": result.log,
        "the log files": "\n".join(path.read_text(errors="replace") for path in new_files),
        "the errors": "\n".join(full_text(end.error) for end in result.ends if end.error is not None),
        "the metadata database": "\n".join(metadata(*parts) - before.metadata),
    }


def leaks(texts: dict[str, str], secrets: Iterable[str] = SECRETS) -> list[str]:
    """The places where a secret is, or its beginning."""
    return [place for place, text in texts.items() for secret in secrets if secret[:BEGINNING] in text]


def assert_tight(result: DagResult, before: Before) -> None:
    found = places(result, before)
    assert "Traceback" in found["the log"] or result.state == "success"
    assert result.run_id in found["the metadata database"]
    assert leaks(found) == []


def add_tasks_that_ask(dag: DAG, emulator: EmulatorClient) -> None:
    """Tasks that use the hook itself: the inference API, and the button that tests a connection."""
    with dag:

        @task
        def ask() -> str:
            messages = [{"role": "user", "content": "hello"}]
            return CerebrasHook().chat_completion(emulator.endpoint_id, messages).model_dump_json()

        @task
        def check_connection() -> list[Any]:
            return list(CerebrasHook().test_connection())

        after = list(dag.leaves)
        for each in (ask(), check_connection()):
            after >> each


def add_tasks_that_fail(dag: DAG, emulator: EmulatorClient) -> None:
    """Tasks that each send something, independent of one another, none of which waits for long."""
    add_tasks_that_ask(dag, emulator)
    with dag:
        CerebrasUploadModelVersionOperator(
            task_id="upload", model_arch_id=emulator.arch, weight_uri="s3://weights/run-1"
        )
        CerebrasDeployModelOperator(task_id="deploy", endpoint_id=emulator.endpoint_id, model_version=VERSION)
        CerebrasModelVersionSensor(task_id="synced", model_version=VERSION, timeout=0.1, **SENSOR_MODES["poke"])
        CerebrasDeploymentSensor(
            task_id="deployed",
            endpoint_id=emulator.endpoint_id,
            deployment_id=DEPLOYMENT,
            timeout=0.1,
            **SENSOR_MODES["deferrable"],
        )


def assert_that_all_failed(result: DagResult) -> None:
    states = dict(result.states())
    assert states.pop("check_connection") == "success"
    assert result["check_connection"].xcom[0] is False
    assert set(states.values()) == {"failed"}, states


@pytest.mark.usefixtures("cerebras_connection")
def test_success_tells_no_secret(
    emulator: EmulatorClient, before: Before, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    with new_dag() as dag:
        upload = CerebrasUploadModelVersionOperator(
            task_id="upload",
            model_arch_id=emulator.arch,
            weight_uri="s3://weights/run-1",
            version_aliases=["prod"],
            **OPERATOR_MODES["deferrable"],
        )
        synced = CerebrasModelVersionSensor(
            task_id="synced", model_version=output(upload), **SENSOR_MODES["deferrable"]
        )
        CerebrasDeployModelOperator(
            task_id="deploy",
            endpoint_id=emulator.endpoint_id,
            model_version=output(synced),
            **OPERATOR_MODES["blocking"],
        )
    add_tasks_that_ask(dag, emulator)

    result = run_dag(dag)

    assert result.state == "success", result.log
    assert_tight(result, before)


@pytest.mark.parametrize("echo", ECHOES)
def test_answers_that_repeat_the_keys_are_not_repeated(
    echo: str,
    emulator: EmulatorClient,
    before: Before,
    monkeypatch: pytest.MonkeyPatch,
    new_dag: Callable[..., DAG],
    run_dag: DagRunner,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection(extra={"max_retries": 0}))
    emulator.add_fault("*", times=None, **ECHOES[echo])
    dag = new_dag()
    add_tasks_that_fail(dag, emulator)

    result = run_dag(dag)

    assert_that_all_failed(result)
    assert_tight(result, before)


@pytest.mark.usefixtures("cerebras_connection")
def test_reasons_of_failure_that_repeat_the_keys_are_not_repeated(
    emulator: EmulatorClient, before: Before, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    synced = emulator.upload("s3://weights/run-0")
    with new_dag() as dag:
        CerebrasModelVersionSensor(task_id="wait", model_version=synced, **SENSOR_MODES["poke"])
    assert run_dag(dag).state == "success"
    with new_dag() as dag:
        for mode, arguments in OPERATOR_MODES.items():
            emulator.add_fault("upload_model_version", fail_sync=f"cannot read with {BOTH}")
            emulator.add_fault("deploy_model", fail_rollout=f"cannot roll out with {BOTH}")
            CerebrasUploadModelVersionOperator(
                task_id=f"upload-{mode}", model_arch_id=emulator.arch, weight_uri="s3://weights/run-1", **arguments
            )
            CerebrasDeployModelOperator(
                task_id=f"deploy-{mode}", endpoint_id=ENDPOINT, model_version=synced, durable=False, **arguments
            )

    result = run_dag(dag)

    assert set(result.states().values()) == {"failed"}
    assert_tight(result, before)


CONNECTIONS: dict[str, dict[str, Any]] = {
    "no server listens": {"host": "http://127.0.0.1:9"},
    "credentials in the host": {"host": f"https://user:{MANAGEMENT_KEY}@127.0.0.1:9"},
    "no encryption": {"host": "http://192.0.2.1"},
    "not a URL": {"host": "http://[::1"},
    "a key with a line end": {"password": f"{MANAGEMENT_KEY}\n{INFERENCE_KEY}"},
    "a key of another alphabet": {"password": f"{MANAGEMENT_KEY}é"},
    "no key": {"password": ""},
    "an inference key with a space": {"extra": {"inference_api_key": f"{INFERENCE_KEY} {MANAGEMENT_KEY}"}},
    "a list in place of a key": {"extra": {"inference_api_key": [INFERENCE_KEY]}},
    "a timeout that is a key": {"extra": {"request_timeout": MANAGEMENT_KEY}},
    "retries that are a key": {"extra": {"max_retries": INFERENCE_KEY}},
    "a CA bundle that is not there": {"host": "https://127.0.0.1:9", "extra": {"verify": "/no/such/file"}},
    "a proxy that does not answer": {
        "host": "https://api.example.invalid",
        "extra": {"proxy": f"http://user:{PROXY_PASSWORD}@127.0.0.1:9"},
    },
    "a proxy that is not a URL": {"extra": {"proxy": f"user:{PROXY_PASSWORD}@nowhere"}},
}
"""Connections that cannot be used."""


@pytest.mark.parametrize("case", CONNECTIONS)
def test_connections_that_cannot_be_used_do_not_tell_their_keys(
    case: str,
    emulator: EmulatorClient,
    before: Before,
    monkeypatch: pytest.MonkeyPatch,
    new_dag: Callable[..., DAG],
    run_dag: DagRunner,
) -> None:
    changes = dict(CONNECTIONS[case])
    changes["extra"] = {"max_retries": 0, **changes.get("extra", {})}
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection(**changes))
    dag = new_dag()
    add_tasks_that_fail(dag, emulator)

    result = run_dag(dag)

    assert_that_all_failed(result)
    assert_tight(result, before)


@pytest.mark.parametrize("echo", ECHOES)
async def test_triggers_and_their_events_hold_no_secret(
    echo: str,
    emulator: EmulatorClient,
    cerebras_connection: str,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    emulator.add_fault("*", times=None, **ECHOES[echo])
    waiting: dict[str, Any] = {
        "cerebras_conn_id": cerebras_connection,
        "poll_interval": POLL,
        "deadline": time.time() + 2 * POLL,
    }
    triggers = [
        CerebrasModelVersionTrigger(model_version=VERSION, **waiting),
        CerebrasDeploymentTrigger(endpoint_id=ENDPOINT, deployment_id=DEPLOYMENT, **waiting),
    ]

    async def events_of(trigger: Any) -> list[Any]:
        return [event.payload async for event in trigger.run()]

    events = await asyncio.gather(*map(events_of, triggers))

    assert [len(each) for each in events] == [1, 1]
    assert {payload["status"] for (payload,) in events} <= {"unreachable", "timeout", "lost"}
    printed = capfd.readouterr()
    found = {
        "the events": repr(events),
        "the arguments": repr([trigger.serialize() for trigger in triggers]),
        "the triggers": repr(triggers) + repr([vars(trigger) for trigger in triggers]),
        "the log": printed.out + printed.err + caplog.text,
    }
    assert leaks(found) == []


@pytest.mark.usefixtures("cerebras_connection")
async def test_representations_hold_no_secret() -> None:
    hook = CerebrasHook()
    client = hook.get_conn()
    async with await hook.get_async_conn() as async_client:
        things: list[Any] = [hook, client, client.settings, async_client, async_client.settings]
    things += [
        CerebrasUploadModelVersionOperator(task_id="upload", model_arch_id="a", weight_uri="s3://weights/run-1"),
        CerebrasDeployModelOperator(task_id="deploy", endpoint_id=ENDPOINT, model_version=VERSION),
        CerebrasModelVersionSensor(task_id="synced", model_version=VERSION),
        CerebrasDeploymentSensor(task_id="deployed", endpoint_id=ENDPOINT, deployment_id=DEPLOYMENT),
    ]
    for thing in things[5:]:
        assert thing.hook.org_name  # reads the connection
    assert leaks({f"{type(thing).__name__}": f"{thing!r} {thing}" for thing in things}) == []
    assert leaks({"the hook": repr(vars(hook))}) == []


def test_a_secret_that_is_told_is_found(before: Before, new_dag: Callable[..., DAG], run_dag: DagRunner) -> None:
    """The tests above would be worth nothing if they looked in the wrong places."""
    parts = ["canary", "of", "this", "test", "4c33"]
    with new_dag() as dag:

        @task
        def sing(parts: list[str]) -> str:
            logging.getLogger("airflow_provider_cerebras").info("singing %s", "-".join(parts))
            return "-".join(parts)

        @task
        def choke(parts: list[str]) -> None:
            try:
                int("-".join(parts))
            except ValueError as error:
                raise RuntimeError("no words") from error

        sing(parts)
        choke(parts)

    result = run_dag(dag)

    assert result.state == "failed"
    canary = ["-".join(parts)]
    found = leaks(places(result, before, canary), canary)
    assert {"the log", "the errors", "the metadata database"} <= set(found)

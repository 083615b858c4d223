"""Answers that stay the same: the task fails at once, says what to look into, and sends nothing a second time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_cerebras.exceptions import AliasInUse, RequestRefused
from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator
from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator
from airflow_provider_cerebras.polling import evidence
from airflow_provider_cerebras.sensors.endpoints import CerebrasDeploymentSensor
from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor
from tests.integration.scenario import OPERATOR_MODES, SENSOR_MODES

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.integration.dag_run import DagRunner

DEPLOYMENT = "00000000-0000-4000-8000-000000000000"
VERSION = "orgs/my-org/models/gpt-oss-120b/versions/1"
FOREIGN_VERSION = "orgs/somebody-else/models/gpt-oss-120b/versions/1"
ENDPOINT = "my-org-gpt-oss-120b"
KEY_HINT = "takes the management API key"
ORG_HINT = "org_name is the customer management organization name (not the org_id)"


@dataclass(frozen=True)
class Refusal:
    """A task that the service refuses.

    :param says: what the error tells the user.
    :param connection: what is wrong with the connection.
    """

    operator: type[Any]
    arguments: dict[str, Any]
    says: tuple[str, ...]
    connection: dict[str, Any] = field(default_factory=dict)


UPLOAD: dict[str, Any] = {"model_arch_id": "gpt-oss-120b", "weight_uri": "s3://weights/run-1"}
WRONG_KEY = {"password": "a-wrong-key"}
FOREIGN_ORG = {"extra": {"org_name": "somebody-else"}}
REFUSALS = {
    "upload by a wrong key": Refusal(
        CerebrasUploadModelVersionOperator, UPLOAD, ("answered 401", KEY_HINT), connection=WRONG_KEY
    ),
    "upload for a foreign organization": Refusal(
        CerebrasUploadModelVersionOperator, UPLOAD, ("answered 403", "somebody-else", ORG_HINT), connection=FOREIGN_ORG
    ),
    "upload for the argument's foreign organization": Refusal(
        CerebrasUploadModelVersionOperator, {**UPLOAD, "org_name": "somebody-else"}, ("answered 403", ORG_HINT)
    ),
    "upload for an unknown architecture": Refusal(
        CerebrasUploadModelVersionOperator, {**UPLOAD, "model_arch_id": "gpt-2"}, ("answered 404", "gpt-2", ORG_HINT)
    ),
    "deployment by a wrong key": Refusal(
        CerebrasDeployModelOperator,
        {"endpoint_id": ENDPOINT, "model_version": VERSION},
        ("answered 401", KEY_HINT),
        connection=WRONG_KEY,
    ),
    "deployment on an unknown endpoint": Refusal(
        CerebrasDeployModelOperator,
        {"endpoint_id": "nowhere", "model_version": VERSION},
        ("answered 404", "nowhere", "Compare the name"),
    ),
    "deployment of an unknown version": Refusal(
        CerebrasDeployModelOperator,
        {"endpoint_id": ENDPOINT, "model_version": VERSION.replace("/1", "/999")},
        ("answered 404", "versions/999"),
    ),
    "deployment of an unknown alias": Refusal(
        CerebrasDeployModelOperator,
        {"endpoint_id": ENDPOINT, "model_version": VERSION.replace("/1", "/unknown")},
        ("answered 404", "versions/unknown"),
    ),
    "deployment of a foreign version": Refusal(
        CerebrasDeployModelOperator,
        {"endpoint_id": ENDPOINT, "model_version": FOREIGN_VERSION},
        ("answered 403", ORG_HINT),
    ),
    "deployment of another architecture": Refusal(
        CerebrasDeployModelOperator,
        {"endpoint_id": "my-org-llama3.1-8b", "model_version": VERSION},
        ("answered 400", "is of architecture gpt-oss-120b"),
    ),
}
SENSORS = {
    "version sensor by a wrong key": Refusal(
        CerebrasModelVersionSensor, {"model_version": VERSION}, ("answered 401", KEY_HINT), connection=WRONG_KEY
    ),
    "version sensor for a foreign organization": Refusal(
        CerebrasModelVersionSensor, {"model_version": FOREIGN_VERSION}, ("answered 403", ORG_HINT)
    ),
    "deployment sensor by a wrong key": Refusal(
        CerebrasDeploymentSensor,
        {"endpoint_id": ENDPOINT, "deployment_id": DEPLOYMENT},
        ("answered 401", KEY_HINT),
        connection=WRONG_KEY,
    ),
    "deployment sensor on an unknown endpoint": Refusal(
        CerebrasDeploymentSensor, {"endpoint_id": "nowhere", "deployment_id": DEPLOYMENT}, ("answered 404", "nowhere")
    ),
}


@pytest.fixture
def quick(start_emulator: Callable[..., EmulatorClient]) -> EmulatorClient:
    """An emulator with one version that is synced."""
    emulator = start_emulator(sync_seconds=0)
    assert emulator.upload("s3://weights/run-0", "prod") == VERSION
    return emulator


def assert_refused_at_once(
    refusal: Refusal,
    arguments: dict[str, Any],
    emulator: EmulatorClient,
    monkeypatch: pytest.MonkeyPatch,
    dag: DAG,
    run_dag: DagRunner,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection(**refusal.connection))
    before = len(emulator.requests())
    with dag:
        refusal.operator(task_id="refused", **refusal.arguments, **arguments)

    result = run_dag(dag)

    error = result.error("refused")
    assert isinstance(error, RequestRefused), result.log
    assert [words for words in refusal.says if words not in str(error)] == [], str(error)
    assert (result["refused"].state, result["refused"].try_number) == ("failed", 1)
    sent = emulator.requests()[before:]
    assert sum(request.method == "POST" for request in sent) <= 1
    assert len({(request.method, request.path) for request in sent}) == len(sent), "a request was repeated"


@pytest.mark.parametrize("case", REFUSALS)
def test_an_operator_that_is_refused_fails_at_once(
    case: str,
    quick: EmulatorClient,
    monkeypatch: pytest.MonkeyPatch,
    new_dag: Callable[..., DAG],
    run_dag: DagRunner,
) -> None:
    dag = new_dag(default_args={"retries": 3})
    assert_refused_at_once(REFUSALS[case], OPERATOR_MODES["deferrable"], quick, monkeypatch, dag, run_dag)
    assert list(quick.versions()) == [VERSION]
    assert not quick.deployments()


@pytest.mark.parametrize("mode", SENSOR_MODES)
@pytest.mark.parametrize("case", SENSORS)
def test_a_sensor_that_is_refused_fails_at_once(
    case: str,
    mode: str,
    quick: EmulatorClient,
    monkeypatch: pytest.MonkeyPatch,
    new_dag: Callable[..., DAG],
    run_dag: DagRunner,
) -> None:
    dag = new_dag(default_args={"retries": 3})
    assert_refused_at_once(SENSORS[case], SENSOR_MODES[mode], quick, monkeypatch, dag, run_dag)


@pytest.mark.parametrize("operation", ["get_model_version", "get_endpoint"])
def test_a_key_that_is_withdrawn_during_a_deferred_wait_ends_it(
    operation: str,
    start_emulator: Callable[..., EmulatorClient],
    monkeypatch: pytest.MonkeyPatch,
    new_dag: Callable[..., DAG],
    run_dag: DagRunner,
) -> None:
    """A trigger would otherwise ask in vain until the deadline, a day later."""
    slow = start_emulator(sync_seconds=0, rollout_seconds=3600)
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", slow.connection())
    version = slow.upload("s3://weights/run-1")
    deployment_id = slow.deploy(version)
    pending = {"name": version, "done": False, "response": {"sync_status": "in_progress"}}
    slow.add_fault("get_model_version", body=pending)
    skip = 0 if operation == "get_model_version" else 1
    slow.add_fault(operation, skip=skip, times=None, status=401, body={"detail": "revoked"})
    monkeypatch.setattr(evidence, "MIN_SPAN", 0.0)
    with new_dag(default_args={"retries": 3}) as dag:
        if operation == "get_model_version":
            CerebrasModelVersionSensor(task_id="wait", model_version=version, **SENSOR_MODES["deferrable"])
        else:
            CerebrasDeploymentSensor(
                task_id="wait",
                endpoint_id=slow.endpoint_id,
                deployment_id=deployment_id,
                **SENSOR_MODES["deferrable"],
            )

    result = run_dag(dag)

    assert isinstance(result.error("wait"), RequestRefused)
    assert "revoked" in str(result.error("wait"))
    assert result["wait"].try_number == 1


def test_an_alias_that_another_version_holds_is_refused_before_anything_is_made(
    quick: EmulatorClient, monkeypatch: pytest.MonkeyPatch, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", quick.connection())
    with new_dag(default_args={"retries": 3}) as dag:
        CerebrasUploadModelVersionOperator(task_id="upload", version_aliases=["prod"], **UPLOAD)

    result = run_dag(dag)

    assert isinstance(result.error("upload"), AliasInUse)
    assert VERSION in str(result.error("upload"))
    assert result["upload"].try_number == 1
    assert list(quick.versions()) == [VERSION]

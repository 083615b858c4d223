"""Upload, wait, deploy, wait: in every way to wait, with what each task hands to the next."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator
from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator
from airflow_provider_cerebras.sensors.endpoints import CerebrasDeploymentSensor
from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor
from tests.integration.scenario import OPERATOR_MODES, SENSOR_MODES, output

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.integration.dag_run import DagResult, DagRunner

pytestmark = pytest.mark.usefixtures("cerebras_connection")


def assert_that_the_first_version_serves(emulator: EmulatorClient, deploy: str, result: DagResult) -> None:
    assert result.state == "success", result.log
    deployment_id = result[deploy].xcom
    assert str(uuid.UUID(deployment_id)) == deployment_id
    assert list(emulator.versions()) == [emulator.version_name(1)]
    assert [entry.deployment_id for entry in emulator.deployments()] == [deployment_id]
    assert emulator.serving() == emulator.version_name(1)


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_sensors_wait_for_what_operators_begin(
    mode: str, emulator: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    sensor = SENSOR_MODES[mode]
    with new_dag() as dag:
        upload = CerebrasUploadModelVersionOperator(
            task_id="upload",
            model_arch_id=emulator.arch,
            weight_uri="s3://weights/run-1",
            version_aliases=["candidate"],
            system_fingerprint_suffix="run-1",
        )
        synced = CerebrasModelVersionSensor(task_id="synced", model_version=output(upload), **sensor)
        deploy = CerebrasDeployModelOperator(
            task_id="deploy", endpoint_id=emulator.endpoint_id, model_version=output(synced)
        )
        CerebrasDeploymentSensor(
            task_id="deployed", endpoint_id=emulator.endpoint_id, deployment_id=output(deploy), **sensor
        )

    result = run_dag(dag)

    assert_that_the_first_version_serves(emulator, "deploy", result)
    assert result["upload"].xcom == result["synced"].xcom == emulator.version_name(1)
    assert result["deployed"].xcom == result["deploy"].xcom
    version = emulator.versions()[emulator.version_name(1)]
    assert version.weight_uri == "s3://weights/run-1"
    assert version.system_fingerprint_suffix == "run-1"
    assert "candidate" in version.aliases


@pytest.mark.parametrize("mode", OPERATOR_MODES)
def test_operators_wait_for_what_they_begin(
    mode: str, emulator: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    with new_dag() as dag:
        upload = CerebrasUploadModelVersionOperator(
            task_id="upload", model_arch_id=emulator.arch, weight_uri="s3://weights/run-1", **OPERATOR_MODES[mode]
        )
        CerebrasDeployModelOperator(
            task_id="deploy",
            endpoint_id=emulator.endpoint_id,
            model_version=output(upload),
            **OPERATOR_MODES[mode],
        )

    result = run_dag(dag)

    assert result["upload"].xcom == emulator.version_name(1)
    assert_that_the_first_version_serves(emulator, "deploy", result)


def test_operators_that_do_not_wait_leave_the_work_to_the_service(
    start_emulator: Callable[..., EmulatorClient],
    monkeypatch: pytest.MonkeyPatch,
    new_dag: Callable[..., DAG],
    run_dag: DagRunner,
) -> None:
    slow = start_emulator(sync_seconds=3600, rollout_seconds=3600, org="slow-org")
    quick = start_emulator(sync_seconds=0, rollout_seconds=3600)
    quick.upload("s3://weights/run-1")
    monkeypatch.setenv("AIRFLOW_CONN_SLOW", slow.connection())
    monkeypatch.setenv("AIRFLOW_CONN_QUICK", quick.connection())
    with new_dag() as dag:
        CerebrasUploadModelVersionOperator(
            task_id="upload", model_arch_id=slow.arch, weight_uri="s3://weights/run-1", cerebras_conn_id="slow"
        )
        CerebrasDeployModelOperator(
            task_id="deploy",
            endpoint_id=quick.endpoint_id,
            model_version=quick.version_name(1),
            cerebras_conn_id="quick",
        )

    result = run_dag(dag)

    assert result.state == "success", result.log
    assert result["upload"].xcom == "orgs/slow-org/models/gpt-oss-120b/versions/1"
    assert result["deploy"].xcom == quick.deployments()[0].deployment_id
    assert slow.requests()[-1].operation == "upload_model_version"
    assert quick.requests()[-1].operation == "deploy_model"


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_sensors_end_at_the_first_look_if_all_is_done(
    mode: str,
    start_emulator: Callable[..., EmulatorClient],
    monkeypatch: pytest.MonkeyPatch,
    new_dag: Callable[..., DAG],
    run_dag: DagRunner,
) -> None:
    emulator = start_emulator(sync_seconds=0, rollout_seconds=0)
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection())
    version = emulator.upload("s3://weights/run-1", "prod")
    deployment_id = emulator.deploy(version)
    sensor: dict[str, Any] = {**SENSOR_MODES[mode], "poke_interval": 3600}
    with new_dag() as dag:
        CerebrasModelVersionSensor(task_id="synced", model_version=emulator.version_name("prod"), **sensor)
        CerebrasDeploymentSensor(
            task_id="deployed", endpoint_id=emulator.endpoint_id, deployment_id=deployment_id, **sensor
        )

    result = run_dag(dag)

    assert result.state == "success", result.log
    assert result["synced"].xcom == version
    assert result["deployed"].xcom == deployment_id
    assert len(emulator.requests("get_model_version")) == len(emulator.requests("get_endpoint")) == 1

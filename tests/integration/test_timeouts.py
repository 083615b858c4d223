"""What takes longer than a task may wait: the task ends, the work goes on at the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout

from airflow_provider_cerebras.exceptions import WaitTimeout
from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator
from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator
from airflow_provider_cerebras.sensors.endpoints import CerebrasDeploymentSensor
from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor
from tests.integration.scenario import OPERATOR_MODES, SENSOR_MODES, output

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.integration.dag_run import DagRunner

TIMEOUT = 0.2


@pytest.fixture
def slow_sync(start_emulator: Callable[..., EmulatorClient], monkeypatch: pytest.MonkeyPatch) -> EmulatorClient:
    emulator = start_emulator(sync_seconds=3600)
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection())
    return emulator


@pytest.fixture
def slow_rollout(start_emulator: Callable[..., EmulatorClient], monkeypatch: pytest.MonkeyPatch) -> EmulatorClient:
    emulator = start_emulator(sync_seconds=0, rollout_seconds=3600)
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection())
    return emulator


@pytest.mark.parametrize("mode", OPERATOR_MODES)
def test_an_upload_that_takes_too_long_is_waited_for_again_by_the_retry(
    mode: str, slow_sync: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    with new_dag(default_args={"retries": 1}) as dag:
        CerebrasUploadModelVersionOperator(
            task_id="upload",
            model_arch_id=slow_sync.arch,
            weight_uri="s3://weights/run-1",
            timeout=TIMEOUT,
            **OPERATOR_MODES[mode],
        )

    result = run_dag(dag)

    assert (result["upload"].state, result["upload"].try_number) == ("failed", 2)
    assert [type(end.error) for end in result.ends] == [WaitTimeout, WaitTimeout]
    assert slow_sync.version_name(1) in str(result.error("upload"))
    assert "sync_status" in str(result.error("upload"))
    assert "raise timeout" in str(result.error("upload"))
    assert len(slow_sync.requests("upload_model_version")) == 1


@pytest.mark.parametrize("mode", OPERATOR_MODES)
def test_a_rollout_that_takes_too_long_is_waited_for_again_by_the_retry(
    mode: str, slow_rollout: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    version = slow_rollout.upload("s3://weights/run-1")
    with new_dag(default_args={"retries": 1}) as dag:
        CerebrasDeployModelOperator(
            task_id="deploy",
            endpoint_id=slow_rollout.endpoint_id,
            model_version=version,
            timeout=TIMEOUT,
            **OPERATOR_MODES[mode],
        )

    result = run_dag(dag)

    assert (result["deploy"].state, result["deploy"].try_number) == ("failed", 2)
    assert [type(end.error) for end in result.ends] == [WaitTimeout, WaitTimeout]
    assert slow_rollout.deployments()[0].deployment_id in str(result.error("deploy"))
    assert len(slow_rollout.requests("deploy_model")) == 1


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_sensors_time_out_as_those_of_airflow_do(
    mode: str, slow_sync: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    version = slow_sync.upload("s3://weights/run-1")
    with new_dag(default_args={"retries": 3}) as dag:
        synced = CerebrasModelVersionSensor(
            task_id="synced", model_version=version, timeout=TIMEOUT, **SENSOR_MODES[mode]
        )
        CerebrasDeployModelOperator(task_id="deploy", endpoint_id=slow_sync.endpoint_id, model_version=output(synced))

    result = run_dag(dag)

    # Airflow never retries a sensor that has timed out.
    assert (result["synced"].state, result["synced"].try_number) == ("failed", 1)
    assert isinstance(result.error("synced"), AirflowSensorTimeout)
    assert result["deploy"].state == "upstream_failed"


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_soft_fail_skips_sensors_that_time_out_in_every_mode(
    mode: str, slow_rollout: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    """Others' deferrable sensors fail where their poking ones skip (apache/airflow issue 71255)."""
    deployment_id = slow_rollout.deploy(slow_rollout.upload("s3://weights/run-1"))
    with new_dag() as dag:
        CerebrasDeploymentSensor(
            task_id="deployed",
            endpoint_id=slow_rollout.endpoint_id,
            deployment_id=deployment_id,
            timeout=TIMEOUT,
            soft_fail=True,
            **SENSOR_MODES[mode],
        )

    result = run_dag(dag)

    assert result.states() == {"deployed": "skipped"}, result.log

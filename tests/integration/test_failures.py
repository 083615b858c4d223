"""What fails, fails at once, with the service's words, and lets nothing downstream run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_cerebras.exceptions import DeploymentFailed, ModelVersionFailed
from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator
from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator
from airflow_provider_cerebras.sensors.endpoints import CerebrasDeploymentSensor
from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor
from tests.integration.scenario import OPERATOR_MODES, POLL, SENSOR_MODES, output

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.integration.dag_run import DagRunner

REASON = "the role may not list the bucket"
MODES = [*(f"sensor {mode}" for mode in SENSOR_MODES), *(f"operator {mode}" for mode in OPERATOR_MODES)]


def sync_dag(mode: str, emulator: EmulatorClient, dag: DAG) -> str:
    """Upload, wait in one of the modes, deploy; the id of the task that waits."""
    kind, _, how = mode.partition(" ")
    waiting = OPERATOR_MODES[how] if kind == "operator" else {}
    with dag:
        last: Any = CerebrasUploadModelVersionOperator(
            task_id="upload", model_arch_id=emulator.arch, weight_uri="s3://weights/run-1", **waiting
        )
        if kind == "sensor":
            last = CerebrasModelVersionSensor(task_id="synced", model_version=output(last), **SENSOR_MODES[how])
        CerebrasDeployModelOperator(task_id="deploy", endpoint_id=emulator.endpoint_id, model_version=output(last))
    return str(last.task_id)


@pytest.mark.parametrize("mode", MODES)
def test_a_failing_sync_fails_the_task_at_once(
    mode: str,
    emulator: EmulatorClient,
    cerebras_connection: str,
    new_dag: Callable[..., DAG],
    run_dag: DagRunner,
) -> None:
    emulator.add_fault("upload_model_version", fail_sync=REASON)
    dag = new_dag(default_args={"retries": 3})
    waiting = sync_dag(mode, emulator, dag)

    result = run_dag(dag)

    assert result.state == "failed"
    error = result.error(waiting)
    assert isinstance(error, ModelVersionFailed)
    assert REASON in str(error)
    assert emulator.version_name(1) in str(error)
    assert (result[waiting].state, result[waiting].try_number) == ("failed", 1)
    assert result["deploy"].state == "upstream_failed"
    assert REASON in result.log
    assert not emulator.requests("deploy_model")
    assert len(emulator.requests("upload_model_version")) == 1


@pytest.mark.parametrize("mode", MODES)
def test_a_failing_rollout_fails_the_task_at_once(
    mode: str,
    start_emulator: Callable[..., EmulatorClient],
    monkeypatch: pytest.MonkeyPatch,
    new_dag: Callable[..., DAG],
    run_dag: DagRunner,
) -> None:
    emulator = start_emulator(sync_seconds=0)
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection())
    version = emulator.upload("s3://weights/run-1")
    emulator.add_fault("deploy_model", fail_rollout="no capacity left")
    kind, _, how = mode.partition(" ")
    with new_dag(default_args={"retries": 3}) as dag:
        last: Any = CerebrasDeployModelOperator(
            task_id="deploy",
            endpoint_id=emulator.endpoint_id,
            model_version=version,
            **(OPERATOR_MODES[how] if kind == "operator" else {}),
        )
        if kind == "sensor":
            last = CerebrasDeploymentSensor(
                task_id="deployed",
                endpoint_id=emulator.endpoint_id,
                deployment_id=output(last),
                **SENSOR_MODES[how],
            )
        after = CerebrasUploadModelVersionOperator(
            task_id="after", model_arch_id=emulator.arch, weight_uri="s3://weights/run-2"
        )
        last >> after

    result = run_dag(dag)

    assert result.state == "failed"
    error = result.error(last.task_id)
    assert isinstance(error, DeploymentFailed)
    deployment_id = emulator.deployments()[0].deployment_id
    assert f"Deployment {deployment_id} on endpoint {emulator.endpoint_id} failed to roll out" in str(error)
    assert (result[last.task_id].state, result[last.task_id].try_number) == ("failed", 1)
    assert result["after"].state == "upstream_failed"
    assert len(emulator.requests("deploy_model")) == 1
    assert emulator.serving() is None


@pytest.mark.parametrize("mode", ["sensor poke", "operator deferrable"])
def test_failure_in_other_words_is_failure_too(
    mode: str,
    start_emulator: Callable[..., EmulatorClient],
    monkeypatch: pytest.MonkeyPatch,
    new_dag: Callable[..., DAG],
    run_dag: DagRunner,
) -> None:
    emulator = start_emulator(sync_seconds=0.2, sync_failure_status="Cancelled", done_on_failure=False)
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection())
    emulator.add_fault("upload_model_version", fail_sync=REASON)
    dag = new_dag()
    waiting = sync_dag(mode, emulator, dag)

    result = run_dag(dag)

    error = result.error(waiting)
    assert isinstance(error, ModelVersionFailed)
    assert "sync_status 'Cancelled'" in str(error)


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_soft_fail_skips_instead_in_every_mode(
    mode: str,
    emulator: EmulatorClient,
    cerebras_connection: str,
    new_dag: Callable[..., DAG],
    run_dag: DagRunner,
) -> None:
    emulator.add_fault("upload_model_version", fail_sync=REASON)
    version = emulator.upload("s3://weights/run-1")
    with new_dag() as dag:
        synced = CerebrasModelVersionSensor(
            task_id="synced", model_version=version, soft_fail=True, **SENSOR_MODES[mode]
        )
        CerebrasDeployModelOperator(task_id="deploy", endpoint_id=emulator.endpoint_id, model_version=output(synced))

    result = run_dag(dag)

    assert result.states() == {"synced": "skipped", "deploy": "skipped"}, result.log
    assert REASON in result.log


def test_other_tasks_go_on_when_one_fails(
    emulator: EmulatorClient, cerebras_connection: str, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    emulator.add_fault("upload_model_version", fail_sync=REASON)
    with new_dag() as dag:
        for number in (1, 2):
            CerebrasUploadModelVersionOperator(
                task_id=f"upload-{number}",
                model_arch_id=emulator.arch,
                weight_uri=f"s3://weights/run-{number}",
                wait_for_completion=True,
                poll_interval=POLL,
            )

    result = run_dag(dag)

    assert sorted(map(str, result.states().values())) == ["failed", "success"]

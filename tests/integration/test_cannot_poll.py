"""A look that gets no usable answer says nothing of what is waited for: it is repeated, in every way to wait.

Other providers have taken it for a failure (apache/airflow issues 67219 and 70398).
"""

from __future__ import annotations

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
    from tests.integration.dag_run import DagRunner

HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>"
TROUBLES: dict[str, dict[str, Any]] = {
    "internal error": {"status": 500, "body": {"detail": "Internal Server Error"}},
    "dropped connection": {"drop": True},
    "unavailable": {"status": 503, "body": {"detail": "try later"}, "headers": {"Retry-After": "1"}},
    "truncated answer": {"truncate": True},
    "malformed JSON": {"text": '{"name": ', "content_type": "application/json"},
    "HTML from a proxy": {"status": 502, "text": HTML},
    "too many requests": {"status": 429, "body": {"error": {"message": "slow down"}}},
    "another document": {"body": {"hello": "world"}},
}
"""What can come instead of an answer."""


def trouble(emulator: EmulatorClient, operation: str, *names: str) -> None:
    for name in names or TROUBLES:
        emulator.add_fault(operation, **TROUBLES[name])


def assert_that_all_came_and_the_version_serves(emulator: EmulatorClient, troubles: int) -> None:
    faults = [fault for fault in emulator.faults() if fault.rule.operation.startswith("get_")]
    assert len(faults) == troubles
    assert all(fault.fired == 1 for fault in faults)
    assert len(emulator.versions()) == len(emulator.deployments()) == 1
    assert emulator.serving() == emulator.version_name(1)


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_sensors_ask_again(
    mode: str,
    emulator: EmulatorClient,
    cerebras_connection: str,
    new_dag: Callable[..., DAG],
    run_dag: DagRunner,
) -> None:
    # Each poke of a sensor that is rescheduled takes a second of dag.test().
    names = ("internal error", "dropped connection") if mode == "reschedule" else tuple(TROUBLES)
    sensor = SENSOR_MODES[mode]
    with new_dag() as dag:
        upload = CerebrasUploadModelVersionOperator(
            task_id="upload", model_arch_id=emulator.arch, weight_uri="s3://weights/run-1"
        )
        synced = CerebrasModelVersionSensor(task_id="synced", model_version=output(upload), **sensor)
        deploy = CerebrasDeployModelOperator(
            task_id="deploy", endpoint_id=emulator.endpoint_id, model_version=output(synced)
        )
        CerebrasDeploymentSensor(
            task_id="deployed", endpoint_id=emulator.endpoint_id, deployment_id=output(deploy), **sensor
        )

    with (
        emulator.meanwhile(
            "upload_model_version",
            lambda: trouble(emulator, "get_model_version", *names),
            when="after",
        ),
        emulator.meanwhile("deploy_model", lambda: trouble(emulator, "get_endpoint", *names), when="after"),
    ):
        result = run_dag(dag)

    assert result.state == "success", result.log
    assert {task.try_number for task in result.tasks.values()} == {1}
    assert_that_all_came_and_the_version_serves(emulator, 2 * len(names))


@pytest.mark.parametrize("mode", OPERATOR_MODES)
def test_operators_that_wait_ask_again(
    mode: str,
    emulator: EmulatorClient,
    cerebras_connection: str,
    new_dag: Callable[..., DAG],
    run_dag: DagRunner,
) -> None:
    waiting = OPERATOR_MODES[mode]
    with new_dag() as dag:
        upload = CerebrasUploadModelVersionOperator(
            task_id="upload", model_arch_id=emulator.arch, weight_uri="s3://weights/run-1", **waiting
        )
        CerebrasDeployModelOperator(
            task_id="deploy", endpoint_id=emulator.endpoint_id, model_version=output(upload), **waiting
        )

    with (
        emulator.meanwhile("upload_model_version", lambda: trouble(emulator, "get_model_version"), when="after"),
        emulator.meanwhile("deploy_model", lambda: trouble(emulator, "get_endpoint"), when="after"),
    ):
        result = run_dag(dag)

    assert result.state == "success", result.log
    assert {task.try_number for task in result.tasks.values()} == {1}
    assert_that_all_came_and_the_version_serves(emulator, 2 * len(TROUBLES))


def test_the_log_says_what_was_wrong_and_that_it_is_asked_again(
    emulator: EmulatorClient, cerebras_connection: str, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    version = emulator.upload("s3://weights/run-1")
    trouble(emulator, "get_model_version", "HTML from a proxy")
    with new_dag() as dag:
        CerebrasModelVersionSensor(task_id="synced", model_version=version, **SENSOR_MODES["poke"])

    result = run_dag(dag)

    assert result.state == "success", result.log
    assert "answered 502" in result.log
    assert "Bad Gateway" in result.log
    assert "It will be polled again" in result.log
    assert "<h1>" not in result.log


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_a_service_that_never_answers_is_a_timeout_and_no_failure(
    mode: str,
    emulator: EmulatorClient,
    cerebras_connection: str,
    new_dag: Callable[..., DAG],
    run_dag: DagRunner,
) -> None:
    from airflow.providers.common.compat.sdk import AirflowSensorTimeout

    version = emulator.upload("s3://weights/run-1")
    emulator.add_fault("get_model_version", status=503, times=None)
    with new_dag() as dag:
        CerebrasModelVersionSensor(task_id="synced", model_version=version, timeout=0.2, **SENSOR_MODES[mode])

    result = run_dag(dag)

    assert result["synced"].state == "failed"
    assert isinstance(result.error("synced"), AirflowSensorTimeout)

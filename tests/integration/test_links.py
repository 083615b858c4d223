"""Links on the page of a task, as Airflow's own server gives them: while it waits, after it failed, and after all."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator
from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator
from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor
from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_1_PLUS
from tests.integration.asset_runs import register_unpaused
from tests.integration.scenario import OPERATOR_MODES, SENSOR_MODES

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.integration.dag_run import DagRunner

pytestmark = pytest.mark.usefixtures("cerebras_connection")

CONSOLE = {"Cerebras console": "https://cloud.cerebras.ai"}
WEIGHTS = {"Weights in S3": "https://console.aws.amazon.com/s3/buckets/my-bucket?prefix=weights%2F1/"}


def links(dag_id: str, task_id: str) -> tuple[str, dict[str, str | None]]:
    """The state of the only run's task, and what the server answers when a browser asks for its links."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    with create_session() as session:
        ti: Any = session.query(TaskInstance).filter_by(dag_id=dag_id, task_id=task_id).one()
        state = str(getattr(ti.state, "value", ti.state))
        if AIRFLOW_V_3_0_PLUS:
            from airflow.api_fastapi.core_api.routes.public.extra_links import get_extra_links

            dagbag: Any = import_module("airflow.models.dagbag")
            bag = dagbag.DBDagBag() if AIRFLOW_V_3_1_PLUS else dagbag.DagBag(os.devnull, read_dags_from_db=True)
            answer = get_extra_links(dag_id, ti.run_id, task_id, session, bag)
            return state, answer.extra_links
        from airflow.models.serialized_dag import SerializedDagModel

        model: Any = SerializedDagModel
        task = model.get(dag_id, session).dag.get_task(task_id)
        return state, {name: task.get_extra_links(ti, name) or None for name in task.extra_links}


def upload(emulator: EmulatorClient, **arguments: Any) -> CerebrasUploadModelVersionOperator:
    return CerebrasUploadModelVersionOperator(
        task_id="task",
        **{
            "model_arch_id": emulator.arch,
            "weight_uri": "s3://my-bucket/weights/{{ params.run }}",
            **OPERATOR_MODES["deferrable"],
            **arguments,
        },
    )


def test_they_are_there_while_the_task_is_deferred_and_after_it(
    emulator: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    with new_dag(params={"run": 1}) as dag:
        upload(emulator)
    register_unpaused(dag)
    seen = []

    # The identity alias is looked up by the worker, and what comes then is asked for by the trigger.
    with emulator.meanwhile("get_model_version", lambda: seen.append(links(dag.dag_id, "task")), skip=1):
        result = run_dag(dag)

    assert result.state == "success", result.log
    # `dag.test()` runs the trigger itself, and calls the task something else than deferred meanwhile.
    ((_, while_it_waits),) = seen
    assert while_it_waits == {**CONSOLE, **WEIGHTS}
    assert links(dag.dag_id, "task") == ("success", {**CONSOLE, **WEIGHTS})


@pytest.mark.parametrize("mode", OPERATOR_MODES)
def test_they_are_there_after_the_sync_failed(
    mode: str, emulator: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    """Public issue 57545 of Airflow: an extra link is missing on a task that failed."""
    emulator.add_fault("upload_model_version", fail_sync="AccessDenied")
    with new_dag(params={"run": 1}) as dag:
        upload(emulator, **OPERATOR_MODES[mode])
    register_unpaused(dag)

    assert run_dag(dag).state == "failed"
    assert links(dag.dag_id, "task") == ("failed", {**CONSOLE, **WEIGHTS})


def test_they_are_there_though_nothing_could_be_sent(
    emulator: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    with new_dag(params={"run": 1}) as dag:
        upload(emulator, version_aliases=["Not An Alias"])
    register_unpaused(dag)

    assert run_dag(dag).state == "failed"
    assert links(dag.dag_id, "task") == ("failed", {**CONSOLE, **WEIGHTS})


def test_hostile_input_makes_no_link(emulator: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner) -> None:
    with new_dag() as dag:
        upload(emulator, weight_uri="javascript:alert(document.cookie)//s3://my-bucket/weights")
    register_unpaused(dag)

    assert run_dag(dag).state == "failed"
    assert links(dag.dag_id, "task") == ("failed", {**CONSOLE, "Weights in S3": None})


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_sensors_and_rollouts_lead_to_the_console(
    mode: str, emulator: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    version = emulator.upload("s3://my-bucket/weights/1")
    with new_dag() as dag:
        CerebrasModelVersionSensor(task_id="synced", model_version=version, **SENSOR_MODES[mode])
        CerebrasDeployModelOperator(task_id="deploy", endpoint_id="no-such-endpoint", model_version=version)
    register_unpaused(dag)

    run_dag(dag)

    assert links(dag.dag_id, "synced") == ("success", CONSOLE)
    assert links(dag.dag_id, "deploy") == ("failed", CONSOLE)

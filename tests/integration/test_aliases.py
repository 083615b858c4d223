"""An alias is resolved once: one that moves meanwhile changes neither what is waited for nor what is deployed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator
from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor
from tests.clock import ticking
from tests.integration.scenario import SENSOR_MODES, output

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.integration.dag_run import DagRunner


def move_prod_to_the_second_version(emulator: EmulatorClient) -> None:
    emulator.set_aliases(emulator.version_name(1))
    emulator.set_aliases(emulator.version_name(2), "prod")


def test_the_number_is_deployed_although_the_alias_moves_before_the_service_acts(
    start_emulator: Callable[..., EmulatorClient],
    monkeypatch: pytest.MonkeyPatch,
    new_dag: Callable[..., DAG],
    run_dag: DagRunner,
) -> None:
    emulator = start_emulator(ticking(), sync_seconds=0, rollout_seconds=0)
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection())
    emulator.upload("s3://weights/run-1", "prod")
    emulator.upload("s3://weights/run-2")
    with new_dag() as dag:
        CerebrasDeployModelOperator(
            task_id="deploy", endpoint_id=emulator.endpoint_id, model_version=emulator.version_name("prod")
        )

    with emulator.meanwhile("deploy_model", lambda: move_prod_to_the_second_version(emulator), when="before"):
        result = run_dag(dag)

    assert result.state == "success", result.log
    assert emulator.requests("deploy_model")[0].body == {"model": emulator.version_name(1)}
    assert emulator.serving() == emulator.version_name(1)


@pytest.mark.parametrize("mode", ["poke", "deferrable"])
def test_a_sensor_follows_the_number_although_the_alias_moves_while_it_waits(
    mode: str,
    emulator: EmulatorClient,
    cerebras_connection: str,
    new_dag: Callable[..., DAG],
    run_dag: DagRunner,
) -> None:
    emulator.upload("s3://weights/run-1", "prod")
    emulator.upload("s3://weights/run-2")
    with new_dag() as dag:
        synced = CerebrasModelVersionSensor(
            task_id="synced", model_version=emulator.version_name("prod"), **SENSOR_MODES[mode]
        )
        CerebrasDeployModelOperator(task_id="deploy", endpoint_id=emulator.endpoint_id, model_version=output(synced))
    # The first look is by alias. It is still going on then, since its answer is made before the others.
    pending = {"name": emulator.version_name(1), "done": False, "response": {"sync_status": "in_progress"}}
    emulator.add_fault("get_model_version", body=pending)

    with emulator.meanwhile("get_model_version", lambda: move_prod_to_the_second_version(emulator), when="before"):
        result = run_dag(dag)

    assert result.state == "success", result.log
    looks = [request.path.rsplit("/", 1)[-1] for request in emulator.requests("get_model_version")]
    assert looks[0] == "prod"
    assert set(looks[1:]) == {"1"}
    assert result["synced"].xcom == emulator.version_name(1)
    assert emulator.deployments()[0].model_version == emulator.version_name(1)

"""Asset events: what a task has made goes along, in every way to wait, and only if it succeeds."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_cerebras.assets import endpoint_asset, model_asset
from airflow_provider_cerebras.operators.endpoints import (
    CerebrasDeployModelOperator,
    CerebrasRollbackEndpointOperator,
    CerebrasVerifyEndpointOperator,
)
from airflow_provider_cerebras.operators.model_versions import (
    CerebrasPromoteModelVersionOperator,
    CerebrasUpdateModelVersionAliasesOperator,
    CerebrasUploadModelVersionOperator,
)
from airflow_provider_cerebras.sensors.endpoints import CerebrasDeploymentSensor
from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor
from tests.integration.asset_runs import asset_events, register_unpaused
from tests.integration.scenario import OPERATOR_MODES, SENSOR_MODES

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.integration.dag_run import DagResult, DagRunner

MODEL = model_asset("my-org", "gpt-oss-120b")
ENDPOINT = endpoint_asset("my-org-gpt-oss-120b")
WEIGHTS = "s3://weights/run-1"


class Run:
    """The result of a run, and the events that it sent."""

    def __init__(self, result: DagResult, sent: dict[str, list[dict[str, Any]]]) -> None:
        self.result = result
        self.model_events = sent[MODEL.uri]
        self.endpoint_events = sent[ENDPOINT.uri]


@pytest.fixture
def emulator(start_emulator: Callable[..., EmulatorClient], monkeypatch: pytest.MonkeyPatch) -> EmulatorClient:
    emulator = start_emulator(sync_seconds=0.3, rollout_seconds=0.3)
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection())
    return emulator


@pytest.fixture
def run(run_dag: DagRunner) -> Callable[[DAG], Run]:
    def run(dag: DAG) -> Run:
        register_unpaused(dag)
        before = {asset.uri: len(asset_events(asset.uri)) for asset in (MODEL, ENDPOINT)}
        result = run_dag(dag)
        return Run(result, {uri: asset_events(uri)[count:] for uri, count in before.items()})

    return run


@pytest.mark.parametrize("mode", ["no wait", *OPERATOR_MODES])
def test_operators_say_what_they_have_made(
    mode: str,
    start_emulator: Callable[..., EmulatorClient],
    monkeypatch: pytest.MonkeyPatch,
    new_dag: Callable[..., DAG],
    run: Callable[[DAG], Run],
) -> None:
    # What is not waited for must be there at once.
    seconds = 0 if mode == "no wait" else 0.3
    emulator = start_emulator(sync_seconds=seconds, rollout_seconds=seconds)
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection())
    wait = OPERATOR_MODES.get(mode, {})
    with new_dag() as dag:
        upload = CerebrasUploadModelVersionOperator(
            task_id="upload",
            model_arch_id=emulator.arch,
            weight_uri=WEIGHTS,
            version_aliases=["latest"],
            outlets=[MODEL],
            **wait,
        )
        deploy = CerebrasDeployModelOperator(
            task_id="deploy",
            endpoint_id=emulator.endpoint_id,
            model_version=emulator.version_name("latest"),
            outlets=[ENDPOINT],
            **wait,
        )
        upload >> deploy

    ran = run(dag)

    assert ran.result.state == "success", ran.result.log
    version = {"model_version": emulator.version_name(1), "version_aliases": ["latest"], "weight_uri": WEIGHTS}
    assert ran.model_events == [version]
    assert ran.endpoint_events == [
        {**version, "endpoint_id": emulator.endpoint_id, "deployment_id": ran.result["deploy"].xcom}
    ]


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_the_sensor_of_versions_says_what_it_has_waited_for(
    mode: str, emulator: EmulatorClient, new_dag: Callable[..., DAG], run: Callable[[DAG], Run]
) -> None:
    emulator.upload(WEIGHTS, "latest")
    with new_dag() as dag:
        CerebrasModelVersionSensor(
            task_id="synced",
            model_version=emulator.version_name("latest"),
            outlets=[MODEL],
            **SENSOR_MODES[mode],
        )

    ran = run(dag)

    assert ran.result.state == "success", ran.result.log
    assert ran.model_events == [
        {"model_version": emulator.version_name(1), "version_aliases": ["latest"], "weight_uri": WEIGHTS}
    ]


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_the_sensor_of_deployments_says_what_it_has_waited_for(
    mode: str,
    start_emulator: Callable[..., EmulatorClient],
    monkeypatch: pytest.MonkeyPatch,
    new_dag: Callable[..., DAG],
    run: Callable[[DAG], Run],
) -> None:
    emulator = start_emulator(sync_seconds=0, rollout_seconds=0.3)
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection())
    deployment_id = emulator.deploy(emulator.upload(WEIGHTS, "latest"))
    with new_dag() as dag:
        CerebrasDeploymentSensor(
            task_id="deployed",
            endpoint_id=emulator.endpoint_id,
            deployment_id=deployment_id,
            outlets=[ENDPOINT],
            **SENSOR_MODES[mode],
        )

    ran = run(dag)

    assert ran.result.state == "success", ran.result.log
    assert ran.endpoint_events == [
        {
            "model_version": emulator.version_name(1),
            "version_aliases": ["latest"],
            "weight_uri": WEIGHTS,
            "endpoint_id": emulator.endpoint_id,
            "deployment_id": deployment_id,
        }
    ]


def test_so_do_those_that_move_aliases_verify_and_roll_back(
    start_emulator: Callable[..., EmulatorClient],
    monkeypatch: pytest.MonkeyPatch,
    new_dag: Callable[..., DAG],
    run: Callable[[DAG], Run],
) -> None:
    emulator = start_emulator(sync_seconds=0, rollout_seconds=0)
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection())
    first, second = (emulator.upload(f"s3://weights/run-{number}") for number in (1, 2))
    emulator.set_aliases(second, "doomed")
    with new_dag() as dag:
        chain = [
            CerebrasPromoteModelVersionOperator(
                task_id="promote", model_version=first, alias="production", outlets=[MODEL]
            ),
            CerebrasUpdateModelVersionAliasesOperator(
                task_id="update", model_version=emulator.version_name("doomed"), remove=["doomed"], outlets=[MODEL]
            ),
            CerebrasDeployModelOperator(
                task_id="deploy", endpoint_id=emulator.endpoint_id, model_version=first, **OPERATOR_MODES["blocking"]
            ),
            CerebrasVerifyEndpointOperator(
                task_id="verify",
                endpoint_id=emulator.endpoint_id,
                messages=[{"role": "user", "content": "Hello"}],
                outlets=[ENDPOINT],
            ),
            CerebrasRollbackEndpointOperator(
                task_id="roll_back",
                endpoint_id=emulator.endpoint_id,
                to=second,
                outlets=[ENDPOINT],
                **OPERATOR_MODES["blocking"],
            ),
        ]
        for task, following in pairwise(chain):
            task >> following

    ran = run(dag)

    assert ran.result.state == "success", ran.result.log
    assert [(event["model_version"], event["version_aliases"]) for event in ran.model_events] == [
        (first, ["production"]),
        (second, []),
    ]
    assert [(event["model_version"], event["deployment_id"]) for event in ran.endpoint_events] == [
        (first, ran.result["deploy"].xcom),
        (second, ran.result["roll_back"].xcom),
    ]


def test_a_task_that_fails_sends_no_event(
    emulator: EmulatorClient, new_dag: Callable[..., DAG], run: Callable[[DAG], Run]
) -> None:
    emulator.add_fault("upload_model_version", fail_sync="AccessDenied")
    with new_dag() as dag:
        CerebrasUploadModelVersionOperator(
            task_id="upload",
            model_arch_id=emulator.arch,
            weight_uri=WEIGHTS,
            outlets=[MODEL],
            **OPERATOR_MODES["deferrable"],
        )

    ran = run(dag)

    assert ran.result.state == "failed"
    assert ran.model_events == []


def test_the_task_succeeds_though_the_service_falls_silent_before_all_is_known(
    start_emulator: Callable[..., EmulatorClient],
    monkeypatch: pytest.MonkeyPatch,
    new_dag: Callable[..., DAG],
    run: Callable[[DAG], Run],
) -> None:
    emulator = start_emulator(sync_seconds=0)
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection(extra={"max_retries": 0}))
    version = emulator.upload(WEIGHTS)
    emulator.add_fault("get_model_version", status=503, skip=1)
    with new_dag() as dag:
        CerebrasModelVersionSensor(task_id="synced", model_version=version, outlets=[MODEL], **SENSOR_MODES["poke"])

    ran = run(dag)

    assert ran.result.state == "success", ran.result.log
    assert ran.model_events == [{"model_version": version}]
    assert "are not known" in ran.result.log


def test_who_has_no_outlet_of_ours_asks_for_nothing_more(
    emulator: EmulatorClient, new_dag: Callable[..., DAG], run: Callable[[DAG], Run]
) -> None:
    version = emulator.upload(WEIGHTS)
    with new_dag() as dag:
        CerebrasModelVersionSensor(
            task_id="synced", model_version=version, **{**SENSOR_MODES["poke"], "poke_interval": 0.3}
        )

    ran = run(dag)

    looks = [request.path for request in emulator.requests("get_model_version")]
    assert ran.result.state == "success", ran.result.log
    assert len(looks) <= 2

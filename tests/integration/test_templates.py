"""Templates: every id, name, URI and connection id may come from params, from the run or from another task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import task

from airflow_provider_cerebras.exceptions import InvalidArgument
from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator
from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator
from airflow_provider_cerebras.sensors.endpoints import CerebrasDeploymentSensor
from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor
from tests.integration.scenario import POLL, output

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.integration.dag_run import DagRunner


def test_arguments_come_from_params_conf_and_xcom(
    emulator: EmulatorClient,
    monkeypatch: pytest.MonkeyPatch,
    new_dag: Callable[..., DAG],
    run_dag: DagRunner,
) -> None:
    # Only what is rendered leads to the emulator: the connection itself names another organization.
    monkeypatch.setenv("AIRFLOW_CONN_STAGING", emulator.connection(extra={"org_name": "somebody-else"}))
    params = {
        "arch": emulator.arch,
        "endpoint": emulator.endpoint_id,
        "conn": "staging",
        "org": emulator.org,
        "suffix": "run-7",
    }
    with new_dag(params=params) as dag:

        @task
        def train() -> dict[str, str]:
            return {"weights": "s3://weights/run-7", "alias": "epoch-3"}

        upload = CerebrasUploadModelVersionOperator(
            task_id="upload",
            model_arch_id="{{ params.arch }}",
            weight_uri="{{ ti.xcom_pull(task_ids='train')['weights'] }}",
            version_aliases=["{{ ti.xcom_pull(task_ids='train')['alias'] }}", "{{ dag_run.conf['alias'] }}"],
            system_fingerprint_suffix="{{ params.suffix }}",
            org_name="{{ params.org }}",
            cerebras_conn_id="{{ params.conn }}",
        )
        synced = CerebrasModelVersionSensor(
            task_id="synced",
            model_version="orgs/{{ params.org }}/models/{{ params.arch }}/versions/{{ dag_run.conf['alias'] }}",
            cerebras_conn_id="{{ params.conn }}",
            poke_interval=POLL,
        )
        deploy = CerebrasDeployModelOperator(
            task_id="deploy",
            endpoint_id="{{ params.endpoint }}",
            model_version="{{ ti.xcom_pull(task_ids='synced') }}",
            cerebras_conn_id="{{ params.conn }}",
        )
        deployed = CerebrasDeploymentSensor(
            task_id="deployed",
            endpoint_id="{{ params.endpoint }}",
            deployment_id="{{ ti.xcom_pull(task_ids='deploy') }}",
            cerebras_conn_id="{{ params.conn }}",
            deferrable=True,
            poke_interval=POLL,
        )
        train() >> upload >> synced >> deploy >> deployed

    result = run_dag(dag, conf={"alias": "nightly"})

    assert result.state == "success", result.log
    sent = emulator.requests("upload_model_version")[0].body
    assert sent["model_arch_id"] == emulator.arch
    assert sent["model"]["weight_uri"] == "s3://weights/run-7"
    assert sent["model"]["system_fingerprint_suffix"] == "run-7"
    assert {"epoch-3", "nightly"} <= set(sent["model"]["version_aliases"])
    assert result["synced"].xcom == result["upload"].xcom == emulator.version_name(1)
    assert result["deployed"].xcom == result["deploy"].xcom
    assert emulator.serving() == emulator.version_name(1)


def test_what_a_template_gives_is_no_template(
    emulator: EmulatorClient, cerebras_connection: str, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    # Rendered once more, these would lose their comments, and those would show the password.
    harmless = [f"s3://weights/{{# comment #}}/{number}" for number in range(2)]
    templates = [f"s3://weights/{{{{ conn.cerebras_default.password }}}}/{{{{ {number} * 7 }}}}" for number in range(2)]
    with new_dag() as dag:

        @task
        def train(index: int) -> str:
            return [harmless[1], templates[1]][index]

        arguments: dict[str, Any] = {"model_arch_id": emulator.arch, "wait_for_completion": True, "deferrable": True}
        for index, kind in enumerate(["harmless", "template"]):
            in_conf = f"{{{{ dag_run.conf['uris'][{index}] }}}}"
            CerebrasUploadModelVersionOperator(task_id=f"{kind}_conf", weight_uri=in_conf, **arguments)
            CerebrasUploadModelVersionOperator(task_id=f"{kind}_output", weight_uri=train(index), **arguments)

    result = run_dag(dag, conf={"uris": [harmless[0], templates[0]]})

    states = {task_id: state for task_id, state in result.states().items() if not task_id.startswith("train")}
    assert states == {
        "harmless_conf": "success",
        "harmless_output": "success",
        "template_conf": "failed",
        "template_output": "failed",
    }, result.log
    sent = [request.body["model"]["weight_uri"] for request in emulator.requests("upload_model_version")]
    assert sorted(sent) == harmless
    for source, template in zip(["conf", "output"], templates, strict=True):
        error = result.error(f"template_{source}")
        assert isinstance(error, InvalidArgument)
        assert template in str(error)


def test_users_see_the_rendered_fields(
    emulator: EmulatorClient, cerebras_connection: str, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    with new_dag(params={"run": "run-7"}) as dag:
        upload = CerebrasUploadModelVersionOperator(
            task_id="upload",
            model_arch_id=emulator.arch,
            weight_uri="s3://weights/{{ params.run }}",
            version_aliases=["{{ params.run }}"],
        )
        CerebrasModelVersionSensor(task_id="synced", model_version=output(upload), poke_interval=POLL)

    result = run_dag(dag)

    assert result.state == "success", result.log
    assert result.rendered["upload"]["weight_uri"] == "s3://weights/run-7"
    assert result.rendered["upload"]["version_aliases"] == ["run-7"]
    assert result.rendered["synced"]["model_version"] == emulator.version_name(1)


def test_default_args_reach_operators_and_sensors(
    emulator: EmulatorClient,
    monkeypatch: pytest.MonkeyPatch,
    new_dag: Callable[..., DAG],
    run_dag: DagRunner,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_STAGING", emulator.connection())
    shared = {
        "cerebras_conn_id": "staging",
        "model_arch_id": emulator.arch,
        "endpoint_id": emulator.endpoint_id,
        "wait_for_completion": True,
        "deferrable": True,
        "poll_interval": POLL,
        "poke_interval": POLL,
    }
    with new_dag(default_args=shared) as dag:
        upload = CerebrasUploadModelVersionOperator(task_id="upload", weight_uri="s3://weights/run-1")  # type: ignore[call-arg]
        synced = CerebrasModelVersionSensor(task_id="synced", model_version=output(upload))
        deploy = CerebrasDeployModelOperator(task_id="deploy", model_version=output(synced))  # type: ignore[call-arg]
        CerebrasDeploymentSensor(task_id="deployed", deployment_id=output(deploy))  # type: ignore[call-arg]

    result = run_dag(dag)

    assert result.state == "success", result.log
    assert emulator.serving() == emulator.version_name(1)


def test_tasks_are_mapped_over_weights_and_versions(
    emulator: EmulatorClient, cerebras_connection: str, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    with new_dag() as dag:
        uploads = CerebrasUploadModelVersionOperator.partial(task_id="upload", model_arch_id=emulator.arch).expand(
            weight_uri=["s3://weights/run-1", "s3://weights/run-2"]
        )
        # It does not defer: dag.test() of Airflow 2.11 forgets over a deferral that a task is mapped.
        synced = CerebrasModelVersionSensor.partial(task_id="synced", poke_interval=POLL).expand(
            model_version=uploads.output
        )
        deploy = CerebrasDeployModelOperator.partial(task_id="deploy", endpoint_id=emulator.endpoint_id).expand(
            model_version=synced.output
        )
        CerebrasDeploymentSensor.partial(
            task_id="deployed", endpoint_id=emulator.endpoint_id, poke_interval=POLL
        ).expand(deployment_id=deploy.output)

    result = run_dag(dag)

    assert result.state == "success", result.log
    versions = emulator.versions()
    assert {version.weight_uri for version in versions.values()} == {
        "s3://weights/run-1",
        "s3://weights/run-2",
    }
    for index in range(2):
        assert result[f"synced[{index}]"].xcom == result[f"upload[{index}]"].xcom
        assert result[f"deployed[{index}]"].xcom == result[f"deploy[{index}]"].xcom
    assert {entry.model_version for entry in emulator.deployments()} == set(versions)

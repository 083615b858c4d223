"""After the rollout: aliases are changed and moved, versions are deleted, and what serves is spared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_cerebras.exceptions import VersionInUse
from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator
from airflow_provider_cerebras.operators.model_versions import (
    CerebrasDeleteModelVersionOperator,
    CerebrasPromoteModelVersionOperator,
    CerebrasPruneModelVersionsOperator,
    CerebrasUpdateModelVersionAliasesOperator,
    CerebrasUploadModelVersionOperator,
)
from tests.clock import ticking
from tests.integration.scenario import OPERATOR_MODES, output

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.integration.dag_run import DagRunner


@pytest.fixture
def quick(start_emulator: Callable[..., EmulatorClient], monkeypatch: pytest.MonkeyPatch) -> EmulatorClient:
    emulator = start_emulator(ticking(), sync_seconds=0, rollout_seconds=0)
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection())
    return emulator


def aliases(emulator: EmulatorClient, model_version: str) -> list[str]:
    held: list[str] = emulator.versions()[model_version].aliases
    return [alias for alias in held if not alias.startswith("airflow-")]


def test_a_release_takes_over_the_alias_and_makes_room(
    quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    for number in range(1, 4):
        quick.upload(f"s3://weights/run-{number}", *(["prod"] if number == 3 else []))
    with new_dag(params={"alias": "prod"}) as dag:
        upload = CerebrasUploadModelVersionOperator(
            task_id="upload",
            model_arch_id=quick.arch,
            weight_uri="s3://weights/run-4",
            version_aliases=["candidate"],
            **OPERATOR_MODES["deferrable"],
        )
        deploy = CerebrasDeployModelOperator(
            task_id="deploy",
            endpoint_id=quick.endpoint_id,
            model_version=output(upload),
            **OPERATOR_MODES["deferrable"],
        )
        promote = CerebrasPromoteModelVersionOperator(
            task_id="promote", model_version=output(upload), alias="{{ params.alias }}"
        )
        tidy = CerebrasUpdateModelVersionAliasesOperator(
            task_id="tidy",
            model_version=quick.version_name("{{ params.alias }}"),
            add=["live"],
            remove=["candidate"],
        )
        prune = CerebrasPruneModelVersionsOperator(
            task_id="prune", model_arch_id=quick.arch, keep_last=1, keep_aliases=["{{ params.alias }}"]
        )
        deploy >> promote >> tidy >> prune

    result = run_dag(dag)

    assert result.state == "success", result.log
    fourth = quick.version_name(4)
    assert result["promote"].xcom == fourth
    assert sorted(result["tidy"].xcom) == ["live", "prod"]
    assert result["prune"].xcom["deleted"] == [quick.version_name(number) for number in range(1, 4)]
    assert list(result["prune"].xcom["kept"]) == [fourth]
    assert list(quick.versions()) == [fourth]
    assert sorted(aliases(quick, fourth)) == ["live", "prod"]
    assert quick.serving() == fourth


def test_a_version_that_serves_is_not_deleted_and_the_task_is_not_retried(
    quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    version = quick.upload("s3://weights/run-1", "prod")
    quick.deploy(version)
    with new_dag(default_args={"retries": 3}) as dag:
        CerebrasDeleteModelVersionOperator(task_id="delete", model_version=quick.version_name("prod"))

    result = run_dag(dag)

    assert isinstance(result.error("delete"), VersionInUse)
    assert quick.endpoint_id in str(result.error("delete"))
    assert result["delete"].try_number == 1
    assert list(quick.versions()) == [version]
    assert not quick.requests("delete_model_version")


def test_operators_on_versions_are_mapped_and_take_default_args(
    quick: EmulatorClient, monkeypatch: pytest.MonkeyPatch, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_CEREBRAS_DEFAULT")
    monkeypatch.setenv("AIRFLOW_CONN_STAGING", quick.connection())
    first, second, third = (quick.upload(f"s3://weights/run-{number}") for number in range(1, 4))
    with new_dag(default_args={"cerebras_conn_id": "staging", "model_arch_id": quick.arch}) as dag:
        update = CerebrasUpdateModelVersionAliasesOperator.partial(task_id="update", model_version=first).expand(
            add=[["blue"], ["green"]]
        )
        promote = CerebrasPromoteModelVersionOperator.partial(task_id="promote", model_version=second).expand(
            alias=["blue", "prod"]
        )
        delete = CerebrasDeleteModelVersionOperator.partial(task_id="delete").expand(model_version=[first, third])
        prune = CerebrasPruneModelVersionsOperator.partial(task_id="prune", keep_last=1).expand(dry_run=[True, False])
        update >> promote >> delete >> prune

    result = run_dag(dag)

    assert result.state == "success", result.log
    assert [result[f"promote[{index}]"].xcom for index in range(2)] == [second, second]
    assert [result[f"delete[{index}]"].xcom for index in range(2)] == [first, third]
    assert list(quick.versions()) == [second]
    assert sorted(aliases(quick, second)) == ["blue", "prod"]

"""A DAG whose author runs mypy strictly: each argument takes a value, a template, and another task's result.

The type check of the gate covers this file, so an argument whose annotation is too narrow fails there. The test runs
what it declares, so that an annotation which promises too much fails here.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_cerebras.operators.endpoints import (
    CerebrasDeployModelOperator,
    CerebrasRollbackEndpointOperator,
    CerebrasVerifyEndpointOperator,
)
from airflow_provider_cerebras.operators.evaluation import CerebrasEvaluateEndpointOperator
from airflow_provider_cerebras.operators.model_versions import (
    CerebrasDeleteModelVersionOperator,
    CerebrasPromoteModelVersionOperator,
    CerebrasPruneModelVersionsOperator,
    CerebrasUpdateModelVersionAliasesOperator,
    CerebrasUploadModelVersionOperator,
)
from airflow_provider_cerebras.operators.weights import CerebrasCheckWeightsOperator
from airflow_provider_cerebras.sensors.endpoints import CerebrasDeploymentSensor
from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import XComArg

    from airflow_provider_cerebras.arguments.given import Flag, Number, Seconds, Text, Texts


def declare(dag: DAG, text: Text, flag: Flag, number: Number, seconds: Seconds, texts: Texts) -> None:
    """Give each argument in one form."""
    with dag:
        CerebrasCheckWeightsOperator(
            task_id="check", weight_uri=text, model_arch_id=text, checks=texts, sample_values=flag, aws_conn_id=text
        )
        CerebrasUploadModelVersionOperator(
            task_id="upload",
            model_arch_id=text,
            weight_uri=text,
            version_aliases=texts,
            org_name=text,
            wait_for_completion=flag,
            deferrable=flag,
            poll_interval=seconds,
            timeout=seconds,
            durable=flag,
            move_aliases=flag,
            delete_on_kill=flag,
            aws_conn_id=text,
            weights_digest=text,
            skip_unchanged=flag,
            cerebras_conn_id=text,
        )
        CerebrasModelVersionSensor(
            task_id="synced", model_version=text, weights_digest=text, poke_interval=seconds, timeout=seconds
        )
        CerebrasDeployModelOperator(
            task_id="deploy",
            endpoint_id=text,
            model_version=text,
            wait_for_completion=flag,
            poll_interval=seconds,
            timeout=seconds,
            rollback_on_failure=flag,
            durable=flag,
        )
        CerebrasDeploymentSensor(task_id="serves", endpoint_id=text, deployment_id=text, deferrable=flag)
        CerebrasRollbackEndpointOperator(task_id="roll_back", endpoint_id=text, to=text, wait_for_completion=flag)
        CerebrasVerifyEndpointOperator(
            task_id="verify",
            endpoint_id=text,
            messages=[{"role": "user", "content": "Say hello."}],
            max_latency=seconds,
            min_tokens_per_second=number,
            settle_timeout=seconds,
            log_content=flag,
            model_version=text,
        )
        CerebrasEvaluateEndpointOperator(
            task_id="evaluate",
            endpoint_id=text,
            dataset=[{"id": "1", "messages": [{"role": "user", "content": "Hi"}], "expected": "Hi"}],
            max_regression=number,
            confidence=number,
            repeats=number,
            concurrency=number,
            max_requests=number,
        )
        CerebrasUpdateModelVersionAliasesOperator(task_id="aliases", model_version=text, add=texts, remove=texts)
        CerebrasPromoteModelVersionOperator(task_id="promote", model_version=text, alias=text)
        CerebrasDeleteModelVersionOperator(task_id="delete", model_version=text, force=flag)
        CerebrasPruneModelVersionsOperator(
            task_id="prune", model_arch_id=text, keep_last=number, keep_aliases=texts, dry_run=flag
        )


@pytest.fixture
def dag() -> DAG:
    return DAG("typed", schedule=None, start_date=datetime(2026, 1, 1))  # noqa: DTZ001  Airflow makes it aware


def test_values_are_taken(dag: DAG) -> None:
    declare(dag, "orgs/o/models/m/versions/1", flag=True, number=3, seconds=timedelta(minutes=1), texts=["a"])
    declared = dag.get_task("deploy")
    assert not declared.upstream_task_ids


def test_templates_are_taken(dag: DAG) -> None:
    template = "{{ params.value }}"
    declare(dag, template, template, template, template, template)
    assert {"timeout", "rollback_on_failure"} <= set(dag.get_task("deploy").template_fields)


def test_results_of_other_tasks_are_taken_and_make_them_upstream(dag: DAG) -> None:
    @task
    def decide() -> str:
        return ""

    with dag:
        decided: XComArg = decide()
    declare(dag, decided, decided, decided, decided, decided)
    assert all(each.upstream_task_ids == {"decide"} for each in dag.tasks if each.task_id != "decide")

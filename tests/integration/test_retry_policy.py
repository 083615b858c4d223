"""The retry policy under a real Airflow: when the next attempt comes, if one does, and why, as its UI shows it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import task

from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator
from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_3_PLUS
from tests.integration.dag_run import database

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.integration.dag_run import DagResult, DagRunner

pytestmark = pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="retry policies came with Airflow 3.3")


@pytest.fixture
def new_dag_with_policy(new_dag: Callable[..., DAG]) -> Callable[..., DAG]:
    """A DAG whose tasks have the policy and two retries, as a user sets it for all of them."""
    from airflow_provider_cerebras.retry_policies import CerebrasRetryPolicy

    return lambda: new_dag(default_args={"retries": 2, "retry_policy": CerebrasRetryPolicy()})


@pytest.fixture(autouse=True)
def connection_that_asks_once(emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that an answer reaches the task, and is not waited out within the attempt."""
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection(extra={"max_retries": 0}))


def first_attempts(result: DagResult) -> list[tuple[Any, ...]]:
    """What Airflow keeps of every attempt before the last: after how many seconds, and why, it was tried again."""
    with closing(sqlite3.connect(database())) as connection:
        return connection.execute(
            "SELECT retry_delay_override, retry_reason FROM task_instance_history WHERE dag_id = ? ORDER BY try_number",
            (result.dag_id,),
        ).fetchall()


def test_an_upload_is_tried_again_when_the_service_said(
    emulator: EmulatorClient, new_dag_with_policy: Callable[..., DAG], run_dag: DagRunner
) -> None:
    emulator.add_fault("upload_model_version", status=429, message="slow down", retry_after=1)
    with new_dag_with_policy() as dag:
        CerebrasUploadModelVersionOperator(
            task_id="upload", model_arch_id=emulator.arch, weight_uri="s3://weights/run-1"
        )

    result = run_dag(dag)

    assert (result["upload"].state, result["upload"].try_number) == ("success", 2)
    assert len(emulator.versions()) == 1
    ((delay, reason),) = first_attempts(result)
    assert delay == 1.0
    assert reason.startswith("The service asked for 1 s: ")
    assert "slow down" in reason


def test_a_refusal_ends_a_task_of_one_s_own_at_once(
    emulator: EmulatorClient, new_dag_with_policy: Callable[..., DAG], run_dag: DagRunner
) -> None:
    with new_dag_with_policy() as dag:

        @task
        def look() -> None:
            CerebrasHook().get_model_version(emulator.version_name(404))

        look()

    result = run_dag(dag)

    assert (result["look"].state, result["look"].try_number) == ("failed", 1)
    assert len(emulator.requests("get_model_version")) == 1
    assert "A retry cannot help: " in result.log


def test_other_errors_are_retried_as_ever(
    emulator: EmulatorClient, new_dag_with_policy: Callable[..., DAG], run_dag: DagRunner
) -> None:
    emulator.add_fault("list_endpoints", status=500)
    with new_dag_with_policy() as dag:

        @task
        def look() -> None:
            CerebrasHook().list_endpoints()

        look()

    result = run_dag(dag)

    assert (result["look"].state, result["look"].try_number) == ("success", 2)
    assert first_attempts(result) == [(None, None)]

"""Airflow itself finds the provider: a connection of its type leads to its hook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseHook, task

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.integration.dag_run import DagRunner


def test_a_connection_of_its_type_gives_its_hook(
    emulator: EmulatorClient, cerebras_connection: str, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    with new_dag() as dag:

        @task
        def connect() -> list[Any]:
            hook: Any = BaseHook.get_hook("cerebras_default")
            return [type(hook).__name__, *hook.test_connection()]

        connect()

    result = run_dag(dag)

    assert result.state == "success", result.log
    name, connected, message = result["connect"].xcom
    assert (name, connected) == ("CerebrasHook", True)
    assert emulator.arch in message

"""Arguments that are known only when the task runs, under a real Airflow: what was meant is done."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import task

from airflow_provider_cerebras.exceptions import InvalidArgument, VersionInUse
from airflow_provider_cerebras.operators.model_versions import (
    CerebrasDeleteModelVersionOperator,
    CerebrasUploadModelVersionOperator,
)
from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor
from tests.integration.scenario import output

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.integration.dag_run import DagRunner

pytestmark = pytest.mark.usefixtures("cerebras_connection")

WRONG: dict[str, Any] = {"not_a_number": "nan", "negative": timedelta(seconds=-1)}


def test_what_was_meant_is_done(emulator: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner) -> None:
    serving = emulator.serve("s3://my-bucket/weights/serving")
    waiting: dict[str, Any] = {"deferrable": "{{ true }}", "timeout": "{{ params.timeout }}"}
    with new_dag(
        params={"force": False, "timeout": 60, "suffix": 20231023},
        render_template_as_native_obj=True,
        default_args={"retries": 2},
    ) as dag:

        @task
        def decide() -> bool:
            return False

        forced: dict[str, Any] = {"by_template": "{{ params.force }}", "by_result": decide()}
        for name, force in forced.items():
            CerebrasDeleteModelVersionOperator(task_id=name, model_version=serving, force=force)
        upload = CerebrasUploadModelVersionOperator(
            task_id="upload",
            model_arch_id=emulator.arch,
            weight_uri="s3a://my-bucket/weights/{{ params.suffix }}",
            system_fingerprint_suffix="{{ params.suffix }}",
            wait_for_completion=True,
            **waiting,
            poll_interval=0.02,
        )
        CerebrasModelVersionSensor(
            task_id="sensor", model_version=output(upload), poke_interval=timedelta(milliseconds=20), **waiting
        )
        for name, wrong in WRONG.items():
            CerebrasUploadModelVersionOperator(
                task_id=name,
                model_arch_id=emulator.arch,
                weight_uri=f"s3://my-bucket/weights/{name}",
                wait_for_completion=True,
                deferrable=True,
                timeout=wrong,
            )

    result = run_dag(dag)

    for name in ("by_template", "by_result"):
        assert isinstance(result.error(name), VersionInUse), result.log
    assert emulator.requests("delete_model_version") == []
    assert {name: result[name].state for name in ("upload", "sensor")} == {"upload": "success", "sensor": "success"}
    _, sent = emulator.requests("upload_model_version")
    assert sent.body["model"]["weight_uri"] == "s3://my-bucket/weights/20231023"
    assert sent.body["model"]["system_fingerprint_suffix"] == "20231023"
    for name in WRONG:
        assert isinstance(result.error(name), InvalidArgument)
        assert result[name].try_number == 1

"""The release DAGs of the drills: the whole release, and many uploads or waits at once.

``conf`` of a run: ``connection``, ``endpoint_id`` and ``weight_uri`` of a release, ``weight_uris`` of many uploads,
``model_versions`` of many waits.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator
from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor
from airflow_provider_cerebras.task_groups import cerebras_release

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

SIGNALS = Path(os.environ["DRILL_SIGNALS"])
ARCHITECTURE = "gpt-oss-120b"
CONNECTION = "{{ dag_run.conf['connection'] }}"
WAIT_SECONDS = 1800
SHORT_WAIT_SECONDS = 20
DAG_ARGUMENTS: dict[str, Any] = {
    "schedule": None,
    "start_date": datetime(2025, 1, 1, tzinfo=UTC),
    "default_args": {"retries": 10, "retry_delay": timedelta(0)},
}
RELEASE: dict[str, Any] = {
    "group_id": "release",
    "model_arch_id": ARCHITECTURE,
    "weight_uri": "{{ dag_run.conf['weight_uri'] }}",
    "endpoint_id": "{{ dag_run.conf['endpoint_id'] }}",
    "system_fingerprint_suffix": "drill",
    "cerebras_conn_id": CONNECTION,
    # Each run has an endpoint of its own, so they need not wait for each other.
    "deploy": {"max_active_tis_per_dag": 64},
}
UPLOADS: dict[str, dict[str, Any]] = {
    "release": {},
    "release_keep": {"deferrable": True, "timeout": WAIT_SECONDS},
    "release_delete_on_kill": {"deferrable": True, "timeout": WAIT_SECONDS, "delete_on_kill": True},
    "release_short_wait": {"deferrable": True, "timeout": SHORT_WAIT_SECONDS},
}
"""How the task that uploads is changed, by DAG. With the first, a sensor waits for the sync."""

for dag_id, upload in UPLOADS.items():
    with DAG(dag_id, **DAG_ARGUMENTS) as dag:
        cerebras_release(
            **RELEASE,
            alias="prod",
            upload={"wait_for_completion": True, "poll_interval": 1, **upload} if upload else None,
            wait_for_sync={"poke_interval": 1, "timeout": WAIT_SECONDS},
            wait_for_rollout={"poke_interval": 1, "timeout": WAIT_SECONDS},
        )
    globals()[dag_id] = dag


with DAG("release_usual", max_active_runs=64, max_active_tasks=64, **DAG_ARGUMENTS) as release_usual:
    # As users write it.
    cerebras_release(**RELEASE, alias=RELEASE["endpoint_id"])


class CountingUpload(CerebrasUploadModelVersionOperator):
    """Leaves a line each time that its wait is over."""

    def execute_complete(self, context: Context, event: object = None) -> str:
        ti: Any = context["ti"]
        with (SIGNALS / f"{ti.run_id}.completed").open("a") as lines:
            lines.write(f"{ti.map_index}\n")
        return super().execute_complete(context, event)


@task
def given(name: str, **context: Any) -> list[str]:
    """What the tasks are mapped over."""
    return list(context["dag_run"].conf[name])


with DAG("many_uploads", **DAG_ARGUMENTS) as many_uploads:
    CountingUpload.partial(
        task_id="upload",
        model_arch_id=ARCHITECTURE,
        wait_for_completion=True,
        deferrable=True,
        poll_interval=1,
        timeout=WAIT_SECONDS,
        delete_on_kill=True,
        cerebras_conn_id=CONNECTION,
    ).expand(weight_uri=given("weight_uris"))

with DAG("many_waits", **DAG_ARGUMENTS) as many_waits:
    CerebrasModelVersionSensor.partial(
        task_id="wait", deferrable=True, poke_interval=5, timeout=WAIT_SECONDS, cerebras_conn_id=CONNECTION
    ).expand(model_version=given("model_versions"))

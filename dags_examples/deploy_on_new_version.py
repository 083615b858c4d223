"""Deploy and verify what another team has uploaded, whenever there is a new version, without knowing how they made it.

The team that trains uploads with a task that has the model's asset as outlet; `fine_tune_and_upload` stands for their
DAG. The team that serves schedules its own DAG by the same asset. The asset's event says which version it is.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_cerebras.assets import model_asset
from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator
from airflow_provider_cerebras.task_groups import cerebras_release

MODEL = model_asset("my-org", "gpt-oss-120b")
ENDPOINT = "my-org-gpt-oss-120b"

# The team that trains.
with DAG(
    "fine_tune_and_upload",
    schedule="@weekly",
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["cerebras", "example"],
    doc_md=__doc__,
) as producer:
    # Only when the version is synced does the task succeed, and only then does the event go out.
    CerebrasUploadModelVersionOperator(
        task_id="upload",
        model_arch_id="gpt-oss-120b",
        weight_uri="s3://my-bucket/fine-tunes/{{ ds }}",
        wait_for_completion=True,
        deferrable=True,
        outlets=[MODEL],
    )

# The team that serves.
with DAG(
    "deploy_on_new_version",
    schedule=[MODEL],
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["cerebras", "example"],
    doc_md=__doc__,
) as consumer:

    @task
    def newest(**context: Any) -> str:
        """The version to deploy. Events that came close together start one run, and the last of them counts."""
        # On Airflow 2, an asset is a dataset.
        events = context.get("triggering_asset_events") or context["triggering_dataset_events"]
        last = max((event for group in events.values() for event in group), key=lambda event: event.timestamp)
        return str(last.extra["model_version"])

    # Deploys, verifies, and goes back if either fails; its last task has the endpoint's asset as outlet.
    cerebras_release(
        group_id="release",
        model_version=newest(),
        endpoint_id=ENDPOINT,
        messages=[{"role": "user", "content": "Repeat after me: the sky is blue."}],
        expect="the sky is blue",
    )

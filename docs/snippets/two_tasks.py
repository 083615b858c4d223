"""The same release in two tasks that wait themselves, each deferred while it waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator
from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator

with DAG(
    "two_tasks",
    schedule="@weekly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
) as dag:
    # [upload]
    upload = CerebrasUploadModelVersionOperator(
        task_id="upload",
        model_arch_id="gpt-oss-120b",
        weight_uri="s3://my-bucket/fine-tunes/{{ ds }}",
        system_fingerprint_suffix="{{ ds_nodash }}",  # in every answer of the model
        version_aliases=["week-{{ ds_nodash }}"],  # one that others deploy by is moved at the end, not here
        wait_for_completion=True,
        deferrable=True,
        timeout=12 * 3600,
    )
    # [deploy]
    deploy = CerebrasDeployModelOperator(
        task_id="deploy",
        endpoint_id="my-org-gpt-oss-120b",
        model_version=upload.output,
        wait_for_completion=True,
        deferrable=True,
        rollback_on_failure=True,
        pool="my-org-gpt-oss-120b",  # of one slot: one rollout at a time
    )
    # [end]
    upload >> deploy

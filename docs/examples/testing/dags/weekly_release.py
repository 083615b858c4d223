"""The DAG that is tested: upload, wait for the sync, deploy, and go back if the rollout fails."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator
from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator

POLL_SECONDS = float(os.environ.get("POLL_SECONDS", "30"))

with DAG(
    "weekly_release",
    schedule="@weekly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={"weight_uri": "s3://my-bucket/fine-tunes/this-week"},
    default_args={"retries": 2, "retry_delay": timedelta(seconds=1)},
) as dag:
    upload = CerebrasUploadModelVersionOperator(
        task_id="upload",
        model_arch_id="gpt-oss-120b",
        weight_uri="{{ params.weight_uri }}",
        version_aliases=["this-week"],
        move_aliases=True,
        wait_for_completion=True,
        deferrable=True,
        poll_interval=POLL_SECONDS,
        timeout=6 * 3600,
    )
    deploy = CerebrasDeployModelOperator(
        task_id="deploy",
        endpoint_id="my-org-gpt-oss-120b",
        model_version=upload.output,
        wait_for_completion=True,
        deferrable=True,
        poll_interval=POLL_SECONDS,
        rollback_on_failure=True,
    )

"""Upload weights, wait until they are synced, deploy them, wait until they serve, and ask the endpoint something."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator, CerebrasVerifyEndpointOperator
from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator
from airflow_provider_cerebras.sensors.endpoints import CerebrasDeploymentSensor
from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor

with DAG(
    "first_release",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    default_args={"retries": 2},
) as dag:
    upload = CerebrasUploadModelVersionOperator(
        task_id="upload", model_arch_id="gpt-oss-120b", weight_uri="s3://my-bucket/fine-tunes/first"
    )
    # [version sensor]
    synced = CerebrasModelVersionSensor(
        task_id="wait_for_sync",
        model_version=upload.output,  # orgs/my-org/models/gpt-oss-120b/versions/1
        deferrable=True,
        timeout=12 * 3600,
    )
    # [deployment]
    deploy = CerebrasDeployModelOperator(
        task_id="deploy", endpoint_id="my-org-gpt-oss-120b", model_version=synced.output
    )
    # [deployment sensor]
    serving = CerebrasDeploymentSensor(
        task_id="wait_for_rollout",
        endpoint_id="my-org-gpt-oss-120b",
        deployment_id=deploy.output,  # a UUID
        deferrable=True,
        timeout=2 * 3600,
    )
    # [verification]
    serving >> CerebrasVerifyEndpointOperator(
        task_id="verify", endpoint_id="my-org-gpt-oss-120b", messages=[{"role": "user", "content": "Say hello."}]
    )

"""Check the weights that a training has written, then upload them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator
from airflow_provider_cerebras.operators.weights import CerebrasCheckWeightsOperator
from airflow_provider_cerebras.weights import weights_digest

with DAG(
    "check_weights",
    schedule="@weekly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
) as dag:
    # [train]
    @task
    def train(weight_uri: str) -> dict[str, str]:
        """Train, and write everything; the digest comes last."""
        return {"weight_uri": weight_uri, "digest": weights_digest(weight_uri)}

    # [check]
    trained: Any = train("s3://my-bucket/fine-tunes/{{ ds }}")
    check = CerebrasCheckWeightsOperator(
        task_id="check",
        weight_uri=trained["weight_uri"],
        model_arch_id="gpt-oss-120b",
        weights_digest=trained["digest"],  # another one: WeightsChanged
        reader_role_arn="arn:aws:iam::123456789012:role/cerebras-reader",  # the role that Cerebras names
    )
    # [upload]
    upload = CerebrasUploadModelVersionOperator(
        task_id="upload", model_arch_id="gpt-oss-120b", weight_uri=trained["weight_uri"]
    )
    check >> upload

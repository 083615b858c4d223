"""Release weights to a staging endpoint, and the very version that passed there to production.

    staging: upload -> ... -> verify -> conclude     production: deploy -> ... -> verify -> promote -> conclude

Production gets no version of its own: nothing is uploaded or synced again. Each stage goes back by itself if its
rollout or its verification fails, and production is not touched unless staging succeeded. Trigger it with the folder
of the weights.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_cerebras.task_groups import cerebras_release

STAGING = "my-org-gpt-oss-120b-staging"
PRODUCTION = "my-org-gpt-oss-120b"
CHECK: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Repeat after me: the sky is blue."}],
    "expect": "the sky is blue",
}

with DAG(
    "staging_to_production",
    schedule=None,
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    params={"weight_uri": Param("s3://my-bucket/fine-tunes/candidate", type="string", pattern="^s3://.+")},
    tags=["cerebras", "example"],
    doc_md=__doc__,
) as dag:
    staging = cerebras_release(
        group_id="staging",
        model_arch_id="gpt-oss-120b",
        weight_uri="{{ params.weight_uri }}",
        endpoint_id=STAGING,
        **CHECK,
    )
    production = cerebras_release(
        group_id="production",
        model_version=staging.model_version,
        endpoint_id=PRODUCTION,
        alias="production",
        **CHECK,
    )
    staging >> production

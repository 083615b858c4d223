"""One button for the night: put back what served before."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cerebras.operators.endpoints import CerebrasRollbackEndpointOperator

with DAG(
    "roll_back",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    max_active_runs=1,
) as dag:
    # [roll back]
    roll_back = CerebrasRollbackEndpointOperator(
        task_id="roll_back", endpoint_id="my-org-gpt-oss-120b", deferrable=True, retries=2
    )

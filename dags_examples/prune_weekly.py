"""Every Monday: delete old model versions, but none that serves, rolls out, is among the newest five, or is protected.

A first task says what would be deleted; look at its result before you take the second one into use.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cerebras.operators.model_versions import CerebrasPruneModelVersionsOperator

with DAG(
    "prune_weekly",
    schedule="0 6 * * 1",
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 2,
        "retry_delay": timedelta(minutes=5),
        "keep_aliases": ["production*", "legal-hold-*"],
    },
    tags=["cerebras", "example"],
    doc_md=__doc__,
) as dag:
    rehearse = CerebrasPruneModelVersionsOperator(
        task_id="rehearse", model_arch_id="gpt-oss-120b", keep_last=5, dry_run=True
    )
    prune = CerebrasPruneModelVersionsOperator(task_id="prune", model_arch_id="gpt-oss-120b", keep_last=5)
    rehearse >> prune

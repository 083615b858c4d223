"""Every Monday: say which old model versions could be deleted; delete them only if a person or a parameter says so.

Kept are those that serve, roll out or served before on any endpoint, the newest five, and those with a protected alias.
As it stands, a run deletes nothing and returns what it would delete. Look at that, then trigger the DAG with the
parameter ``delete`` set, or make True its default.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_cerebras.operators.model_versions import CerebrasPruneModelVersionsOperator

with DAG(
    "prune_weekly",
    schedule="0 6 * * 1",
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params={"delete": Param(False, type="boolean", description="Delete, instead of saying what would be deleted.")},
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["cerebras", "example"],
    doc_md=__doc__,
) as dag:
    CerebrasPruneModelVersionsOperator(
        task_id="prune",
        model_arch_id="gpt-oss-120b",
        keep_last=5,
        keep_aliases=["production*", "legal-hold-*"],
        dry_run="{{ not params.delete }}",
    )

"""Give a version an alias and take one away, whatever others it has."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_cerebras.operators.model_versions import CerebrasUpdateModelVersionAliasesOperator

with DAG(
    "change_aliases",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    params={"model_version": Param("orgs/my-org/models/gpt-oss-120b/versions/latest", type="string")},
) as dag:
    # [aliases]
    retain = CerebrasUpdateModelVersionAliasesOperator(
        task_id="retain", model_version="{{ params.model_version }}", add=["legal-hold-2026"], remove=["candidate"]
    )

"""Delete one version that is not in use."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_cerebras.operators.model_versions import CerebrasDeleteModelVersionOperator

with DAG(
    "delete_version",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    params={"model_version": Param("orgs/my-org/models/gpt-oss-120b/versions/1", type="string")},
) as dag:
    # [delete]
    delete = CerebrasDeleteModelVersionOperator(task_id="delete", model_version="{{ params.model_version }}")

"""Release weights once a person has approved them in Airflow's UI. Needs Airflow 3.1 and the standard provider.

Trigger it with the folder of the weights; the approval is asked for when they are synced, and waits for a day. Who is
asked sees the version and what serves now. If it is refused, the run fails, and its record names who refused.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_cerebras.task_groups import cerebras_release

with DAG(
    "release_with_approval",
    schedule=None,
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    params={"weight_uri": Param("s3://my-bucket/fine-tunes/candidate", type="string", pattern="^s3://.+")},
    tags=["cerebras", "example"],
    doc_md=__doc__,
) as dag:
    cerebras_release(
        model_arch_id="gpt-oss-120b",
        weight_uri="{{ params.weight_uri }}",
        endpoint_id="my-org-gpt-oss-120b",
        alias="production",
        messages=[{"role": "user", "content": "Repeat after me: the sky is blue."}],
        expect="the sky is blue",
        approval=True,
        approve={"subject": "May these weights serve?", "response_timeout": timedelta(days=1)},
    )

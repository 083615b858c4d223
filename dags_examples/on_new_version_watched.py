"""Start a DAG when the alias `production` moves, no matter which client moved it: a DAG, a script, a person.

The triggerer watches the service (Airflow 3.0 and later). `MODEL` is an asset of its own: were it `model_asset(...)`,
to which tasks send events as well, what a task has made would be told twice.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator
from airflow_provider_cerebras.triggers.events import CerebrasModelVersionEventTrigger

MODEL = Asset(
    "production of gpt-oss-120b",
    watchers=[
        AssetWatcher(
            name="moved",
            trigger=CerebrasModelVersionEventTrigger(
                org_name="my-org", model_arch_id="gpt-oss-120b", alias="production", poll_interval=60
            ),
        )
    ],
)

with DAG(
    "on_new_version_watched",
    schedule=[MODEL],
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["cerebras", "example"],
    doc_md=__doc__,
) as dag:

    @task
    def newest(**context: Any) -> str:
        """The version that the alias stands for. Events that came close together start one run; the last one counts."""
        return str(context["triggering_asset_events"][MODEL][-1].extra["payload"]["model_version"])

    # Had the same event come twice, there would be nothing to do: the version serves already.
    CerebrasDeployModelOperator(
        task_id="deploy",
        endpoint_id="my-org-gpt-oss-120b",
        model_version=newest(),
        wait_for_completion=True,
        deferrable=True,
    )

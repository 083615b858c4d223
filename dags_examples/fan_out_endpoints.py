"""One version to several endpoints: first to a canary, and when that answers as expected, to all the others.

Each endpoint is verified, and goes back by itself if its rollout or its verification fails. Those that succeeded keep
the version: the last task says which do and which do not, and fails unless all have it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor
from airflow_provider_cerebras.task_groups import cerebras_release

CANARY = "my-org-gpt-oss-120b"
OTHERS = {"eu": "my-org-gpt-oss-120b-eu", "us": "my-org-gpt-oss-120b-us"}
CHECK: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Repeat after me: the sky is blue."}],
    "expect": "the sky is blue",
}

with DAG(
    "fan_out_endpoints",
    schedule=None,
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    params={"model_version": Param("orgs/my-org/models/gpt-oss-120b/versions/latest", type="string")},
    tags=["cerebras", "example"],
    doc_md=__doc__,
) as dag:

    @task(trigger_rule="all_done")
    def summary(**context: Any) -> dict[str, str]:
        """Say of each endpoint how its release ended and what serves there now."""
        records = context["ti"].xcom_pull(task_ids=[f"{name}.conclude" for name in ("canary", *OTHERS)])
        ended = {each["endpoint_id"]: f"{each['outcome']}, {each['serves_now']} serves" for each in records if each}
        if len(ended) < 1 + len(OTHERS) or any(not end.startswith("released") for end in ended.values()):
            raise ValueError(f"Not every endpoint has the version: {ended}")
        return ended

    # Resolves the alias once: all endpoints get the same version, wherever the alias moves meanwhile.
    version = CerebrasModelVersionSensor(
        task_id="version", model_version="{{ params.model_version }}", deferrable=True
    ).output
    canary = cerebras_release(group_id="canary", model_version=version, endpoint_id=CANARY, **CHECK)
    others = [
        cerebras_release(group_id=region, model_version=canary.model_version, endpoint_id=endpoint_id, **CHECK)
        for region, endpoint_id in OTHERS.items()
    ]
    canary >> others >> summary()

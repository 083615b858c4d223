"""One version to several endpoints: first to a canary, and when that answers as expected, to all the others.

The others are deployed by dynamic task mapping, two at a time; each is rolled back by itself if its rollout fails.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator, CerebrasVerifyEndpointOperator
from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor

CANARY = "my-org-gpt-oss-120b"
OTHERS = ["my-org-gpt-oss-120b-eu", "my-org-gpt-oss-120b-us"]

with DAG(
    "fan_out_endpoints",
    schedule=None,
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    default_args={
        "retries": 2,
        "retry_delay": timedelta(minutes=5),
        "wait_for_completion": True,
        "deferrable": True,
        "rollback_on_failure": True,
    },
    params={"model_version": Param("orgs/my-org/models/gpt-oss-120b/versions/latest", type="string")},
    tags=["cerebras", "example"],
    doc_md=__doc__,
) as dag:
    # Resolves the alias once: all endpoints get the same version, wherever the alias moves meanwhile.
    version = CerebrasModelVersionSensor(
        task_id="version", model_version="{{ params.model_version }}", deferrable=True
    ).output
    canary = CerebrasDeployModelOperator(task_id="canary", endpoint_id=CANARY, model_version=version)
    verify = CerebrasVerifyEndpointOperator(
        task_id="verify", endpoint_id=CANARY, messages=[{"role": "user", "content": "Say hello."}]
    )
    others = CerebrasDeployModelOperator.partial(
        task_id="others", model_version=version, max_active_tis_per_dag=2
    ).expand(endpoint_id=OTHERS)
    canary >> verify >> others

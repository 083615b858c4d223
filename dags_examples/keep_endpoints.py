"""Every hour: say which endpoints serve something else than they are to, and deploy it only if a parameter says so.

As it stands, a run deploys nothing: the report is in the log of `plan`, and in its XCom. Trigger the DAG with the
parameter `reconcile` set, or make True its default, and what is missing is deployed. An endpoint on which a
rollout of another client is under way is reported and not changed.

`max_active_runs=1` lets one run reconcile at a time: the next one sees what this one has begun.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator
from airflow_provider_cerebras.operators.planning import CerebrasPlanEndpointsOperator

MODEL = "orgs/my-org/models/gpt-oss-120b"

with DAG(
    "keep_endpoints",
    schedule="0 * * * *",
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params={"reconcile": Param(False, type="boolean", description="Deploy, instead of saying what would be deployed.")},
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["cerebras", "example"],
    doc_md=__doc__,
) as dag:
    plan = CerebrasPlanEndpointsOperator(
        task_id="plan",
        desired={
            "my-org-gpt-oss-120b": f"{MODEL}/versions/production",
            "my-org-gpt-oss-120b-staging": f"{MODEL}/versions/latest",
        },
    )

    @task
    def to_deploy(planned: Any, **context: Any) -> list[dict[str, str]]:
        """All that is planned, if the run is to reconcile."""
        return list(planned) if context["params"]["reconcile"] else []

    CerebrasDeployModelOperator.partial(
        task_id="deploy", wait_for_completion=True, deferrable=True, rollback_on_failure=True
    ).expand_kwargs(to_deploy(plan.output))

"""Deploy a version only for good if it is not worse than the one that served before, case by case."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator
from airflow_provider_cerebras.operators.evaluation import CerebrasEvaluateEndpointOperator

with DAG(
    "gate_a_release",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    params={
        "model_version": Param("orgs/my-org/models/gpt-oss-120b/versions/latest", type="string"),
        # Or, for example, "s3://aws_default@my-bucket/evaluations/cases.jsonl".
        "cases": Param(str(Path(__file__).with_name("cases.jsonl")), type="string"),
    },
) as dag:
    # [baseline]
    evaluate_baseline = CerebrasEvaluateEndpointOperator(
        task_id="evaluate_baseline",
        endpoint_id="my-org-gpt-oss-120b",
        dataset="{{ params.cases }}",
        scorers=["contains"],
        chat_params={"temperature": 0},
    )
    # [deploy]
    deploy = CerebrasDeployModelOperator(
        task_id="deploy",
        endpoint_id="my-org-gpt-oss-120b",
        model_version="{{ params.model_version }}",
        wait_for_completion=True,
        deferrable=True,
    )
    # [evaluate]
    evaluate = CerebrasEvaluateEndpointOperator(
        task_id="evaluate",
        endpoint_id="my-org-gpt-oss-120b",
        dataset="{{ params.cases }}",
        scorers=["contains"],
        chat_params={"temperature": 0},
        model_version="{{ params.model_version }}",
        require={"pass_rate": 0.9, "tag:safety": 1.0, "latency_p95": 30},
        baseline=evaluate_baseline.output,
        max_regression=0.01,
    )
    # [end]
    evaluate_baseline >> deploy >> evaluate

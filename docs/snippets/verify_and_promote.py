"""Check that an endpoint serves a version and answers as it should; only then move the alias that others go by."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_cerebras.operators.endpoints import CerebrasVerifyEndpointOperator
from airflow_provider_cerebras.operators.model_versions import CerebrasPromoteModelVersionOperator

with DAG(
    "verify_and_promote",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    params={"model_version": Param("orgs/my-org/models/gpt-oss-120b/versions/latest", type="string")},
) as dag:
    # [verify]
    verify = CerebrasVerifyEndpointOperator(
        task_id="verify",
        endpoint_id="my-org-gpt-oss-120b",
        messages=[
            [{"role": "user", "content": "Answer with one word: what is the capital of France?"}],
            [{"role": "user", "content": "Say hello."}],
        ],
        expect=re.compile(r"\w"),  # or a string, or a function
        max_latency=30,
        settle_timeout=120,
        chat_params={"temperature": 0, "max_completion_tokens": 256},
        model_version="{{ params.model_version }}",  # this one must serve
    )
    # [promote]
    promote = CerebrasPromoteModelVersionOperator(
        task_id="promote",
        model_version="{{ ti.xcom_pull(task_ids='verify')['model_version'] }}",
        alias="production",
    )
    # [end]
    verify >> promote

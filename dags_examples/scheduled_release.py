"""Every Sunday: release the newest weights, check what the endpoint says, and go back if it is not as expected.

Set the connection `cerebras_default` (with `inference_api_key`) and the constants below.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_cerebras.task_groups import cerebras_release

with DAG(
    "scheduled_release",
    schedule="@weekly",
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["cerebras", "example"],
    doc_md=__doc__,
) as dag:

    @task
    def announce(model_version: object) -> None:
        """What comes after a release that succeeded."""
        print(f"{model_version} serves.")

    release = cerebras_release(
        model_arch_id="gpt-oss-120b",
        weight_uri="s3://my-bucket/fine-tunes/{{ ds }}",
        endpoint_id="my-org-gpt-oss-120b",
        alias="production",
        system_fingerprint_suffix="{{ ds_nodash }}",
        messages=[{"role": "user", "content": "Answer with one word: what is two plus two?"}],
        expect=re.compile(r"\S"),
        wait_for_sync={"timeout": 12 * 3600},
        verify={"max_latency": 30, "chat_params": {"temperature": 0, "max_completion_tokens": 256}},
    )
    release >> announce(release.model_version)

"""Every Sunday: release the newest weights, check and evaluate what the endpoint says, and go back if it is worse.

What serves is evaluated by the same cases before, so a version that answers fewer of them does not stay. If the
release fails, one sentence says why, what serves and what to do. Set the connection `cerebras_default` (with
`inference_api_key`) and the constants below.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, BaseNotifier, task

from airflow_provider_cerebras.task_groups import cerebras_release

# In earnest, some hundred cases in a file: "s3://aws_default@my-bucket/cases.jsonl".
WORDS = ("apple", "bridge", "cloud", "desert", "engine", "forest", "garden", "harbour")
CASES: list[dict[str, Any]] = [
    {"id": word, "messages": [{"role": "user", "content": f"Repeat this word: {word}"}], "expected": word}
    for word in WORDS
]


class Notify(BaseNotifier):
    """Stands for a notifier of a provider, such as `SlackNotifier(text="...")`.

    :param text: what to say, templated; `exception` is the one sentence of the release.
    """

    template_fields = ("text",)

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def notify(self, context: Any) -> None:
        """Tell people."""
        print(self.text)


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
        messages=[{"role": "user", "content": "Repeat after me: the sky is blue."}],
        expect=re.compile(r"\bsky is blue\b", re.IGNORECASE),
        evaluate={"dataset": CASES, "scorers": ["contains"], "require": {"pass_rate": 0.9}, "max_regression": 0.01},
        wait_for_sync={"timeout": 12 * 3600},
        verify={"max_latency": 30, "chat_params": {"temperature": 0, "max_completion_tokens": 256}},
        conclude={"on_failure_callback": Notify("A release has failed. {{ exception }}")},
    )
    release >> announce(release.model_version)

"""What no operator does: call the API by the hook, in a task of your own."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_cerebras.hooks.cerebras import CerebrasHook

with DAG("ask_the_api", schedule="@daily", start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False) as dag:
    # [hook]
    @task
    def versions() -> list[str]:
        """Say which versions there are, and which aliases they have."""
        hook = CerebrasHook(cerebras_conn_id="cerebras_default")
        found = hook.list_model_versions("gpt-oss-120b")
        return [f"{version.name}: {', '.join(version.details.version_aliases or ['none told'])}" for version in found]

    # [end]
    versions()

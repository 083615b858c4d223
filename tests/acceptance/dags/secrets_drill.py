"""Releases that succeed and that fail, against services that repeat whatever they were sent."""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator, CerebrasVerifyEndpointOperator
from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator
from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor

ARCH, ENDPOINT = "gpt-oss-120b", "my-org-gpt-oss-120b"
VERSION = f"orgs/my-org/models/{ARCH}/versions/1"
WAITING: dict[str, Any] = {"wait_for_completion": True, "deferrable": True, "poll_interval": 1}
EVERYTHING: dict[str, Any] = {"start_date": datetime(2025, 1, 1, tzinfo=UTC), "schedule": None, "catchup": False}

# One release by a connection of the environment, and one by a connection of the database.
for dag_id, conn_id in (("by_environment", "cerebras_default"), ("by_database", "in_database")):
    with DAG(dag_id, **EVERYTHING, default_args={"cerebras_conn_id": conn_id}):
        upload = CerebrasUploadModelVersionOperator(
            task_id="upload", model_arch_id=ARCH, weight_uri=f"s3://my-bucket/{dag_id}", **WAITING
        )
        deploy = CerebrasDeployModelOperator(
            task_id="deploy", endpoint_id=ENDPOINT, model_version=upload.output, **WAITING
        )
        verify = CerebrasVerifyEndpointOperator(
            task_id="verify", endpoint_id=ENDPOINT, messages=[{"role": "user", "content": "hello"}], log_content=True
        )

        @task
        def test_connection(conn_id: str) -> list[object]:
            return list(CerebrasHook(cerebras_conn_id=conn_id).test_connection())

        @task
        def crash(conn_id: str) -> None:
            """Fail in a frame whose variables hold what must not be told."""
            client = CerebrasHook(cerebras_conn_id=conn_id).get_conn()
            settings = client.settings
            raise RuntimeError(f"{client!r} {settings!r}")

        deploy >> verify >> [test_connection(conn_id), crash(conn_id)]

with DAG("by_echoes", **EVERYTHING):
    for echo in json.loads(os.environ["ECHOES"]):
        CerebrasUploadModelVersionOperator(
            task_id=f"upload_{echo}", model_arch_id=ARCH, weight_uri="s3://my-bucket/x", cerebras_conn_id=f"echo_{echo}"
        )
        # It is deferred after the first look, so the triggerer receives the echo too.
        CerebrasModelVersionSensor(
            task_id=f"synced_{echo}",
            model_version=VERSION,
            cerebras_conn_id=f"echo_{echo}",
            deferrable=True,
            poke_interval=1,
            timeout=3,
        )

with DAG("canary", **EVERYTHING):

    @task
    def sing(parts: list[str]) -> str:
        song = "-".join(parts)
        logging.getLogger(__name__).info("singing %s", song)
        return song

    # In pieces, since Airflow stores the source of this file.
    sing(["canary", "of", "the", "running", "airflow", "0b7d"])

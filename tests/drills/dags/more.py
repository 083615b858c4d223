"""More DAGs of the drills: a release of a version that is there, a prune, each kind of wait, and watchers.

``conf`` of a run: ``connection``, and ``endpoint_id``, ``model_version``, ``deployment_id`` or ``weight_uri``, whatever
the task takes.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator
from airflow_provider_cerebras.operators.model_versions import (
    CerebrasPruneModelVersionsOperator,
    CerebrasUploadModelVersionOperator,
)
from airflow_provider_cerebras.sensors.endpoints import CerebrasDeploymentSensor
from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor
from airflow_provider_cerebras.task_groups import cerebras_release
from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_3_PLUS

ARCHITECTURE = "gpt-oss-120b"
WAIT_SECONDS = 1800
DAG_ARGUMENTS: dict[str, Any] = {
    "schedule": None,
    "start_date": datetime(2025, 1, 1, tzinfo=UTC),
    "default_args": {"retries": 10, "retry_delay": timedelta(0)},
}


def conf(name: str) -> str:
    return f"{{{{ dag_run.conf['{name}'] }}}}"


with DAG("release_version", **DAG_ARGUMENTS) as release_version:
    cerebras_release(
        group_id="release",
        model_version=conf("model_version"),
        endpoint_id=conf("endpoint_id"),
        cerebras_conn_id=conf("connection"),
        # Two releases on one endpoint are what the drill is about.
        deploy={"max_active_tis_per_dag": 64},
        wait_for_rollout={"poke_interval": 1, "timeout": WAIT_SECONDS},
        roll_back={"max_active_tis_per_dag": 64, "poll_interval": 1},
    )

with DAG("prune", **DAG_ARGUMENTS) as prune:
    CerebrasPruneModelVersionsOperator(
        task_id="task", model_arch_id=ARCHITECTURE, keep_last=1, cerebras_conn_id=conf("connection")
    )

OPERATORS: dict[str, tuple[Any, dict[str, Any]]] = {
    "upload": (
        CerebrasUploadModelVersionOperator,
        {"model_arch_id": ARCHITECTURE, "weight_uri": conf("weight_uri")},
    ),
    "deploy": (
        CerebrasDeployModelOperator,
        {
            "endpoint_id": conf("endpoint_id"),
            "model_version": conf("model_version"),
            "max_active_tis_per_dag": 64,
        },
    ),
}
SENSORS: dict[str, tuple[Any, dict[str, Any]]] = {
    "version": (CerebrasModelVersionSensor, {"model_version": conf("model_version")}),
    "deployment": (
        CerebrasDeploymentSensor,
        {"endpoint_id": conf("endpoint_id"), "deployment_id": conf("deployment_id")},
    ),
}
OPERATOR_MODES: dict[str, dict[str, Any]] = {"blocking": {"deferrable": False}, "deferred": {"deferrable": True}}
SENSOR_MODES: dict[str, dict[str, Any]] = {
    "poke": {"deferrable": False, "mode": "poke"},
    "reschedule": {"deferrable": False, "mode": "reschedule"},
    "deferred": {"deferrable": True},
}
WAITS = {
    **{
        f"wait_{kind}_{mode}": (
            operator,
            {**given, **how, "wait_for_completion": True, "poll_interval": 1, "timeout": WAIT_SECONDS},
        )
        for kind, (operator, given) in OPERATORS.items()
        for mode, how in OPERATOR_MODES.items()
    },
    **{
        f"wait_{kind}_{mode}": (sensor, {**given, **how, "poke_interval": 1, "timeout": WAIT_SECONDS})
        for kind, (sensor, given) in SENSORS.items()
        for mode, how in SENSOR_MODES.items()
    },
}

for dag_id, (operator, arguments) in WAITS.items():
    with DAG(dag_id, **DAG_ARGUMENTS) as dag:
        operator(task_id="task", cerebras_conn_id=conf("connection"), **arguments)
    globals()[dag_id] = dag

if AIRFLOW_V_3_3_PLUS:
    from airflow.sdk import Asset, AssetWatcher

    from airflow_provider_cerebras.triggers.events import (
        CerebrasEndpointEventTrigger,
        CerebrasModelVersionEventTrigger,
    )

    for connection in os.environ["DRILL_WATCHED"].split():
        watchers: dict[str, Any] = {
            "versions": CerebrasModelVersionEventTrigger(
                org_name="my-org", model_arch_id=ARCHITECTURE, poll_interval=1, cerebras_conn_id=connection
            ),
            "endpoint": CerebrasEndpointEventTrigger(
                endpoint_id=f"my-org-{ARCHITECTURE}",
                events=("serving_changed",),
                poll_interval=1,
                cerebras_conn_id=connection,
            ),
        }
        for what, trigger in watchers.items():
            asset = Asset(f"{what}-{connection}", watchers=[AssetWatcher(name="watcher", trigger=trigger)])
            # The events are what is counted. What they start is of no interest.
            with DAG(f"on_{what}_{connection}", **{**DAG_ARGUMENTS, "schedule": [asset]}) as dag:
                pass
            globals()[dag.dag_id] = dag

"""The DAGs of the drills: the provider's operators, in processes that say who they are and stop when told to.

``conf`` of a run: ``connection``, what the operator takes, and ``stop``: the instant at which the first attempt that
gets there stops for good. It leaves a file then; what ends it is a SIGKILL.
"""

from __future__ import annotations

import os
import time
import traceback
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cerebras.durable.task_state import TaskState
from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator
from airflow_provider_cerebras.operators.model_versions import (
    CerebrasPromoteModelVersionOperator,
    CerebrasUploadModelVersionOperator,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cerebras.operators._base import CerebrasOperator

SIGNALS = Path(os.environ["DRILL_SIGNALS"])
STOPPED_SECONDS = 300
ARGUMENTS: dict[str, Any] = {"task_id": "task", "wait_for_completion": True, "poll_interval": 0.5, "timeout": 300}


class Instants:
    """Where a run stops, once: at the first time that an attempt gets so far.

    That need not be the first attempt: on a busy machine Airflow may call it failed before it is resumed.
    """

    def __init__(self, context: Context) -> None:
        ti: Any = context["ti"]
        self._run_id = ti.run_id
        self._stop = context["dag_run"].conf.get("stop")  # type: ignore[union-attr]
        self._leave("pid", str(os.getpid()))

    def reach(self, instant: str) -> None:
        if instant != self._stop or (SIGNALS / f"{self._run_id}.{instant}").exists():
            return
        self._leave(instant, "")
        time.sleep(STOPPED_SECONDS)
        raise RuntimeError(f"This process was not killed in the {STOPPED_SECONDS} s since it stopped at {instant}.")

    @contextmanager
    def failure_told(self) -> Iterator[None]:
        """Leave a file if the attempt fails by itself, for Airflow has other reasons, too, to try again."""
        try:
            yield
        except Exception:
            self._leave("failure", traceback.format_exc())
            raise

    def _leave(self, name: str, content: str) -> None:
        path = SIGNALS / f"{self._run_id}.{name}"
        unfinished = path.with_name(f"{path.name}.new")
        unfinished.write_text(content)
        unfinished.replace(path)


def stoppable(operator: type[CerebrasOperator]) -> type[CerebrasOperator]:
    """Derive an operator that stops where it is told to."""

    # No mixin: Airflow 2.11 gives `execute` an argument that it takes off again in subclasses of BaseOperator only.
    class Stoppable(operator):  # type: ignore[misc, valid-type]
        def execute(self, context: Context) -> Any:
            self._instants = instants = Instants(context)
            note = TaskState.update

            def note_later(task_state: TaskState, **notes: str) -> None:
                # What served before and the generation are noted ahead of the submission, all else after it.
                if not notes.keys() & {"served_before", "generation"}:
                    instants.reach("answered")
                note(task_state, **notes)

            TaskState.update = note_later  # type: ignore[assignment, method-assign]
            with instants.failure_told():
                return super().execute(context)

        def execute_complete(self, context: Context, event: object = None) -> Any:
            instants = Instants(context)
            instants.reach("resumed")
            with instants.failure_told():
                return super().execute_complete(context, event)

        def _wait(self, watch: Any, context: Context) -> Any:
            self._instants.reach("recorded")
            return super()._wait(watch, context)

    return Stoppable


Upload = stoppable(CerebrasUploadModelVersionOperator)
Deploy = stoppable(CerebrasDeployModelOperator)
Promote = stoppable(CerebrasPromoteModelVersionOperator)


def conf(name: str) -> str:
    return f"{{{{ dag_run.conf['{name}'] }}}}"


for mode in ("blocking", "deferrable"):
    for operation in ("upload", "deploy", "upload_delete_on_kill"):
        with DAG(
            f"{operation}_{mode}",
            schedule=None,
            start_date=datetime(2025, 1, 1, tzinfo=UTC),
            default_args={"retries": 10, "retry_delay": timedelta(0)},
        ) as dag:
            arguments = {**ARGUMENTS, "cerebras_conn_id": conf("connection"), "deferrable": mode == "deferrable"}
            if operation == "deploy":
                # Each run has an endpoint of its own, so they need not wait for each other.
                Deploy(
                    endpoint_id=conf("endpoint_id"),
                    model_version=conf("model_version"),
                    max_active_tis_per_dag=64,
                    **arguments,
                )
            else:
                Upload(
                    model_arch_id="gpt-oss-120b",
                    weight_uri=conf("weight_uri"),
                    delete_on_kill=operation == "upload_delete_on_kill",
                    **arguments,
                )
        globals()[dag.dag_id] = dag

with DAG(
    "upload_execution_timeout",
    schedule=None,
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    default_args={"retries": 10, "retry_delay": timedelta(0)},
) as timeout_dag:
    Upload(
        model_arch_id="gpt-oss-120b",
        weight_uri=conf("weight_uri"),
        delete_on_kill=True,
        execution_timeout=timedelta(seconds=25),
        cerebras_conn_id=conf("connection"),
        deferrable=False,
        **ARGUMENTS,
    )

with DAG(
    "promote",
    schedule=None,
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    default_args={"retries": 10, "retry_delay": timedelta(0)},
) as promote_dag:
    Promote(task_id="task", model_version=conf("model_version"), alias="prod", cerebras_conn_id=conf("connection"))

"""The checks of ``doctor`` in Airflow's database: whether a triggerer is alive, and how DAGs use the provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

if TYPE_CHECKING:
    from collections.abc import Iterator

    Found = tuple[str, str, str, str]

_PACKAGE = "airflow_provider_cerebras"
_ROLLOUTS = ("CerebrasDeployModelOperator", "CerebrasRollbackEndpointOperator")
_MAX_NAMED = 10
_NO_TASK = "Airflow's database has no task that uses the provider."


def examine() -> Iterator[Found]:
    """Make the checks; each gives the check's name, the level, what was found, and the remedy."""
    try:
        from airflow.models.serialized_dag import SerializedDagModel
        from airflow.utils.session import create_session

        with create_session() as session:
            yield _triggerer(session)
            dags = SerializedDagModel.read_all_dags(session=session)
        tasks = [task for dag in dags.values() for task in dag.tasks if _is_ours(task)]
        yield _retries(tasks)
        yield _pools(tasks)
    except Exception as error:  # noqa: BLE001  without a database, or with one of another version, the rest still counts
        words = str(error).splitlines()[0] if str(error) else type(error).__name__
        yield (
            "Airflow",
            "warning",
            f"Its database cannot be read ({words}).",
            "Run the command where the scheduler runs; the triggerer and the DAGs were not checked.",
        )


def _triggerer(session: Any) -> Found:
    from airflow.jobs.job import most_recent_job

    job = most_recent_job("TriggererJob", session=session)
    if job is not None and job.is_alive():
        return ("triggerer", "ok", "One is alive.", "")
    found = "None has ever run." if job is None else f"The last heartbeat was at {job.latest_heartbeat}."
    level = "error" if conf.getboolean("operators", "default_deferrable", fallback=False) else "warning"
    return ("triggerer", level, found, "Start `airflow triggerer`; a task that defers waits for one.")


def _is_ours(task: Any) -> bool:
    return str(getattr(task, "task_module", None) or getattr(task, "_task_module", "")).startswith(_PACKAGE)


def _retries(tasks: list[Any]) -> Found:
    if not tasks:
        return ("retries", "ok", _NO_TASK, "")
    without = [task for task in tasks if task.task_type.endswith("Operator") and not task.retries]
    if without:
        remedy = "Set retries to 2 or more: a retry adopts what an earlier attempt has made."
        return ("retries", "warning", f"Tasks without retries: {_named(without)}.", remedy)
    return ("retries", "ok", f"Of {len(tasks)} tasks that use the provider, every operator has some.", "")


def _pools(tasks: list[Any]) -> Found:
    if not tasks:
        return ("pool", "ok", _NO_TASK, "")
    rollouts = [task for task in tasks if task.task_type in _ROLLOUTS]
    shared = [task for task in rollouts if task.pool == "default_pool"]
    if shared:
        remedy = "Give tasks that roll out onto one endpoint a pool with one slot, and their DAGs max_active_runs=1."
        return ("pool", "warning", f"Rollouts in the default pool: {_named(shared)}.", remedy)
    return ("pool", "ok", f"Of {len(rollouts)} rollouts none is in the default pool.", "")


def _named(tasks: list[Any]) -> str:
    names = [f"{task.dag_id}.{task.task_id}" for task in tasks]
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + more

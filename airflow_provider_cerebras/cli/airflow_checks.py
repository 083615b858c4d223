"""The checks of ``doctor`` in Airflow's database: whether a triggerer is alive, and how DAGs use the provider."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_2_PLUS

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    Found = tuple[str, str, str, str]

_MAX_NAMED = 10
_NO_TASK = "Airflow's database has no task that uses the provider."
# A task in the database has its class by name only, which may be a subclass; but it has the names of its arguments.
_OURS = "cerebras_conn_id"
_ROLLOUT = frozenset({"endpoint_id", "durable", "wait_for_completion"})
_UPLOAD = "weight_uri"
_SENSOR = "poke_interval"
_ROLLBACK = "to"


def examine() -> Iterator[Found]:
    """Make the checks; each gives the check's name, the level, what was found, and the remedy."""
    checks = {"triggerer": _check_triggerer, "DAGs": _check_dags}
    for what, check in checks.items():
        try:
            yield from check()
        except Exception as error:  # noqa: BLE001  without a database, or with one of another version, the rest still counts
            words = str(error).splitlines()[0] if str(error) else type(error).__name__
            remedy = (
                "Run the command where the scheduler runs; where there are no tables yet, `airflow db migrate` first."
            )
            yield ("Airflow", "warning", f"Its database does not show the {what} ({words}).", remedy)


def _check_triggerer() -> Iterator[Found]:
    from airflow.jobs.job import most_recent_job
    from airflow.utils.session import create_session

    with create_session() as session:
        job = most_recent_job("TriggererJob", session=session)
    if job is not None and job.is_alive():
        yield ("triggerer", "ok", "One is alive.", "")
        return
    found = "None has ever run." if job is None else f"The last heartbeat was at {job.latest_heartbeat}."
    level = "error" if conf.getboolean("operators", "default_deferrable", fallback=False) else "warning"
    yield ("triggerer", level, found, "Start `airflow triggerer`; a task that defers waits for one.")


def _check_dags() -> Iterator[Found]:
    from airflow.models.dag import DagModel
    from airflow.models.pool import Pool
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.utils.session import create_session

    is_there = ~DagModel.is_stale if AIRFLOW_V_3_0_PLUS else DagModel.is_active
    with create_session() as session:
        there = {row.dag_id for row in session.query(DagModel.dag_id).filter(is_there)}
        dags = SerializedDagModel.read_all_dags(session=session)
        # In those one task is at work at a time, a deferred one too.
        serial = {row.pool for row in session.query(Pool.pool).filter(Pool.slots == 1, Pool.include_deferred)}
    tasks = [(dag, task) for dag in dags.values() if dag.dag_id in there for task in dag.tasks if _is_ours(task)]
    yield _retries([task for _, task in tasks])
    yield _overlaps(tasks, serial)


def _is_ours(task: Any) -> bool:
    return _OURS in task.template_fields


def _rolls_out(task: Any) -> bool:
    # A rollback, which a person may begin at any time, is meant to come between.
    return set(task.template_fields) >= _ROLLOUT and not {_UPLOAD, _ROLLBACK} & set(task.template_fields)


def _retries(tasks: list[Any]) -> Found:
    if not tasks:
        return ("retries", "ok", _NO_TASK, "")
    without = [task for task in tasks if _SENSOR not in task.template_fields and not task.retries]
    if without:
        remedy = "Set retries to 2 or more: a retry adopts what an earlier attempt has made."
        return ("retries", "warning", f"Tasks without retries: {_named(without)}.", remedy)
    return ("retries", "ok", f"Of {len(tasks)} tasks that use the provider, every operator has some.", "")


def _overlaps(tasks: list[tuple[Any, Any]], serial_pools: Container[str]) -> Found:
    """Find rollouts of different runs or DAGs that nothing keeps from being under way on one endpoint at a time.

    :param tasks: the tasks that use the provider, each after its DAG.
    :param serial_pools: names of pools in which one task is at work at a time.
    """
    if not tasks:
        return ("overlap", "ok", _NO_TASK, "")
    rollouts = [(dag, task) for dag, task in tasks if _rolls_out(task)]
    overlapping = [
        task
        for dag, task in rollouts
        if dag.max_active_runs != 1 and not (_waits(task) and (_is_alone(task) or task.pool in serial_pools))
    ]
    by_endpoint = defaultdict(list)
    for _, task in rollouts:
        endpoint_id = _argument(task, "endpoint_id")
        # What a template stands for is known in a run only.
        if isinstance(endpoint_id, str) and "{" not in endpoint_id:
            by_endpoint[endpoint_id].append(task)
    for onto_one in by_endpoint.values():
        pools = {task.pool if _waits(task) else None for task in onto_one}
        if len({task.dag_id for task in onto_one}) > 1 and not (len(pools) == 1 and pools.pop() in serial_pools):
            overlapping += [task for task in onto_one if task not in overlapping]
    if overlapping:
        found = f"Rollouts that may be under way on one endpoint at the same time: {_named(overlapping)}."
        remedy = (
            "Set max_active_runs=1, and let one DAG release to an endpoint; or give tasks that deploy and wait a pool "
            "with one slot that counts deferred tasks."
        )
        return ("overlap", "warning", found, remedy)
    found = f"Of {len(rollouts)} rollouts none was found that may overlap with one of another run or DAG."
    return ("overlap", "ok", found, "")


def _argument(task: Any, name: str) -> Any:
    """An argument of a task; None: a mapped task is given it by what other tasks return."""
    given = getattr(task, name, None)
    return getattr(task, "partial_kwargs", {}).get(name) if given is None else given


def _waits(task: Any) -> bool:
    """Whether a task is at work until its rollout has ended, as far as is known without a run."""
    return _argument(task, "wait_for_completion") is True


def _is_alone(task: Any) -> bool:
    # Below 3.2 Airflow does not count a task that is deferred.
    return AIRFLOW_V_3_2_PLUS and task.max_active_tis_per_dag == 1


def _named(tasks: list[Any]) -> str:
    names = [f"{task.dag_id}.{task.task_id}" for task in tasks]
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + more

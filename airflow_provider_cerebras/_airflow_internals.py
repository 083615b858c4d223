"""Private names of Airflow that this package uses, each in one place.

Where one of these is gone or fails, the caller learns that the state is unknown, which is logged; and what is not
known is not acted on. ``tests/unit/test_airflow_internals.py`` says on a new Airflow which of them is gone.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_0_PLUS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ASKING_TAKES = 3.0


class TaskStateUnknown(Exception):
    """Airflow did not say which state a task is in; the message says why."""


class TaskKey(NamedTuple):
    """The task instance."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int


def look_into_database() -> None:
    """Let this process find connections in Airflow's database too, as Airflow's own commands do (3.2 and later)."""
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"


def task_key(ti: Any) -> TaskKey:
    """Return which task a task instance is of.

    :param ti: what Airflow gives an operator or a trigger; None: nothing.
    :raises TaskStateUnknown: if it does not say.
    """
    try:
        return TaskKey(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
    except AttributeError as error:
        raise TaskStateUnknown(f"Airflow did not say which task this is ({error}).") from error


def triggers_task(trigger: object) -> TaskKey:
    """Return the task that waits for a trigger (Airflow 3.3 and later set it).

    :param trigger: the trigger.
    :raises TaskStateUnknown: if Airflow does not say.
    """
    return task_key(getattr(trigger, "task_instance", None))


def ask_task_state(key: TaskKey) -> str | None:
    """Ask Airflow's database for the state of a task; None: it has none, as after a clear.

    This blocks.

    :param key: which task.
    :raises TaskStateUnknown: if Airflow cannot be asked, or does not know the task.
    """
    ask = _ask_supervisor if AIRFLOW_V_3_0_PLUS else _ask_database
    try:
        states = ask(key)
    except Exception as error:
        raise TaskStateUnknown(f"Airflow cannot be asked ({type(error).__name__}: {error}).") from error
    if len(states) != 1:
        raise TaskStateUnknown(f"Airflow knows {len(states)} tasks of this name.")
    state = states[0]
    return None if state is None else str(getattr(state, "value", state))


def ask_task_state_in_time(key: TaskKey, seconds: float = _ASKING_TAKES) -> str | None:
    """Ask as :func:`ask_task_state` does, from a signal handler.

    The handler may have interrupted this very process while it held a lock that asking needs. So another thread asks.

    :param key: which task.
    :param seconds: how long to wait for the result.
    :raises TaskStateUnknown: if no result came in time, or as above.
    """
    return _in_time(lambda: ask_task_state(key), seconds)


def _in_time(ask: Callable[[], str | None], seconds: float) -> str | None:
    answers: list[str | None] = []
    errors: list[TaskStateUnknown] = []

    def run() -> None:
        try:
            answers.append(ask())
        except TaskStateUnknown as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="ask-task-state", daemon=True)
    thread.start()
    thread.join(seconds)
    if answers:
        return answers[0]
    raise errors[0] if errors else TaskStateUnknown(f"Airflow did not answer within {seconds:g} s.")


def _ask_supervisor(key: TaskKey) -> list[Any]:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    # A map index of -1 finds the task that is not mapped.
    states: Any = RuntimeTaskInstance.get_task_states(
        dag_id=key.dag_id, task_ids=[key.task_id], run_ids=[key.run_id], map_index=key.map_index
    )
    return list(states.get(key.run_id, {}).values())


def _ask_database(key: TaskKey) -> list[Any]:
    ti = _find_in_database(key)
    return [] if ti is None else [ti.state]


def _find_in_database(key: TaskKey) -> Any:
    from airflow.models.taskinstance import TaskInstance

    # A function of Airflow 2 that opens a session of its own.
    return TaskInstance.get_task_instance(  # type: ignore[attr-defined,call-arg,unused-ignore]
        dag_id=key.dag_id, run_id=key.run_id, task_id=key.task_id, map_index=key.map_index
    )


def ask_task_states(key: TaskKey, task_ids: Sequence[str]) -> dict[str, str | None]:
    """Ask Airflow's database for the states of tasks of the same run and map index.

    This blocks.

    :param key: the task that asks.
    :param task_ids: ids of the tasks; the result lacks those that Airflow does not know.
    :raises TaskStateUnknown: if Airflow cannot be asked.
    """
    try:
        if AIRFLOW_V_3_0_PLUS:
            states = _states_by_supervisor(key, task_ids)
        else:
            each = {name: _ask_database(key._replace(task_id=name)) for name in task_ids}
            states = {name: found[0] for name, found in each.items() if found}
    except Exception as error:
        raise TaskStateUnknown(f"Airflow cannot be asked ({type(error).__name__}: {error}).") from error
    return {name: None if state is None else str(getattr(state, "value", state)) for name, state in states.items()}


def _states_by_supervisor(key: TaskKey, task_ids: Sequence[str]) -> dict[str, Any]:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    found: Any = RuntimeTaskInstance.get_task_states(
        dag_id=key.dag_id, task_ids=list(task_ids), run_ids=[key.run_id], map_index=key.map_index
    )
    suffix = "" if key.map_index < 0 else f"_{key.map_index}"
    return {name.removesuffix(suffix): state for name, state in found.get(key.run_id, {}).items()}


def task_seconds(key: TaskKey, task_ids: Sequence[str]) -> dict[str, float]:
    """Return the durations of tasks of the same run and map index, in seconds, as far as Airflow reports them.

    :param key: the task that asks.
    :param task_ids: ids of the tasks.
    """
    try:
        if AIRFLOW_V_3_0_PLUS:
            from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

            rows: Any = RuntimeTaskInstance.get_task_breadcrumbs(dag_id=key.dag_id, run_id=key.run_id)
            found = {row["task_id"]: row["duration"] for row in rows if row["map_index"] == key.map_index}
        else:
            each = {name: _find_in_database(key._replace(task_id=name)) for name in task_ids}
            found = {name: ti.duration for name, ti in each.items() if ti is not None}
        return {name: float(found[name]) for name in task_ids if found.get(name) is not None}
    except Exception:  # noqa: BLE001  it is for people only
        return {}


def bundle_version(ti: Any) -> str | None:
    """Version of the DAG bundle that a task runs from; None: it has none, or Airflow does not say.

    :param ti: what Airflow gives an operator.
    """
    version = getattr(getattr(ti, "bundle_instance", None), "version", None)
    return version if isinstance(version, str) else None

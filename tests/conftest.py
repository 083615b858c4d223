"""What all tests share: an Airflow home of their own, and an emulator that answers on a real socket."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_cerebras.emulator.server import EmulatorServer
    from tests.integration.dag_run import DagRunner

if "airflow" in sys.modules:
    raise RuntimeError("Airflow was imported before the tests could give it a home of their own.")

# Airflow reads these once, when it is first imported. What the user's shell says of Airflow must not reach the tests,
# above all not where the user's own metadata database is.
AIRFLOW_HOME = tempfile.mkdtemp(prefix="airflow-provider-cerebras-")
for _name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
    del os.environ[_name]
os.environ.update(
    AIRFLOW_HOME=AIRFLOW_HOME,
    AIRFLOW__CORE__FERNET_KEY="81HqDtbqAywKSOumSha3BhWNOdQ26slT6K0YaZeZyPs=",
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS="False",
    AIRFLOW__USAGE_DATA_COLLECTION__ENABLED="False",
)

# In pieces, since Airflow 3 stores the source of the file that a DAG is made in, and that must not look like a leak.
MANAGEMENT_KEY = "-".join(("mgmt", "key", "that", "must", "never", "be", "seen", "5b1e"))
INFERENCE_KEY = "-".join(("inference", "key", "that", "must", "never", "be", "seen", "a94c"))
SYNC_SECONDS = 0.4
ROLLOUT_SECONDS = 0.4


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(AIRFLOW_HOME, ignore_errors=True)


class RunningEmulator:
    """An emulator behind a socket, and its control plane as methods.

    :ivar base_url: URL of the emulator.
    :ivar org: its organization.
    :ivar arch: one of the organization's architectures.
    :ivar endpoint_id: the organization's endpoint for that architecture.
    :ivar settings: its settings: keys, organization, durations.
    """

    arch = "gpt-oss-120b"

    def __init__(self, server: EmulatorServer) -> None:
        self.base_url = server.base_url
        self.org = server.settings.org
        self.endpoint_id = f"{self.org}-{self.arch}"
        self.settings = server.settings
        self._http = httpx.Client(base_url=f"{server.base_url}/_emulator", trust_env=False, timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()

    def reset(self) -> None:
        """No versions, no deployments, no fault rules, an empty log."""
        self._control("POST", "/reset")

    def fault(self, operation: str, **rule: Any) -> int:
        """Put a fault rule in force (fields: see ``FaultRule``), and return its id. It fires once unless told."""
        return int(self._control("POST", "/faults", json={"operation": operation, **rule})["id"])

    def faults(self) -> list[dict[str, Any]]:
        """The rules in force, each with the counts ``skipped`` and ``fired``."""
        return list(self._control("GET", "/faults")["faults"])

    def end_fault(self, fault_id: int) -> None:
        """End one fault rule; requests that it holds go on."""
        self._control("DELETE", f"/faults/{fault_id}")

    def end_faults(self) -> None:
        """End all fault rules; requests that they hold go on."""
        self._control("DELETE", "/faults")

    def requests(
        self, operation: str | None = None, *, stage: str | None = None, wait: float = 0
    ) -> list[dict[str, Any]]:
        """The requests that came in, oldest first.

        :param operation: only this call's.
        :param stage: only those that got just so far.
        :param wait: seconds to wait for there to be any.
        """
        params = {"operation": operation, "stage": stage, "wait": wait}
        given = {name: value for name, value in params.items() if value is not None}
        return list(self._control("GET", "/requests", params=given)["requests"])

    def state(self) -> dict[str, Any]:
        """Everything that the emulated service knows: ``now``, ``versions``, ``endpoints``."""
        return self._control("GET", "/state")

    def versions(self) -> dict[str, dict[str, Any]]:
        """All versions by their full names, each as the API shows it."""
        return {entry["version"]["name"]: entry["version"] for entry in self.state()["versions"]}

    def serving(self, endpoint_id: str | None = None) -> str | None:
        """Full name of the version that serves on an endpoint."""
        endpoints = {entry["endpoint"]["name"]: entry for entry in self.state()["endpoints"]}
        serving: str | None = endpoints[endpoint_id or self.endpoint_id]["serving"]
        return serving

    def deployments(self, endpoint_id: str | None = None) -> list[dict[str, Any]]:
        """The deployments on an endpoint, listed or not, oldest first."""
        endpoints = {entry["endpoint"]["name"]: entry["endpoint"] for entry in self.state()["endpoints"]}
        return list(endpoints[endpoint_id or self.endpoint_id]["deployed_models"])

    def version_name(self, version_id: int | str) -> str:
        """Full name of a version of the first architecture."""
        return f"orgs/{self.org}/models/{self.arch}/versions/{version_id}"

    def upload(self, weight_uri: str, *aliases: str) -> str:
        """Upload as another client of the service would; the full name of the new version."""
        model = {"weight_uri": weight_uri, "version_aliases": list(aliases)}
        return str(
            self.api("POST", f"/orgs/{self.org}/models:upload", {"model_arch_id": self.arch, "model": model})["name"]
        )

    def set_aliases(self, model_version: str, *aliases: str) -> None:
        """Give a version these aliases and no others, as another client of the service would."""
        self.api("PATCH", f"/{model_version}", {"version_aliases": list(aliases)})

    def deploy(self, model_version: str, endpoint_id: str | None = None) -> str:
        """Deploy as another client of the service would; the UUID of the deployment."""
        return str(
            self.api("POST", f"/endpoints/{endpoint_id or self.endpoint_id}:deployModel", {"model": model_version})[
                "name"
            ]
        )

    def add_endpoint(self, endpoint_id: str) -> None:
        """Give the organization one more endpoint for the first architecture."""
        self._control("POST", "/endpoints", json={"endpoint_id": endpoint_id, "model_arch_id": self.arch})

    def api(self, method: str, path: str, body: object = None) -> Any:
        """Send a request as another client of the service would, by the management key; it is logged as any other."""
        response = self._http.request(
            method,
            f"{self.base_url}/management/v1{path}",
            json=body,
            headers={"Authorization": f"Bearer {self.settings.management_key}"},
        )
        response.raise_for_status()
        return response.json() if response.content else None

    def connection(self, **changes: Any) -> str:
        """The emulator as an Airflow connection, as ``AIRFLOW_CONN_<ID>`` takes it.

        :param changes: fields of the connection (``host``, ``password``, ...); those of ``extra`` are merged into it.
        """
        extra = {"org_name": self.settings.org, "inference_api_key": self.settings.inference_key}
        connection = {
            "conn_type": "cerebras",
            "host": self.base_url,
            "password": self.settings.management_key,
            **changes,
            "extra": {**extra, **changes.get("extra", {})},
        }
        return json.dumps(connection)

    def _control(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        response = self._http.request(method, path, **request)
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer


@pytest.fixture(scope="session")
def emulator_server() -> Iterator[EmulatorServer]:
    """The one server that `emulator` resets for each test."""
    from airflow_provider_cerebras.emulator.server import EmulatorServer
    from airflow_provider_cerebras.emulator.settings import Settings

    settings = Settings(
        port=0,
        management_key=MANAGEMENT_KEY,
        inference_key=INFERENCE_KEY,
        sync_seconds=SYNC_SECONDS,
        rollout_seconds=ROLLOUT_SECONDS,
    )
    with EmulatorServer(settings) as server:
        yield server


@pytest.fixture
def emulator(emulator_server: EmulatorServer) -> Iterator[RunningEmulator]:
    """A fresh emulator with a quick sync and a quick rollout."""
    with RunningEmulator(emulator_server) as running:
        running.reset()
        yield running
        running.end_faults()


@pytest.fixture
def start_emulator() -> Iterator[Callable[..., RunningEmulator]]:
    """Start one more emulator, of other settings than `emulator`'s: ``start_emulator(sync_failure_status="error")``."""
    from contextlib import ExitStack

    from airflow_provider_cerebras.emulator.server import EmulatorServer
    from airflow_provider_cerebras.emulator.settings import Settings

    defaults: dict[str, Any] = {
        "port": 0,
        "management_key": MANAGEMENT_KEY,
        "inference_key": INFERENCE_KEY,
        "sync_seconds": SYNC_SECONDS,
        "rollout_seconds": ROLLOUT_SECONDS,
    }
    with ExitStack() as stack:

        def start(**settings: Any) -> RunningEmulator:
            server = stack.enter_context(EmulatorServer(Settings(**{**defaults, **settings})))
            return stack.enter_context(RunningEmulator(server))

        yield start


@pytest.fixture
def cerebras_connection(emulator: RunningEmulator, monkeypatch: pytest.MonkeyPatch) -> str:
    """The emulator as Airflow's connection ``cerebras_default``; the connection's id."""
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection())
    return "cerebras_default"


@pytest.fixture(scope="session")
def airflow_db() -> None:
    """Airflow's metadata database, empty, in the tests' own home. It takes some seconds to make."""
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture(scope="session")
def run_dag(airflow_db: None) -> DagRunner:
    """Run a DAG by ``dag.test()``: ``run_dag(dag, conf=None)`` gives states, XComs, errors and the log."""
    from tests.integration.dag_run import DagRunner

    return DagRunner()


@pytest.fixture
def new_dag(request: pytest.FixtureRequest) -> Callable[..., DAG]:
    """Make a DAG named after the test; its tasks are retried without a delay, if at all."""
    from airflow.providers.common.compat.sdk import DAG

    count = itertools.count(1)

    def make(**arguments: Any) -> DAG:
        name = re.sub(r"[^A-Za-z0-9_.-]", "-", request.node.name)[:200]
        default_args = {"retry_delay": timedelta(0), **arguments.pop("default_args", {})}
        return DAG(
            f"{name}.{next(count)}",
            start_date=datetime(2025, 1, 1, tzinfo=UTC),
            schedule=None,
            default_args=default_args,
            **arguments,
        )

    return make

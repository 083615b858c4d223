"""What all tests share: an Airflow home of their own, and an emulator that answers on a real socket."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.integration.dag_run import DagRunner

# A machine that is busy is no defect; and mutmut runs each test more than once in a process.
_NO_DEFECTS = [hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.differing_executors]
hypothesis.settings.register_profile("steady", deadline=None, suppress_health_check=_NO_DEFECTS)
hypothesis.settings.load_profile("steady")
# A mutant only has to be found, by the same examples each time.
hypothesis.settings.register_profile(
    "mutants",
    parent=hypothesis.settings.get_profile("steady"),
    database=None,
    derandomize=True,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
)

pytest_plugins = ["airflow_provider_cerebras.emulator.pytest_plugin", "pytester"]

if "airflow" in sys.modules:
    raise RuntimeError("Airflow was imported before the tests could give it a home of their own.")

# Airflow reads these once, when it is first imported. What the user's shell says of Airflow must not reach the tests,
# above all not where the user's own metadata database is.
AIRFLOW_HOME = tempfile.mkdtemp(prefix="airflow-provider-cerebras-")
for _name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
    del os.environ[_name]
os.environ.update(
    AIRFLOW_HOME=AIRFLOW_HOME,
    # Without one, `dag.test()` of Airflow 3.2 cannot start the API that its tasks talk to.
    AIRFLOW__API_AUTH__JWT_SECRET="of the tests, and at least sixty-four bytes long for the sake of HS512",
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


@pytest.fixture
def cerebras_emulator_settings() -> dict[str, Any]:
    """A quick sync, a quick rollout, and keys that are looked for where they must not be."""
    return {
        "management_key": MANAGEMENT_KEY,
        "inference_key": INFERENCE_KEY,
        "sync_seconds": SYNC_SECONDS,
        "rollout_seconds": ROLLOUT_SECONDS,
    }


@pytest.fixture
def emulator(cerebras_emulator: EmulatorClient) -> EmulatorClient:
    """A fresh emulator."""
    return cerebras_emulator


@pytest.fixture
def start_emulator(cerebras_emulator_settings: dict[str, Any]) -> Iterator[Callable[..., EmulatorClient]]:
    """Start one more emulator with other settings or another clock: ``start_emulator(sync_failure_status="error")``."""
    from contextlib import ExitStack

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from airflow_provider_cerebras.emulator.server import EmulatorServer
    from airflow_provider_cerebras.emulator.settings import Settings

    with ExitStack() as stack:

        def start(clock: Callable[[], float] = time.time, **settings: Any) -> EmulatorClient:
            chosen = Settings(**{"port": 0, **cerebras_emulator_settings, **settings})
            server = stack.enter_context(EmulatorServer(chosen, clock))
            return stack.enter_context(EmulatorClient(server.base_url, server.settings))

        yield start


@pytest.fixture(autouse=True)
def no_session_is_left() -> Iterator[None]:
    """Rendering a mapped task outside of a run leaves a session, with which Airflow 2.11 runs no task any more."""
    yield
    if left := sys.modules.get("airflow.utils.task_instance_session"):
        vars(left)["__current_task_instance_session"] = None


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

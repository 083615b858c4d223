"""What a StatsD server receives while DAGs run, by Airflow's own metrics over a real socket."""

from __future__ import annotations

import re
import socket
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import Stats

from airflow_provider_cerebras import metrics
from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator
from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator
from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor
from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_2_PLUS, AIRFLOW_V_3_3_PLUS
from tests.integration.scenario import output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.integration.dag_run import DagResult, DagRunner

WAITING: dict[str, Any] = {"wait_for_completion": True, "poll_interval": 0.1}
NAMES = {
    subject.metric(part)
    for subject in (metrics.MODEL_VERSION, metrics.DEPLOYMENT)
    for part in (*metrics.COUNTERS, subject.duration)
}


@dataclass(frozen=True)
class Received:
    """What came: how often each counter was raised, and the milliseconds of each timer."""

    counters: Counter[str] = field(default_factory=Counter)
    timers: dict[str, float] = field(default_factory=dict)

    def without_polls(self) -> dict[str, int]:
        return {name: count for name, count in self.counters.items() if not name.endswith(".polls")}


class StatsdServer:
    """Takes the packets that a StatsD server would, as many as there come."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.port = int(self._socket.getsockname()[1])

    def __enter__(self) -> StatsdServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def packets(self) -> list[str]:
        """Ours that have come since the last time. On one machine they are there when they have been sent."""
        found = []
        with suppress(BlockingIOError):
            while True:
                found.append(self._socket.recv(65536).decode())
        return [packet for packet in found if packet.startswith("airflow.cerebras.")]

    def received(self) -> Received:
        received = Received()
        for packet in self.packets():
            match = re.fullmatch(r"airflow\.([^:,]+)[^:]*:([0-9.]+)\|(c|ms)", packet)
            assert match, packet
            name, value, kind = match.groups()
            if kind == "c":
                received.counters[name] += int(value)
            else:
                received.timers[name] = float(value)
        return received


def initialize_stats() -> None:
    """Do what each of Airflow's processes does when it starts, once more: by the settings as they are now."""
    metrics._stats.cache_clear()
    stats: Any = Stats
    if AIRFLOW_V_3_2_PLUS:
        from airflow.sdk.observability.metrics import stats_utils

        get_factory: Any = stats_utils.get_stats_factory
        if AIRFLOW_V_3_3_PLUS:
            stats.initialize(factory=get_factory(), export_legacy_names=False)
        else:
            stats.initialize(factory=get_factory(stats))
    else:
        # It reads the settings when its class is made.
        del type(stats).factory
        stats.instance = None
        type(stats).__init__(stats)


@pytest.fixture
def statsd(monkeypatch: pytest.MonkeyPatch) -> Iterator[StatsdServer]:
    with StatsdServer() as server:
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_HOST", "127.0.0.1")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(server.port))
        initialize_stats()
        yield server
    monkeypatch.undo()
    initialize_stats()


@pytest.fixture(autouse=True)
def connected(cerebras_connection: str) -> None:
    """To the emulator."""


def release(
    emulator: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner, **upload_arguments: Any
) -> DagResult:
    with new_dag() as dag:
        upload = CerebrasUploadModelVersionOperator(
            task_id="upload",
            model_arch_id=emulator.arch,
            weight_uri="s3://weights/run-1",
            **{**WAITING, "deferrable": True, **upload_arguments},
        )
        CerebrasDeployModelOperator(
            task_id="deploy", endpoint_id=emulator.endpoint_id, model_version=output(upload), **WAITING
        )
    result = run_dag(dag)
    assert result.state == "success", result.log
    return result


def test_a_release_is_counted_and_timed(
    emulator: EmulatorClient,
    statsd: StatsdServer,
    monkeypatch: pytest.MonkeyPatch,
    new_dag: Callable[..., DAG],
    run_dag: DagRunner,
) -> None:
    monkeypatch.setattr(metrics, "_DONE_BEFORE", timedelta(0))
    release(emulator, new_dag, run_dag)
    received = statsd.received()

    assert received.without_polls() == {
        "cerebras.model_version.submitted": 1,
        "cerebras.model_version.waits.succeeded": 1,
        "cerebras.deployment.submitted": 1,
        "cerebras.deployment.waits.succeeded": 1,
    }
    assert received.counters["cerebras.model_version.polls"] >= 1
    assert received.counters["cerebras.deployment.polls"] >= 1
    assert set(received.timers) == {"cerebras.model_version.sync_duration", "cerebras.deployment.rollout_duration"}


def test_times_are_in_milliseconds_and_what_has_taken_no_time_has_none(statsd: StatsdServer) -> None:
    metrics.DEPLOYMENT.took(0.99, "my-endpoint")
    assert not statsd.packets()
    metrics.DEPLOYMENT.took(3600, "my-endpoint")
    assert statsd.received().timers == {"cerebras.deployment.rollout_duration": 3_600_000}


def test_polls_are_the_requests_that_were_sent(
    emulator: EmulatorClient, statsd: StatsdServer, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    version = emulator.upload("s3://weights/run-1")
    # The first look, on the worker, gets no answer; so there is one on the triggerer too.
    emulator.add_fault("get_model_version", status=500)
    with new_dag() as dag:
        CerebrasModelVersionSensor(task_id="synced", model_version=version, deferrable=True, poke_interval=0.1)

    assert run_dag(dag).state == "success"
    sent = len(emulator.requests("get_model_version"))

    assert statsd.received().counters["cerebras.model_version.polls"] == sent > 1


def test_what_an_earlier_attempt_has_made_is_adopted_after_a_wait_that_came_to_its_deadline(
    start_emulator: Callable[..., EmulatorClient],
    monkeypatch: pytest.MonkeyPatch,
    statsd: StatsdServer,
    new_dag: Callable[..., DAG],
    run_dag: DagRunner,
) -> None:
    emulator = start_emulator(sync_seconds=3, rollout_seconds=0.1)
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection())
    release(emulator, new_dag, run_dag, deferrable=False, timeout=0.5, retries=50)
    received = statsd.received()

    assert received.counters["cerebras.model_version.submitted"] == 1
    assert (
        received.counters["cerebras.model_version.adopted"]
        == received.counters["cerebras.model_version.waits.timeout"]
        >= 1
    )


def test_what_had_been_in_doubt_is_reconciled(
    emulator: EmulatorClient, statsd: StatsdServer, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    for operation in ("upload_model_version", "deploy_model"):
        emulator.add_fault(operation, when="after", drop=True)
    release(emulator, new_dag, run_dag)

    made = {name: count for name, count in statsd.received().without_polls().items() if ".waits." not in name}
    assert made == {"cerebras.model_version.reconciled": 1, "cerebras.deployment.reconciled": 1}


def test_a_rollout_that_is_there_already_is_adopted(
    emulator: EmulatorClient, statsd: StatsdServer, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    version = release(emulator, new_dag, run_dag)["upload"].xcom
    statsd.packets()
    with new_dag() as dag:
        CerebrasDeployModelOperator(
            task_id="deploy", endpoint_id=emulator.endpoint_id, model_version=version, **WAITING
        )

    assert run_dag(dag).state == "success"

    received = statsd.received()
    assert received.without_polls() == {"cerebras.deployment.adopted": 1, "cerebras.deployment.waits.succeeded": 1}


def test_a_failed_sync_is_counted_as_such(
    emulator: EmulatorClient, statsd: StatsdServer, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    emulator.add_fault("upload_model_version", fail_sync="the third tensor is made of cheese")
    with new_dag() as dag:
        CerebrasUploadModelVersionOperator(
            task_id="upload", model_arch_id=emulator.arch, weight_uri="s3://weights/run-1", **WAITING
        )

    assert run_dag(dag)["upload"].state == "failed"

    received = statsd.received()
    assert received.without_polls() == {
        "cerebras.model_version.submitted": 1,
        "cerebras.model_version.waits.failed": 1,
    }


def test_the_architecture_and_the_endpoint_are_tags_and_no_other_id_is_sent(
    emulator: EmulatorClient,
    statsd: StatsdServer,
    monkeypatch: pytest.MonkeyPatch,
    new_dag: Callable[..., DAG],
    run_dag: DagRunner,
) -> None:
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED", "True")
    initialize_stats()
    release(emulator, new_dag, run_dag)
    packets = statsd.packets()

    assert packets
    for packet in packets:
        name, tag = packet.removeprefix("airflow.").partition(":")[0].split(",")
        assert name in NAMES
        arch, endpoint = f"model_arch_id={emulator.arch}", f"endpoint_id={emulator.endpoint_id}"
        assert tag == (arch if ".model_version." in name else endpoint)


def test_where_metrics_are_off_nothing_is_sent(
    emulator: EmulatorClient,
    statsd: StatsdServer,
    monkeypatch: pytest.MonkeyPatch,
    new_dag: Callable[..., DAG],
    run_dag: DagRunner,
) -> None:
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "False")
    initialize_stats()
    release(emulator, new_dag, run_dag)

    assert statsd.packets() == []

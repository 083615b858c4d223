"""The event trigger on Airflow's own triggerer: the process that runs it, and the supervisor that stores its events."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import signal
import sqlite3
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import SyncToAsync

from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS
from tests.clock import ticking
from tests.integration.asset_runs import asset_events, register_unpaused, run_what_assets_start
from tests.integration.dag_run import database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.integration.dag_run import DagRunner

LIMIT = 120
"""Seconds that anything may take on a machine that is busy with other things."""


@cache
def supervisor_class() -> Any:
    """Airflow's supervisor of the process that runs triggers; all of them share what takes seconds to make."""
    from airflow.jobs.triggerer_job_runner import TriggerRunnerSupervisor

    class Supervisor(TriggerRunnerSupervisor):
        @staticmethod
        @cache
        def _shared() -> Any:
            return TriggerRunnerSupervisor.make_client(None)  # type: ignore[arg-type]

        def make_client(self) -> Any:
            return self._shared()

        if not AIRFLOW_V_3_3_PLUS:

            def run_once(self: Any) -> None:
                """Do what its loop does over and over."""
                self.load_triggers()
                self._service_subprocess(1)
                self.handle_events()
                self.handle_failed_triggers()
                self.clean_unused()
                self.heartbeat()

    return Supervisor


class Triggerer:
    """A triggerer: its supervisor in this process, and the process that runs the triggers."""

    def __init__(self) -> None:
        from airflow.jobs.job import Job
        from airflow.jobs.triggerer_job_runner import TriggererJobRunner

        self._job: Any = Job()
        TriggererJobRunner(self._job)
        self._job.prepare_for_execution()
        # The process is a fork of this one, without the thread in which a trigger of an earlier test has looked up its
        # connection; a new pool knows of none, and starts one.
        SyncToAsync.single_thread_executor = ThreadPoolExecutor(max_workers=1)
        self._supervisor: Any = supervisor_class().start(job=self._job, capacity=100)
        self.alive = True

    def run_until(self, done: Callable[[], object]) -> None:
        """Do as the triggerer does until something has come about."""
        deadline = time.monotonic() + LIMIT
        while not done():
            assert time.monotonic() < deadline, "it did not come about"
            self._supervisor.run_once()

    def step(self) -> None:
        """Do once what the triggerer does over and over."""
        self._supervisor.run_once()

    def run_for_looks(self, emulator: EmulatorClient, looks: int, operation: str = "list_model_versions") -> None:
        """Do as the triggerer does while the service is asked so many times more."""
        asked = len(emulator.requests(operation))
        self.run_until(lambda: len(emulator.requests(operation)) >= asked + looks)

    def leave_alone_for_looks(self, emulator: EmulatorClient, looks: int) -> None:
        """Let the process look so many times more, while what it sends is not stored."""
        asked = len(emulator.requests("list_model_versions"))
        deadline = time.monotonic() + LIMIT
        while len(emulator.requests("list_model_versions")) < asked + looks:
            assert time.monotonic() < deadline, "it does not look"
            threading.Event().wait(0.05)

    def kill(self) -> None:
        """Die at once: what the process has sent and the supervisor has not stored yet is lost."""
        if not self.alive:
            return
        from airflow.jobs.job import Job
        from airflow.utils.session import create_session

        self.alive = False
        os.kill(self._supervisor.pid, signal.SIGKILL)
        os.waitpid(self._supervisor.pid, 0)
        with create_session() as session:
            job: Any = session.get(Job, self._job.id)
            job.end_date = datetime.now(UTC)


if not AIRFLOW_V_3_0_PLUS:

    def test_it_says_what_it_needs() -> None:
        sys.modules.pop("airflow_provider_cerebras.triggers.events", None)
        with pytest.raises(ImportError, match=r"needs Airflow 3\.0 or later"):
            importlib.import_module("airflow_provider_cerebras.triggers.events")

else:

    @pytest.fixture
    def start_triggerer(airflow_db: None) -> Iterator[Callable[[], Triggerer]]:
        started: list[Triggerer] = []

        def start() -> Triggerer:
            started.append(Triggerer())
            return started[-1]

        yield start
        for triggerer in started:
            triggerer.kill()

    @pytest.fixture
    def service(start_emulator: Callable[..., EmulatorClient], monkeypatch: pytest.MonkeyPatch) -> EmulatorClient:
        emulator = start_emulator(ticking(), sync_seconds=0, rollout_seconds=0)
        monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection())
        return emulator

    @pytest.fixture
    def watch(request: pytest.FixtureRequest, service: EmulatorClient) -> Iterator[Callable[..., str]]:
        """Schedule a DAG by an asset with a watcher; the asset's URI."""
        from airflow.models.base import Base
        from airflow.sdk import DAG, Asset, AssetWatcher
        from airflow.utils.session import create_session

        from airflow_provider_cerebras.triggers.events import (
            CerebrasEndpointEventTrigger,
            CerebrasModelVersionEventTrigger,
        )

        count = itertools.count(1)

        def watch(**arguments: Any) -> str:
            trigger = (
                CerebrasEndpointEventTrigger(**{"poll_interval": 0.2, **arguments})
                if "endpoint_id" in arguments
                else CerebrasModelVersionEventTrigger(
                    **{"org_name": "my-org", "model_arch_id": service.arch, "poll_interval": 0.2, **arguments}
                )
            )
            name = f"{request.node.name}-{next(count)}"
            asset = Asset(name, watchers=[AssetWatcher(name="watcher", trigger=trigger)])
            register_unpaused(DAG(name, schedule=[asset], start_date=datetime(2025, 1, 1, tzinfo=UTC)))
            return asset.uri

        def forget() -> None:
            with create_session() as session:
                for table in ("asset_state_store", "asset_watcher", "asset_trigger", "trigger"):
                    if table in Base.metadata.tables:
                        session.execute(Base.metadata.tables[table].delete())

        # Another test may have left a trigger, and a triggerer of Airflow 3.0 or 3.1 dies if that is cancelled while it
        # looks up its connection.
        forget()
        yield watch
        forget()

    def versions(uri: str) -> list[str]:
        return [event["payload"]["model_version"] for event in asset_events(uri)]

    def kept() -> list[Any]:
        """What triggers have had kept, in no order."""
        with closing(sqlite3.connect(database())) as connection:
            stored = [json.loads(value) for (value,) in connection.execute("SELECT value FROM asset_state_store")]
        # Until an empty list is believed, there is nothing to compare another one with.
        return [value for value in stored if "empty" not in value]

    def knows_the_first() -> bool:
        return any("1" in value.get("known", {}) for value in kept())

    def test_a_version_that_becomes_ready_is_an_event_whoever_made_it(
        service: EmulatorClient, watch: Callable[..., str], start_triggerer: Callable[[], Triggerer]
    ) -> None:
        service.upload("s3://weights/old")
        uri = watch()
        triggerer = start_triggerer()
        triggerer.run_for_looks(service, 2)

        service.upload("s3://weights/new", "latest")
        triggerer.run_until(lambda: asset_events(uri))

        payload = {
            "model_version": service.version_name(2),
            "version_aliases": ["latest"],
            "weight_uri": "s3://weights/new",
        }
        assert asset_events(uri) == [{"from_trigger": True, "payload": payload}]
        triggerer.run_for_looks(service, 3)
        assert versions(uri) == [service.version_name(2)]

    def test_an_alias_that_moves_is_an_event(
        service: EmulatorClient, watch: Callable[..., str], start_triggerer: Callable[[], Triggerer]
    ) -> None:
        first, second = service.upload("s3://weights/1", "production"), service.upload("s3://weights/2")
        uri = watch(alias="production")
        triggerer = start_triggerer()
        triggerer.run_for_looks(service, 2)

        service.set_aliases(first)
        triggerer.run_for_looks(service, 2)
        assert versions(uri) == []
        service.set_aliases(second, "production")
        triggerer.run_until(lambda: asset_events(uri))

        (event,) = asset_events(uri)
        assert event["payload"] == {
            "model_version": second,
            "version_aliases": ["production"],
            "weight_uri": "s3://weights/2",
            "alias": "production",
            "previous_model_version": first,
        }

    def test_many_watchers_of_an_architecture_cost_one_poll(
        service: EmulatorClient, watch: Callable[..., str], start_triggerer: Callable[[], Triggerer]
    ) -> None:
        uris = [watch(), *(watch(alias=alias) for alias in ("one", "two", "three")), watch(poll_interval=0.3)]
        fault = service.add_fault("list_model_versions", hold=True, times=None)
        triggerer = start_triggerer()
        triggerer.run_until(lambda: service.requests("list_model_versions", stage="held"))
        for _ in range(3):
            triggerer.step()

        assert len(service.requests("list_model_versions")) == 1
        service.end_fault(fault)
        triggerer.run_for_looks(service, 5)
        service.upload("s3://weights/1", "two")
        triggerer.run_until(lambda: asset_events(uris[0]) and asset_events(uris[2]) and asset_events(uris[4]))
        assert [len(asset_events(uri)) for uri in uris] == [1, 0, 1, 0, 1]

    def test_a_version_that_another_client_deploys_past_airflow_is_one_event_of_each_watcher(
        service: EmulatorClient, watch: Callable[..., str], start_triggerer: Callable[[], Triggerer]
    ) -> None:
        before, after = service.upload("s3://weights/1"), service.upload("s3://weights/2", "production")
        service.deploy(before)
        service.advance_clock(1)
        uris = [
            watch(endpoint_id=service.endpoint_id, events=["serving_changed", each])
            for each in ("rollout_failed", "rollout_started")
        ]
        fault = service.add_fault("get_endpoint", hold=True, times=None)
        triggerer = start_triggerer()
        triggerer.run_until(lambda: service.requests("get_endpoint", stage="held"))
        for _ in range(3):
            triggerer.step()
        assert len(service.requests("get_endpoint")) == 1
        service.end_fault(fault)
        triggerer.run_for_looks(service, 3, "get_endpoint")
        if AIRFLOW_V_3_3_PLUS:
            # What happens while none runs is seen by the next one.
            triggerer.run_until(lambda: len(kept()) == len(uris))
            triggerer.kill()

        deployment = service.deploy(after)
        if AIRFLOW_V_3_3_PLUS:
            triggerer = start_triggerer()
        triggerer.run_until(lambda: [len(asset_events(uri)) for uri in uris] == [1, 2])
        triggerer.run_for_looks(service, 3, "get_endpoint")

        assert [event["payload"]["event"] for event in asset_events(uris[1])] == ["rollout_started", "serving_changed"]
        (event,) = asset_events(uris[0])
        assert event["payload"] == {
            "event": "serving_changed",
            "endpoint_id": service.endpoint_id,
            "deployment_id": deployment,
            "model_version": after,
            "previous_model_version": before,
            "version_aliases": ["production"],
            "weight_uri": "s3://weights/2",
            "marked_by_airflow": None,
        }
        if AIRFLOW_V_3_3_PLUS:
            assert len(service.requests("get_model_version")) == 1

    if AIRFLOW_V_3_3_PLUS:

        def test_what_becomes_ready_while_no_triggerer_runs_is_an_event_when_one_does(
            service: EmulatorClient, watch: Callable[..., str], start_triggerer: Callable[[], Triggerer]
        ) -> None:
            uri = watch()
            triggerer = start_triggerer()
            triggerer.run_until(kept)
            triggerer.kill()

            service.upload("s3://weights/1")
            triggerer = start_triggerer()
            triggerer.run_until(lambda: asset_events(uri))

            triggerer.run_until(knows_the_first)
            triggerer.kill()
            # All is stored and kept, so the next triggerer has nothing to say.
            start_triggerer().run_for_looks(service, 3)
            assert versions(uri) == [service.version_name(1)]

        def test_an_event_that_was_never_stored_is_sent_again(
            service: EmulatorClient, watch: Callable[..., str], start_triggerer: Callable[[], Triggerer]
        ) -> None:
            uri = watch()
            triggerer = start_triggerer()
            triggerer.run_until(kept)
            service.upload("s3://weights/1")
            triggerer.leave_alone_for_looks(service, 3)
            triggerer.kill()
            assert versions(uri) == []

            triggerer = start_triggerer()
            triggerer.run_until(lambda: asset_events(uri))
            triggerer.run_for_looks(service, 3)

            assert versions(uri) == [service.version_name(1)]

        def test_one_that_was_stored_is_sent_twice_only_if_nobody_could_be_told(
            service: EmulatorClient, watch: Callable[..., str], start_triggerer: Callable[[], Triggerer]
        ) -> None:
            """The one gap there is: the triggerer dies after it has stored the event and before it says so."""
            uri = watch()
            triggerer = start_triggerer()
            triggerer.run_until(kept)
            service.upload("s3://weights/1")
            triggerer.run_until(lambda: asset_events(uri))
            triggerer.kill()

            triggerer = start_triggerer()
            triggerer.run_until(knows_the_first)

            assert set(versions(uri)) == {service.version_name(1)}
            assert len(versions(uri)) <= 2

        def test_the_example_deploys_what_the_alias_stands_for(
            service: EmulatorClient,
            watch: Callable[..., str],
            start_triggerer: Callable[[], Triggerer],
            run_dag: DagRunner,
            monkeypatch: pytest.MonkeyPatch,
        ) -> None:
            import on_new_version_watched as example

            first, second = service.upload("s3://weights/1", "production"), service.upload("s3://weights/2")
            register_unpaused(example.dag)
            triggerer = start_triggerer()
            triggerer.run_until(kept)
            triggerer.kill()
            service.set_aliases(first)
            service.set_aliases(second, "production")
            # One that begins looks at once.
            start_triggerer().run_until(lambda: asset_events(example.MODEL.uri))

            result = run_what_assets_start(example.dag, run_dag, monkeypatch)

            assert result is not None
            assert result.state == "success", result.log
            assert service.serving() == result["newest"].xcom == second

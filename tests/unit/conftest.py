"""The emulator on a clock that tests move, so that nothing has to wait for a sync or a rollout."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_cerebras.emulator.control.client import EmulatorClient
from airflow_provider_cerebras.emulator.server import EmulatorServer
from airflow_provider_cerebras.emulator.settings import Settings
from airflow_provider_cerebras.polling import evidence
from tests.conftest import INFERENCE_KEY, MANAGEMENT_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.metrics_sent import Sent

SYNC_SECONDS = ROLLOUT_SECONDS = 1000


class Service(EmulatorClient):
    """An emulator that stands still until it is told how much time has passed."""

    # The server lives longer than one of these, and its time never goes back.
    ahead = 0.0

    def finish(self) -> None:
        """Let everything that is under way come to its end."""
        Service.ahead += SYNC_SECONDS + ROLLOUT_SECONDS

    def new_version(self, *aliases: str, done: bool = True, fail: str | None = None) -> str:
        """Upload a version, and return its full name.

        :param done: whether its sync comes to its end.
        :param fail: reason for which the sync fails.
        """
        if fail:
            self.add_fault("upload_model_version", fail_sync=fail)
        weights: dict[str, Any] = {"weight_uri": "s3://my-bucket/weights", "version_aliases": list(aliases)}
        body = {"model_arch_id": self.arch, "model": weights}
        name: str = self.api("POST", f"/orgs/{self.org}/models:upload", body)["name"]
        if done:
            self.finish()
        return name

    def new_deployment(self, *, done: bool = True, fail: str | None = None) -> str:
        """Deploy a version that is synced, and return the deployment's id; arguments as for an upload."""
        if fail:
            self.add_fault("deploy_model", fail_rollout=fail)
        body = {"model": self.new_version()}
        deployment: str = self.api("POST", f"/endpoints/{self.endpoint_id}:deployModel", body)["name"]
        if done:
            self.finish()
        return deployment

    def sent_since(self, index: int) -> list[tuple[str, str]]:
        """Method and path of the requests from the one with this index on."""
        return [(request.method, request.path) for request in self.requests()[index:]]


@pytest.fixture
def no_span(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let three polls in a row count at once, for waits on a clock that nothing moves on."""
    monkeypatch.setattr(evidence, "MIN_SPAN", 0.0)


@pytest.fixture(scope="session")
def service_server() -> Iterator[EmulatorServer]:
    """The one server that `service` resets for each test."""
    settings = Settings(
        port=0,
        management_key=MANAGEMENT_KEY,
        inference_key=INFERENCE_KEY,
        sync_seconds=SYNC_SECONDS,
        rollout_seconds=ROLLOUT_SECONDS,
    )
    with EmulatorServer(settings, lambda: time.time() + Service.ahead) as server:
        yield server


@pytest.fixture
def service(service_server: EmulatorServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """An emulator on a socket whose time tests move; it is Airflow's connection ``cerebras_default``."""
    with Service(service_server.base_url, service_server.settings) as running:
        running.reset()
        monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", running.connection())
        yield running
        running.end_faults()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sent]:
    """Metrics that are on; what would go out by Airflow's own class is kept."""
    from airflow.providers.common.compat.sdk import Stats

    from airflow_provider_cerebras import metrics
    from tests.unit.metrics_sent import Sent

    sent = Sent()
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
    monkeypatch.setattr(Stats, "incr", sent.incr, raising=False)
    monkeypatch.setattr(Stats, "timing", sent.timing, raising=False)
    metrics._stats.cache_clear()
    yield sent
    metrics._stats.cache_clear()

"""What Airflow's metrics are given while tasks wait, on a worker and on an event loop."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_cerebras.polling.blocking import BlockingWait
from airflow_provider_cerebras.polling.deployments import DeploymentPoller
from airflow_provider_cerebras.polling.versions import ModelVersionPoller
from tests.unit.fake_service import ENDPOINT, FakeService
from tests.unit.polling.virtual_time import START, Clock
from tests.unit.polling.world import LOG, V1, V2, World, in_virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cerebras.polling.pollers import Poller
    from tests.unit.metrics_sent import Sent

OF_VERSIONS = {"model_arch_id": "gpt-oss-120b"}
OF_DEPLOYMENTS = {"endpoint_id": ENDPOINT}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock.install(monkeypatch)


@pytest.fixture
def world(clock: Clock) -> World:
    service = FakeService()
    for name in (V1, V2):
        service.sync(name)
    service.roll_out("a")
    return World(clock, service)


@in_virtual_time
class TestEventLoop:
    async def test_a_poll_that_is_shared_counts_once_and_each_wait_for_itself(self, world: World, sent: Sent) -> None:
        waits = [world.wait_for_version(name) for name in (V1, V2)]
        await asyncio.sleep(100)
        world.service.finish(V1)
        world.service.sync(V2, "failed", done=True)
        await asyncio.gather(*waits)
        tags = str(OF_VERSIONS)
        assert sent.counters == {
            ("cerebras.model_version.polls", tags): len(world.service.log),
            ("cerebras.model_version.waits.succeeded", tags): 1,
            ("cerebras.model_version.waits.failed", tags): 1,
        }
        ((name, of, seconds),) = sent.timers
        assert (name, of) == ("cerebras.model_version.sync_duration", tags)
        assert seconds == pytest.approx(world.clock.elapsed)


@pytest.mark.parametrize(
    ("make", "name", "tags", "timer"),
    [
        (partial(ModelVersionPoller, V1), "cerebras.model_version", OF_VERSIONS, "sync_duration"),
        (partial(DeploymentPoller, ENDPOINT, "a"), "cerebras.deployment", OF_DEPLOYMENTS, "rollout_duration"),
    ],
    ids=["version", "deployment"],
)
def test_on_a_worker_each_poll_counts(
    world: World, sent: Sent, make: Callable[..., Poller[Any]], name: str, tags: dict[str, str], timer: str
) -> None:
    with world.service.client() as client:
        poller = make(deadline=None, started=START - 50)
        wait = BlockingWait(client, world.service.client, poller, poll_interval=30, log=LOG)
        assert [wait.poll_once() for _ in range(3)] == [None] * 3
        world.service.finish(V1)
        world.service.roll_out("a", "complete")
        wait.poll_once()
    assert sent.counters == {(f"{name}.polls", str(tags)): 4, (f"{name}.waits.succeeded", str(tags)): 1}
    assert sent.timers == [(f"{name}.{timer}", str(tags), 50)]

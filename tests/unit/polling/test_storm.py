"""Hundreds of triggers that start, end, time out and are cancelled in any order, while all kinds of things go wrong."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
import pytest

from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.polling import shared as polling
from airflow_provider_cerebras.triggers.endpoints import CerebrasDeploymentTrigger
from airflow_provider_cerebras.triggers.model_versions import CerebrasModelVersionTrigger
from tests.unit.fake_service import FakeService, version
from tests.unit.polling.virtual_time import Clock, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.triggers.base import TriggerEvent

    from airflow_provider_cerebras.api.client import AsyncCerebrasClient
    from airflow_provider_cerebras.triggers._base import WaitTrigger

TRIGGERS, STEPS = 500, 2000
CONNECTIONS = ("one", "other")
ARCHITECTURES = ("orgs/my-org/models/gpt-oss-120b", "orgs/my-org/models/llama-3.3-70b")
VERSIONS = [version(each, arch) for arch in ARCHITECTURES for each in (*range(1, 6), "production")]
ENDPOINTS = ("here", "there")
DEPLOYMENTS = [f"deployment-{each}" for each in range(5)]
TROUBLE: list[httpx.Response | Exception] = [
    httpx.Response(404),
    httpx.Response(429, headers={"retry-after": "50"}),
    httpx.Response(503),
    httpx.Response(200, content=b"{"),
    httpx.ConnectError("refused"),
    httpx.ReadTimeout("no answer"),
    RuntimeError("a mistake of httpx"),
]


@dataclass
class Storm:
    """A triggerer and two services in rough weather.

    :ivar ends: how each of the triggers has ended.
    """

    clock: Clock
    chance: random.Random
    services: dict[str, FakeService]
    running: list[asyncio.Task[list[TriggerEvent]]] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)

    async def blow(self) -> None:
        happenings: list[Callable[[], None]] = [
            *[self.start] * 6,
            self.progress,
            self.progress,
            self.vanish,
            self.cancel,
            self.trouble,
            self.replace_the_key,
            self.be_slow,
        ]
        for _ in range(STEPS):
            self.chance.choice(happenings)()
            await asyncio.sleep(self.chance.choice([0, 0, 0, 0.01, 0.3, 1, 5]))
        await asyncio.wait(self.running)

    @property
    def running_now(self) -> list[asyncio.Task[list[TriggerEvent]]]:
        return [trigger for trigger in self.running if not trigger.done()]

    def start(self) -> None:
        if len(self.running) < TRIGGERS:
            self.running.append(asyncio.create_task(self.collect(self.new_trigger())))

    def new_trigger(self) -> WaitTrigger:
        conn_id = self.chance.choice(CONNECTIONS)
        poll_interval = self.chance.choice([2, 10, 60])
        deadline = self.clock.time() + self.chance.choice([-1, 3, 60, 600])
        if self.chance.random() < 0.6:
            return CerebrasModelVersionTrigger(
                cerebras_conn_id=conn_id,
                model_version=self.chance.choice(VERSIONS),
                poll_interval=poll_interval,
                deadline=deadline,
            )
        return CerebrasDeploymentTrigger(
            cerebras_conn_id=conn_id,
            endpoint_id=self.chance.choice(ENDPOINTS),
            deployment_id=self.chance.choice(DEPLOYMENTS),
            poll_interval=poll_interval,
            deadline=deadline,
        )

    async def collect(self, trigger: WaitTrigger) -> list[TriggerEvent]:
        try:
            events = [event async for event in trigger.run()]
        except asyncio.CancelledError:
            self.ends["cancelled"] += 1
            raise
        self.ends[events[0].payload["status"]] += 1
        return events

    def progress(self) -> None:
        service, ended = self.chance.choice([*self.services.values()]), self.chance.random() < 0.5
        word = self.chance.choice(["done", "failed"]) if ended else "in_progress"
        name = self.chance.choice([name for name in VERSIONS if not name.endswith("production")])
        service.sync(name, word, *self.chance.choice([(), ("production",)]), done=ended)
        state = self.chance.choice(["complete", "failed"]) if ended else "in_progress"
        service.roll_out(self.chance.choice(DEPLOYMENTS), state, self.chance.choice(ENDPOINTS))

    def vanish(self) -> None:
        service = self.chance.choice([*self.services.values()])
        service.rows.pop(self.chance.choice(VERSIONS), None)
        service.endpoints[self.chance.choice(ENDPOINTS)] = []

    def cancel(self) -> None:
        for trigger in self.chance.sample(
            self.running_now, k=min(len(self.running_now), self.chance.choice([1, 1, 9]))
        ):
            trigger.cancel()

    def trouble(self) -> None:
        service = self.chance.choice([*self.services.values()])
        service.trouble += [(None, self.chance.choice(TROUBLE))] * self.chance.choice([1, 1, 5])

    def replace_the_key(self) -> None:
        self.chance.choice([*self.services.values()]).key = f"key-{self.chance.random()}"

    def be_slow(self) -> None:
        self.chance.choice([*self.services.values()]).latency = self.chance.choice([0, 0.05, 2])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock.install(monkeypatch)


@pytest.mark.parametrize("seed", range(4))
def test_every_trigger_has_one_end_and_nothing_is_left(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    services = {conn_id: FakeService() for conn_id in CONNECTIONS}
    for service in services.values():
        for endpoint in ENDPOINTS:
            service.endpoints[endpoint] = []
    monkeypatch.setattr(random, "uniform", random.Random(seed).uniform)

    async def connect(hook: CerebrasHook) -> AsyncCerebrasClient:
        return await services[hook.cerebras_conn_id].connect()

    monkeypatch.setattr(CerebrasHook, "get_async_conn", connect)
    storm = Storm(clock, random.Random(seed), services)

    async def blow() -> None:
        await storm.blow()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not polling._services[asyncio.get_running_loop()]

    run(clock, blow())

    assert len(storm.running) == TRIGGERS
    assert {len(trigger.result()) for trigger in storm.running if not trigger.cancelled()} == {1}
    assert set(storm.ends) >= {"succeeded", "failed", "timeout", "cancelled", "lost"}
    for service in services.values():
        assert service.open_clients == 0
        assert set(service.most_at_once.values()) == {1}

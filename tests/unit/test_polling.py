"""One poll for all who wait for the same thing, on a clock that only waiting moves."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_cerebras.polling import wait_async
from airflow_provider_cerebras.waiting import ModelVersionWatch, Status
from tests.unit.fake_service import FakeService, version
from tests.unit.virtual_time import Clock, run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from airflow_provider_cerebras.api.client import AsyncCerebrasClient
    from airflow_provider_cerebras.polling import Connect
    from airflow_provider_cerebras.waiting import Outcome, Watch

    Wait = asyncio.Task[Outcome]

LOG = logging.getLogger("tests.polling")
V1 = version(1)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock.install(monkeypatch)


class World:
    """A service, and those who wait for what goes on there."""

    def __init__(self, clock: Clock, service: FakeService) -> None:
        self.service = service
        self.clock = clock
        self._waits: list[Wait] = []

    def wait(
        self,
        watch: Watch[Any],
        *,
        poll_interval: float = 30,
        conn_id: str = "cerebras_default",
        connect: Connect | None = None,
    ) -> Wait:
        """Let one more wait."""
        waiting = wait_async(conn_id, connect or self.service.connect, watch, poll_interval=poll_interval, log=LOG)
        self._waits.append(asyncio.create_task(waiting))
        return self._waits[-1]

    def wait_for_version(self, name: str = V1, *, timeout: float | None = 10_000, **kwargs: Any) -> Wait:
        """Let one more wait for a version."""
        now = self.clock.time()
        watch = ModelVersionWatch(name, deadline=None if timeout is None else now + timeout, started=now)
        return self.wait(watch, **kwargs)

    async def leave(self) -> None:
        """Cancel whoever still waits, and see that nothing is left of them."""
        for wait in self._waits:
            wait.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await wait
        assert self.service.open_clients == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.fixture
def world(clock: Clock) -> World:
    """A service that knows one version, which is syncing."""
    world = World(clock, FakeService())
    world.service.sync(V1)
    return world


def in_virtual_time(tests: type) -> type:
    """Run the tests of a class on a virtual event loop; in the end nothing may be left there."""

    def run_test(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
        @functools.wraps(test)
        def run_it(*args: Any, world: World, **kwargs: Any) -> None:
            async def run_and_leave() -> None:
                await test(*args, world=world, **kwargs)
                await world.leave()

            run(world.clock, run_and_leave())

        return run_it

    for name, test in list(vars(tests).items()):
        if inspect.iscoroutinefunction(test):
            setattr(tests, name, run_test(test))
    return tests


@in_virtual_time
class TestClient:
    @pytest.mark.parametrize("word", ["done", "failed"])
    async def test_it_is_closed_at_the_end(self, world: World, word: str) -> None:
        world.service.sync(V1, word, done=True)
        await world.wait_for_version()
        assert world.service.closed == {1: 1}

    async def test_one_serves_the_whole_wait(self, world: World) -> None:
        wait = world.wait_for_version()
        await asyncio.sleep(60)
        world.service.finish(V1)
        await wait
        assert world.service.opened == 1

    async def test_it_is_closed_when_the_wait_is_cancelled_during_a_request(self, world: World) -> None:
        world.service.latency = 5
        wait = world.wait_for_version()
        await asyncio.sleep(1)
        wait.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wait
        assert world.service.closed == {1: 1}

    async def test_it_is_closed_when_the_wait_is_cancelled_between_two_requests(self, world: World) -> None:
        wait = world.wait_for_version()
        await asyncio.sleep(1)
        wait.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wait
        assert world.service.closed == {1: 1}

    @pytest.mark.parametrize("error", [OSError("secrets backend is down"), RuntimeError("no supervisor")])
    async def test_a_connection_that_cannot_be_read_now_is_read_again(self, world: World, error: Exception) -> None:
        """Issue 70398 of Airflow: a local error was reported as the failure of the job."""
        world.service.finish(V1)
        failing = [error, error]

        async def connect() -> AsyncCerebrasClient:
            if failing:
                raise failing.pop()
            return await world.service.connect()

        outcome = await world.wait_for_version(connect=connect)
        assert (outcome.status, world.clock.elapsed) == (Status.SUCCEEDED, 4 + 8)

    async def test_a_connection_that_cannot_be_read_until_the_deadline_is_a_time_out(self, world: World) -> None:
        async def connect() -> AsyncCerebrasClient:
            raise OSError("secrets backend is down")

        outcome = await world.wait_for_version(connect=connect)
        assert outcome.status is Status.TIMEOUT
        assert "secrets backend is down" in outcome.message

    async def test_a_connection_that_cannot_be_used_is_unreachable_at_once(self, world: World) -> None:
        async def connect() -> AsyncCerebrasClient:
            raise ValueError("Connection 'cerebras_default', field password: is empty.")

        outcome = await world.wait_for_version(connect=connect)
        assert outcome.status is Status.UNREACHABLE
        assert "field password" in outcome.message
        assert world.clock.elapsed == 0

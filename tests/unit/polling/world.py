"""A service, and those who wait on a virtual event loop for what goes on there."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_cerebras.polling.deployments import DeploymentPoller
from airflow_provider_cerebras.polling.shared import wait_async
from airflow_provider_cerebras.polling.versions import ModelVersionPoller
from tests.unit.fake_service import ENDPOINT, version
from tests.unit.polling.virtual_time import run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from airflow_provider_cerebras.polling._clients import Connect
    from airflow_provider_cerebras.polling.log import Log
    from airflow_provider_cerebras.polling.outcome import Outcome
    from airflow_provider_cerebras.polling.pollers import Poller
    from tests.unit.fake_service import FakeService
    from tests.unit.polling.virtual_time import Clock

    Wait = asyncio.Task[Outcome]

TestsT = TypeVar("TestsT", bound=type)

LOG = logging.getLogger("tests.polling")
V1, V2, V3 = version(1), version(2), version(3)


class World:
    """A service, a clock, and those who wait.

    :param clock: the time.
    :param service: where all of them ask.
    """

    def __init__(self, clock: Clock, service: FakeService) -> None:
        self.service = service
        self.clock = clock
        self._waits: list[Wait] = []

    def wait(
        self,
        poller: Poller[Any],
        *,
        poll_interval: float = 30,
        conn_id: str = "cerebras_default",
        connect: Connect | None = None,
        log: Log = LOG,
    ) -> Wait:
        """Let one more wait."""
        waiting = wait_async(conn_id, connect or self.service.connect, poller, poll_interval=poll_interval, log=log)
        self._waits.append(asyncio.create_task(waiting))
        return self._waits[-1]

    def wait_for_version(
        self, name: str = V1, *, timeout: float | None = 100_000, is_first: bool = False, **kwargs: Any
    ) -> Wait:
        """Let one more wait for a version."""
        now = self.clock.time()
        deadline = None if timeout is None else now + timeout
        poller = ModelVersionPoller(name, deadline=deadline, started=now, is_first=is_first)
        return self.wait(poller, **kwargs)

    def wait_for_deployment(
        self,
        deployment_id: str,
        endpoint_id: str = ENDPOINT,
        *,
        timeout: float = 100_000,
        is_first: bool = False,
        **kwargs: Any,
    ) -> Wait:
        """Let one more wait for a deployment."""
        now = self.clock.time()
        poller = DeploymentPoller(endpoint_id, deployment_id, deadline=now + timeout, started=now, is_first=is_first)
        return self.wait(poller, **kwargs)

    async def asked_within(self, seconds: float) -> list[str]:
        """Let some time pass; what is asked for in it."""
        before = len(self.service.log)
        await asyncio.sleep(seconds)
        return self.service.paths[before:]

    async def leave(self) -> None:
        """Cancel every waiter that is left, and see that nothing is left of them."""
        for wait in self._waits:
            wait.cancel()
        await asyncio.gather(*self._waits, return_exceptions=True)
        assert self.service.open_clients == 0
        assert set(self.service.closed.values()) <= {1}
        assert not self.service.cut_off
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def cancel(wait: asyncio.Task[Any]) -> None:
    """Cancel one who waits, and let it have its end."""
    wait.cancel()
    with suppress(asyncio.CancelledError):
        await wait


def in_virtual_time(tests: TestsT) -> TestsT:
    """Run the tests of a class, each with a ``world``, on a virtual loop; nothing may be left there in the end."""

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

"""An emulator in this process, on a clock that tests move."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Protocol

import httpx
import pytest

from airflow_provider_cerebras.emulator.app import create_app
from airflow_provider_cerebras.emulator.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class FakeClock:
    def __init__(self) -> None:
        self.now = 1_736_700_000.25

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Start(Protocol):
    async def __call__(self, **settings: Any) -> httpx.AsyncClient: ...


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def advance(clock: FakeClock) -> Callable[[float], None]:
    return clock.advance


@pytest.fixture
async def start(clock: FakeClock) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def client(**settings: Any) -> httpx.AsyncClient:
            app = create_app(Settings(**{"sync_seconds": 10, "rollout_seconds": 10, **settings}), clock)
            return await stack.enter_async_context(
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(app),
                    base_url="http://emulator",
                    headers={"Authorization": "Bearer emulator-management-key"},
                )
            )

        yield client


@pytest.fixture
async def api(start: Start) -> httpx.AsyncClient:
    """A client with the management key of an emulator with 10 seconds per sync and per rollout."""
    return await start()

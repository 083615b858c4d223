"""A process that stood still waits before it does what must happen once."""

from __future__ import annotations

import asyncio

from airflow_provider_cerebras.triggers._standstill import SETTLING_TIME, STANDSTILL, Standstill
from tests.unit.polling.virtual_time import Clock, run


def test_without_a_standstill_nothing_is_waited_for() -> None:
    clock = Clock()

    async def wait() -> float:
        with Standstill() as standstill:
            await asyncio.sleep(100)
            await standstill.settle()
        return clock.elapsed

    assert run(clock, wait()) == 100


def test_after_one_its_settling_time_is_waited_for() -> None:
    clock = Clock()

    async def wait() -> float:
        with Standstill() as standstill:
            await asyncio.sleep(100)
            clock.exact += STANDSTILL + 1
            await standstill.settle()
            return clock.elapsed

    assert run(clock, wait()) == 100 + STANDSTILL + 1 + SETTLING_TIME


def test_one_that_was_noticed_by_the_tick_counts_until_its_settling_time_has_passed() -> None:
    clock = Clock()

    async def wait() -> list[float]:
        moments = []
        with Standstill() as standstill:
            await asyncio.sleep(100)
            clock.exact += STANDSTILL + 1
            await asyncio.sleep(3)
            for _ in range(2):
                await standstill.settle()
                moments.append(clock.elapsed)
        return moments

    settled = 100 + STANDSTILL + 1 + SETTLING_TIME
    assert run(clock, wait()) == [settled, settled]


def test_nothing_ticks_any_more_after_it() -> None:
    clock = Clock()

    async def wait() -> None:
        with Standstill():
            await asyncio.sleep(2)
        await asyncio.sleep(0)
        assert not [handle for handle in asyncio.get_running_loop()._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]

    run(clock, wait())

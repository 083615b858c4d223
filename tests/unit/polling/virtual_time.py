"""Time that passes only while everyone waits for it, so that hours take milliseconds and every moment is exact."""

from __future__ import annotations

import asyncio
import random
import selectors
import time
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

    import pytest

ResultT = TypeVar("ResultT")

START = 1_736_700_000.0


class Clock:
    """The time, which only sleeping moves, on a thread or on an event loop of :class:`VirtualTimeLoop`.

    :ivar exact: seconds since :data:`START`, as a loop adds them up.
    :ivar pauses: the sleeps on a thread, in seconds.
    """

    def __init__(self) -> None:
        self.exact = 0.0
        self.pauses: list[float] = []

    @classmethod
    def install(cls, monkeypatch: pytest.MonkeyPatch) -> Self:
        """Put one in the place of ``time.time`` and ``time.sleep``, and take the chance out of jitter."""
        clock = cls()
        monkeypatch.setattr(time, "time", clock.time)
        monkeypatch.setattr(time, "sleep", clock.sleep)
        monkeypatch.setattr(random, "uniform", lambda low, high: (low + high) / 2)
        return clock

    @property
    def elapsed(self) -> float:
        """Seconds since :data:`START`, of which so large a number cannot hold more than millionths."""
        return round(self.exact, 6)

    def time(self) -> float:
        """What ``time.time`` says."""
        return START + self.elapsed

    def sleep(self, seconds: float) -> None:
        """What ``time.sleep`` does."""
        self.pauses.append(seconds)
        self.exact += seconds


class _Selector(selectors.DefaultSelector):
    """Lets the time that it is told to wait pass at once."""

    clock: Clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("Everyone waits for something that nothing will ever bring about.")
        self.clock.exact += max(timeout, 0.0)
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose timers move the clock; it knows neither threads nor sockets.

    :param clock: the time; several loops may share it.
    """

    def __init__(self, clock: Clock) -> None:
        selector = _Selector()
        selector.clock = clock
        super().__init__(selector)
        self._virtual = clock

    def time(self) -> float:
        """Return the virtual time."""
        return self._virtual.exact


def run(clock: Clock, main: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Run a coroutine to its end on a loop of its own, as ``asyncio.run`` does."""
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(clock)) as runner:
        return runner.run(main)

"""Notices that the process has stood still: a triggerer that is paused may have been taken over by another one.

Its triggers go on for a moment when it runs again, until its supervisor has found out whose they are now. What must
happen once only has to wait for that moment to pass.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

STANDSTILL = 4.0
"""Seconds without a tick that count as one; a triggerer is taken over after 30 s by default."""
SETTLING_TIME = 10.0
"""Seconds that a supervisor has to end the triggers that are no longer its own."""
_TICK = 1.0


class Standstill:
    """Ticks on the running event loop while it is entered."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._last_tick = self._loop.time()
        self._ended: float | None = None
        self._handle: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._tick()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._handle.cancel()

    async def settle(self) -> None:
        """Return at once; but after a standstill, not before its settling time has passed."""
        while True:
            # After a standstill, the tick need not be the first callback that runs.
            self._note()
            if self._ended is None or (left := self._ended + SETTLING_TIME - self._loop.time()) <= 0:
                return
            await asyncio.sleep(left)

    def _tick(self) -> None:
        self._note()
        self._handle = self._loop.call_later(_TICK, self._tick)

    def _note(self) -> None:
        now = self._loop.time()
        if now - self._last_tick >= STANDSTILL:
            self._ended = now
        self._last_tick = now

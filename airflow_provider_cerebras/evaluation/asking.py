"""Asking all questions: so many at once, with one pause for all when the service asks for one.

The caller decides how a request is sent and where results go; this module decides only what is asked when.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from typing import TYPE_CHECKING

from airflow_provider_cerebras.api.errors import (
    CerebrasAPIError,
    CerebrasError,
    CerebrasTransportError,
    RateLimited,
    ServerError,
    UnexpectedResponse,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from airflow_provider_cerebras.evaluation.results import Question, Result

_MAX_PAUSE = 120.0
_MAX_BACKOFF = 30.0
_PASSING = {408, 425}


async def ask_all(
    questions: Iterator[Question],
    ask: Callable[[Question], Awaitable[Result]],
    take: Callable[[Result], None],
    *,
    concurrency: int,
    max_retries: int,
) -> None:
    """Ask all questions. The first error ends it, once the requests that are under way have ended.

    :param questions: what to ask.
    :param ask: sends one request, once.
    :param take: takes each result; it may raise to end the asking.
    :param concurrency: how many requests at once.
    :param max_retries: how often a question is asked again after a passing error, and how many pauses may follow one
        another without a single answer between them.
    :raises CerebrasError: if a question cannot be asked.
    """
    await _Asking(ask, take, max_retries).run(questions, concurrency)


class _Asking:
    def __init__(
        self, ask: Callable[[Question], Awaitable[Result]], take: Callable[[Result], None], max_retries: int
    ) -> None:
        self._ask = ask
        self._take = take
        self._max_retries = max_retries
        self._now = asyncio.get_running_loop().time
        self._error: BaseException | None = None
        self._idle: set[asyncio.Task[None]] = set()
        self._paused_until = -math.inf
        self._pauses = 0

    async def run(self, questions: Iterator[Question], concurrency: int) -> None:
        workers = [asyncio.create_task(self._work(questions)) for _ in range(concurrency)]
        try:
            await asyncio.gather(*workers, return_exceptions=True)
        finally:
            for worker in workers:
                worker.cancel()
        if self._error is not None:
            raise self._error

    async def _work(self, questions: Iterator[Question]) -> None:
        try:
            for question in questions:
                self._take(await self._answer(question))
                if self._error is not None:
                    return
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  raised again by run(); Airflow's SIGTERM is not an Exception
            self._error = self._error or error
            # Those who wait would ask once more.
            for each in self._idle:
                each.cancel()

    async def _answer(self, question: Question) -> Result:
        failures = 0
        while True:
            while (seconds := self._paused_until - self._now()) > 0:
                await self._wait(seconds)
            try:
                result = await self._ask(question)
            except RateLimited as error:
                self._pause(error)
            except CerebrasError as error:
                failures += 1
                if failures > self._max_retries or not _is_passing(error):
                    raise
                await self._wait(max(_backoff(failures), min(error.retry_after or 0.0, _MAX_PAUSE)))
            else:
                self._pauses = 0
                return result

    def _pause(self, error: RateLimited) -> None:
        """Let all wait. Requests that were under way when the pause began only make it longer."""
        now = self._now()
        if now >= self._paused_until:
            self._pauses += 1
            if self._pauses > self._max_retries:
                raise error
        seconds = _backoff(self._pauses) if error.retry_after is None else min(error.retry_after, _MAX_PAUSE)
        self._paused_until = max(self._paused_until, now + seconds)

    async def _wait(self, seconds: float) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  only workers wait
        if self._error is not None:
            raise asyncio.CancelledError
        self._idle.add(task)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._idle.discard(task)


def _is_passing(error: CerebrasError) -> bool:
    if isinstance(error, CerebrasAPIError):
        # An error that is not from the API is from a gateway, and says nothing about the request.
        return isinstance(error, ServerError) or error.status_code in _PASSING or not error.is_from_api
    return isinstance(error, CerebrasTransportError | UnexpectedResponse)


def _backoff(attempt: int) -> float:
    return random.uniform(0.5, 1) * min(2.0 ** (attempt - 1), _MAX_BACKOFF)  # noqa: S311  it spreads requests only


class Progress:
    """Reports the progress from time to time.

    :param total: number of questions.
    :param done: how many had a result before.
    :param interval: seconds between two lines.
    :param clock: gives seconds from any beginning.
    """

    def __init__(
        self, total: int, done: int, *, interval: float = 15.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total = total
        self._before = done
        self._interval = interval
        self._clock = clock
        self._began = self._told = clock()

    def line(self, done: int) -> str | None:
        """Return a line for the log if one is due: at intervals, and at the end.

        :param done: how many have a result now.
        """
        now = self._clock()
        if now - self._told < self._interval and done < self._total:
            return None
        self._told = now
        rate = (done - self._before) / max(now - self._began, 1e-9)
        left = f", about {(self._total - done) / rate:.0f} s left" if rate > 0 and done < self._total else ""
        return f"{done} of {self._total} questions answered, {rate:.1f} a second{left}."

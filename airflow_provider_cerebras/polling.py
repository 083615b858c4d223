"""How often to look, and the two loops that look until a wait has ended: on a worker and on an event loop.

What a look means is decided in :mod:`.waiting`; the loops differ only in how they ask and how they sleep.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Protocol, TypeVar

from airflow_provider_cerebras.api.client import MAX_RETRY_AFTER
from airflow_provider_cerebras.api.errors import CerebrasError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from airflow_provider_cerebras.api.client import AsyncCerebrasClient, CerebrasClient
    from airflow_provider_cerebras.waiting import Outcome, Watch

AnswerT = TypeVar("AnswerT")


class Log(Protocol):
    """As much of a logger as is needed here; Airflow's are of more than one class."""

    def info(self, message: str, /, *args: object) -> object:
        """Log what a person may want to know."""

    def warning(self, message: str, /, *args: object) -> object:
        """Log what a person may have to look into."""


MIN_INTERVAL = 2.0
"""Seconds between two looks at the beginning of a wait, unless ``poll_interval`` is less."""
_GROWTH = 0.1
_MAX_SLOWDOWN = 4
_JITTER = 0.1


def next_interval(
    *, waited: float, poll_interval: float, failures: int = 0, retry_after: float = 0.0, jitter: float = 0.0
) -> float:
    """Seconds until the next look.

    A tenth of the time already waited, so that an end is noticed within about a tenth of the time that it took;
    longer the more looks in a row got no answer; never shorter than the service asked for.

    :param waited: seconds since the wait began.
    :param poll_interval: the longest interval, in seconds, while the service answers.
    :param failures: looks in a row that got no answer.
    :param retry_after: seconds that the service asked us to wait.
    :param jitter: between -1 and 1; shifts the interval by up to a tenth, to keep waiters apart.
    """
    interval = min(max(waited * _GROWTH, MIN_INTERVAL), poll_interval)
    if failures:
        interval = min(interval * 2.0 ** min(failures, 16), poll_interval * _MAX_SLOWDOWN)
    return max(interval * (1 + _JITTER * jitter), min(retry_after, MAX_RETRY_AFTER))


def look(client: CerebrasClient, watch: Watch[AnswerT], *, log: Log) -> Outcome | None:
    """Look once.

    :param client: whom to ask.
    :param watch: what to ask for; it is told the answer.
    :param log: where the progress goes.
    :return: how the wait ended, or None while it goes on.
    """
    heard: AnswerT | CerebrasError
    try:
        heard = client.send_once(watch.call)
    except CerebrasError as error:
        heard = error
    return _tell(watch, heard, log)


def wait(client: CerebrasClient, watch: Watch[AnswerT], *, poll_interval: float, log: Log) -> Outcome:
    """Look until the wait has ended, holding the worker.

    :param client: whom to ask.
    :param watch: what to ask for.
    :param poll_interval: the longest interval between two looks, in seconds.
    :param log: where the progress goes.
    """
    while (outcome := look(client, watch, log=log)) is None:
        time.sleep(_pause(watch, poll_interval))
    return outcome


async def wait_async(
    connect: Callable[[], Awaitable[AsyncCerebrasClient]],
    watch: Watch[AnswerT],
    *,
    poll_interval: float,
    log: Log,
) -> Outcome:
    """Look until the wait has ended, without holding the event loop.

    :param connect: makes the client; one that fails is tried again like a look that got no answer.
    :param watch: what to ask for.
    :param poll_interval: the longest interval between two looks, in seconds.
    :param log: where the progress goes.
    """
    client: AsyncCerebrasClient | None = None
    try:
        while True:
            heard: AnswerT | Exception
            try:
                client = client or await connect()
                heard = await client.send_once(watch.call)
            except Exception as error:  # noqa: BLE001  reading the connection can fail in any way that Airflow can
                heard = error
            if outcome := _tell(watch, heard, log):
                return outcome
            await asyncio.sleep(_pause(watch, poll_interval))
    finally:
        if client is not None:
            await client.aclose()


def _tell(watch: Watch[AnswerT], heard: AnswerT | Exception, log: Log) -> Outcome | None:
    before = watch.progress
    outcome = watch.hear(heard, time.time())
    if outcome is not None:
        log.info("%s", outcome.message)
    elif watch.failures:
        log.warning("%s: %s; it will be asked again.", watch.subject, watch.progress)
    elif watch.progress != before:
        log.info("%s: %s.", watch.subject, watch.progress)
    return outcome


def _pause(watch: Watch[AnswerT], poll_interval: float) -> float:
    now = time.time()
    interval = next_interval(
        waited=now - watch.started,
        poll_interval=poll_interval,
        failures=watch.failures,
        retry_after=watch.retry_after,
        jitter=random.uniform(-1, 1),  # noqa: S311  it keeps waiters apart and guards nothing
    )
    # The last look is at the deadline itself.
    return interval if watch.deadline is None else max(0.0, min(interval, watch.deadline - now))

"""The interval between polls: it grows with the time already waited. Pure, but for the jitter."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

from airflow_provider_cerebras.api.client import MAX_RETRY_AFTER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_cerebras.polling.pollers import Poller

MIN_INTERVAL = 2.0
"""Seconds between two polls at the beginning of a wait, unless ``poll_interval`` is less."""
NEWCOMER_INTERVAL = 0.2
"""Seconds between two polls at the least, however many come who are owed a poll at once, or are at their deadlines."""
_GROWTH = 0.1
_MAX_SLOWDOWN = 4
_JITTER = 0.1


def next_interval(*, waited: float, poll_interval: float, failures: int = 0, jitter: float = 0.0) -> float:
    """Seconds until the next poll.

    A tenth of the time already waited, so that an end is noticed within about a tenth of the time that it took;
    longer the more polls in a row got no usable response.

    :param waited: seconds since the wait began.
    :param poll_interval: the longest interval, in seconds, while polls succeed.
    :param failures: polls in a row that got no usable response.
    :param jitter: between -1 and 1; shifts the interval by up to a tenth, to keep collections apart.
    """
    interval = min(max(waited * _GROWTH, MIN_INTERVAL), poll_interval)
    if failures:
        interval = min(interval * 2.0 ** min(failures, 16), poll_interval * _MAX_SLOWDOWN)
    return interval * (1 + _JITTER * jitter)


def pause(
    waits: Iterable[tuple[Poller[Any], float]], *, now: float, failures: int, retry_after: float, jitter: float
) -> float:
    """Seconds until the next poll, by the shortest interval of those who wait; the last poll is at the deadline itself.

    It is never shorter than the service asked for, even if a deadline comes first.

    :param waits: who waits, each with their ``poll_interval``.
    :param now: in Unix seconds.
    :param failures: see :func:`next_interval`.
    :param retry_after: seconds that the service asked us to wait.
    :param jitter: see :func:`next_interval`.
    """
    # It grows with the time waited, so of those with the same poll_interval the last who came has the shortest.
    latest: dict[float, float] = {}
    first_deadline: dict[float, float] = {}
    for poller, poll_interval in waits:
        latest[poll_interval] = max(poller.started, latest.get(poll_interval, -math.inf))
        if poller.deadline is not None:
            first_deadline[poll_interval] = min(poller.deadline, first_deadline.get(poll_interval, math.inf))

    def wanted(poll_interval: float) -> float:
        interval = next_interval(
            waited=now - latest[poll_interval], poll_interval=poll_interval, failures=failures, jitter=jitter
        )
        until_deadline = first_deadline.get(poll_interval, math.inf) - now
        return max(min(interval, until_deadline), min(NEWCOMER_INTERVAL, poll_interval))

    return max(min(map(wanted, latest)), min(retry_after, MAX_RETRY_AFTER))


def jitter() -> float:
    """Return a jitter for :func:`next_interval`."""
    return random.uniform(-1, 1)  # noqa: S311  it keeps collections apart and guards nothing

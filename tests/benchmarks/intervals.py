"""What the adaptive interval costs and gives against fixed ones, for a job and a collection, on a simulated clock."""

from __future__ import annotations

import random
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from airflow_provider_cerebras.polling.intervals import NEWCOMER_INTERVAL, next_interval

if TYPE_CHECKING:
    from collections.abc import Callable

DURATIONS = (10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 10800)
"""Seconds that a job takes."""
POLL_INTERVAL = 30.0
"""The default of the upload operator."""
_FIXED = (5, 15, 30, 60)
_SAMPLES = 400
# A job does not take exactly so long; how the moment of its end falls between two polls is a matter of luck.
_SPREAD = 0.2
_COLLECTIONS = 200
_MINUTE = 60.0


@dataclass(frozen=True)
class Result:
    """How one way of choosing intervals did; delays in seconds, requests by job."""

    policy: str
    duration: int
    requests: float
    mean_delay: float
    worst_delay: float


def simulate() -> list[Result]:
    dice = random.Random(20)

    def adaptive(waited: float) -> float:
        return next_interval(waited=waited, poll_interval=POLL_INTERVAL, jitter=dice.uniform(-1, 1))

    policies: dict[str, Callable[[float], float]] = {f"ours, at most {POLL_INTERVAL:.0f} s": adaptive}
    for seconds in _FIXED:
        policies[f"fixed, {seconds} s"] = lambda _waited, seconds=seconds: float(seconds)  # type: ignore[misc]
    results = []
    for policy, interval in policies.items():
        for duration in DURATIONS:
            runs = [
                polls(interval, duration * (1 - _SPREAD / 2 + _SPREAD * sample / _SAMPLES))
                for sample in range(_SAMPLES)
            ]
            delays = [delay for _, delay in runs]
            results.append(Result(policy, duration, fmean(n for n, _ in runs), fmean(delays), max(delays)))
    return results


@dataclass(frozen=True)
class Shared:
    """How one way of choosing intervals did for those who share a poll; delays in seconds, requests by collection."""

    policy: str
    waiters: int
    staggered: bool
    requests: float
    p50: float
    p99: float


def simulate_collections() -> list[Shared]:
    """Let jobs end at random, and those who wait for them share a poll, as ours do."""
    dice = random.Random(21)

    def adaptive(limit: float) -> Callable[[float], float]:
        return lambda waited: next_interval(waited=waited, poll_interval=limit, jitter=dice.uniform(-1, 1))

    policies: dict[str, Callable[[float], float]] = {
        f"ours, at most {POLL_INTERVAL:.0f} s": adaptive(POLL_INTERVAL),
        "ours, at most 5 s": adaptive(5.0),
    }
    for seconds in (2, 5, 10):
        policies[f"fixed, {seconds} s"] = lambda _waited, seconds=seconds: float(seconds)  # type: ignore[misc]
    results = []
    for waiters, staggered in ((1, False), (10, False), (10, True), (100, True)):
        for policy, interval in policies.items():
            counts, delays = [], []
            for _ in range(_COLLECTIONS):
                starts = sorted(dice.uniform(0, _MINUTE) if staggered else 0.0 for _ in range(waiters))
                count, late = shared_polls(interval, [(start, start + dice.uniform(0, _MINUTE)) for start in starts])
                counts.append(count)
                delays += late
            delays.sort()
            p50, p99 = (delays[int(len(delays) * share)] for share in (0.5, 0.99))
            results.append(Shared(policy, waiters, staggered, fmean(counts), p50, p99))
    return results


def shared_polls(interval: Callable[[float], float], jobs: list[tuple[float, float]]) -> tuple[int, list[float]]:
    """Return how many polls at a collection it takes to see the end of all jobs in it, and how late each is.

    :param interval: seconds from a poll to the next, by the seconds that the last who came has waited.
    :param jobs: when a task begins to wait for each and when it ends, in seconds, by the beginning.
    """
    now, count, delays = jobs[0][0], 0, []
    coming, waiting = list(jobs), list[tuple[float, float]]()
    while coming or waiting:
        waiting += [job for job in coming if job[0] <= now]
        coming = [job for job in coming if job[0] > now]
        count += 1
        delays += [now - end for _, end in waiting if end <= now]
        waiting = [job for job in waiting if job[1] > now]
        due = now + interval(now - waiting[-1][0]) if waiting else float("inf")
        # A newcomer is owed a poll at once.
        now = min(due, max(coming[0][0], now + NEWCOMER_INTERVAL) if coming else float("inf"))
    return count, delays


def polls(interval: Callable[[float], float], duration: float) -> tuple[int, float]:
    """Return how many polls it takes to see the end of a job, and how late that is.

    :param interval: seconds from a poll to the next, by the seconds waited at the time of it.
    :param duration: of the job, in seconds.
    """
    now, count = 0.0, 1
    while now < duration:
        now += interval(now)
        count += 1
    return count, now - duration


def expected_polls(duration: float, poll_interval: float) -> int:
    """How many looks at one collection our interval calls for until its last job is done."""
    return polls(lambda waited: next_interval(waited=waited, poll_interval=poll_interval), duration)[0]

"""What the adaptive interval costs and gives against fixed ones, on a simulated clock."""

from __future__ import annotations

import random
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from airflow_provider_cerebras.polling.intervals import next_interval

if TYPE_CHECKING:
    from collections.abc import Callable

DURATIONS = (10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 10800)
"""Seconds that a job takes."""
POLL_INTERVAL = 30.0
"""The default of the upload operator."""
_FIXED = (5, 15, 30, 60)
_SAMPLES = 400
# A job does not take exactly so long; how the moment of its end falls between two looks is a matter of luck.
_SPREAD = 0.2


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
                looks(interval, duration * (1 - _SPREAD / 2 + _SPREAD * sample / _SAMPLES))
                for sample in range(_SAMPLES)
            ]
            delays = [delay for _, delay in runs]
            results.append(Result(policy, duration, fmean(n for n, _ in runs), fmean(delays), max(delays)))
    return results


def looks(interval: Callable[[float], float], duration: float) -> tuple[int, float]:
    """Return how many looks it takes to see the end of a job, and how late that is.

    :param interval: seconds from a look to the next, by the seconds waited at the time of it.
    :param duration: of the job, in seconds.
    """
    now, count = 0.0, 1
    while now < duration:
        now += interval(now)
        count += 1
    return count, now - duration


def expected_looks(duration: float, poll_interval: float) -> int:
    """How many looks at one collection our interval calls for until its last job is done."""
    return looks(lambda waited: next_interval(waited=waited, poll_interval=poll_interval), duration)[0]

"""What is given to Airflow's metrics."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta


class Sent:
    """What was sent, each name with its tags."""

    def __init__(self) -> None:
        self.counters: Counter[tuple[str, str]] = Counter()
        self.timers: list[tuple[str, str, float]] = []

    def incr(self, stat: str, *, tags: dict[str, str]) -> None:
        """Do what a backend of metrics does for a counter."""
        self.counters[stat, str(tags)] += 1

    def timing(self, stat: str, duration: timedelta, *, tags: dict[str, str]) -> None:
        """The same for a timer."""
        self.timers.append((stat, str(tags), duration.total_seconds()))

"""Counters and timers of the provider, by Airflow's own metrics: StatsD, Datadog or OpenTelemetry, whichever is on.

The names are data, so that the docs can be held to them. A name holds no id, for each name is a time series of its own;
the architecture or the endpoint, of which there are a few, comes as a tag. Where metrics are off, nothing is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

COUNTERS = {
    "submitted": "a request of this attempt was answered with it",
    "adopted": "an earlier attempt, or another client, had made it already",
    "reconciled": "a request of this attempt ended with an unknown outcome, and a later poll found its effect",
    "polls": "a request was sent to see how far it is; those who share a poll share it here too",
    "waits.succeeded": "a wait ended, and it is there",
    "waits.failed": "a wait ended, and the service has failed",
    "waits.lost": "a wait ended, and the service no longer knows of it",
    "waits.timeout": "a wait ended at its deadline",
    "waits.unreachable": "a wait ended, since the service can never be asked by this connection",
}
"""The last part of each counter's name, and when it goes up by one."""

_OPTIONS = ("statsd_on", "statsd_datadog_enabled", "otel_on")
_DONE_BEFORE = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Subject:
    """A kind of thing that is made at the service and waited for.

    :param name: its name in the names of its metrics.
    :param duration: the last part of the name of the timer for how long it takes.
    :param tag: name of the tag for the thing that it belongs to.
    """

    name: str
    duration: str
    tag: str

    def metric(self, last_part: str) -> str:
        """Return the full name of a metric, but for the prefix that Airflow is configured with."""
        return f"cerebras.{self.name}.{last_part}"

    def count(self, what: str, belongs_to: str) -> None:
        """Count one.

        :param what: a key of :data:`COUNTERS`.
        :param belongs_to: value of the tag.
        """
        if (stats := _stats()) is not None:
            stats.incr(self.metric(what), tags={self.tag: belongs_to})

    def took(self, seconds: float, belongs_to: str) -> None:
        """Time one that has succeeded. What was there before the wait has taken no time that we know.

        :param seconds: since the wait began.
        :param belongs_to: value of the tag.
        """
        duration = timedelta(seconds=seconds)
        if duration >= _DONE_BEFORE and (stats := _stats()) is not None:
            # Airflow 2 takes numbers for seconds or for milliseconds, by a setting; this is neither.
            stats.timing(self.metric(self.duration), duration, tags={self.tag: belongs_to})


MODEL_VERSION = Subject("model_version", duration="sync_duration", tag="model_arch_id")
DEPLOYMENT = Subject("deployment", duration="rollout_duration", tag="endpoint_id")


@cache
def _stats() -> Any:
    """Airflow's metrics, or None if they are off."""
    from airflow.providers.common.compat.sdk import conf

    if not any(conf.getboolean("metrics", option, fallback=False) for option in _OPTIONS):
        return None
    from airflow.providers.common.compat.sdk import Stats

    return Stats

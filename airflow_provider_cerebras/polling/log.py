"""The log lines of a wait: its begin, its state from time to time, and outages.

A wait of hours is neither silent nor a flood. There are at most :data:`MAX_LINES_PER_HOUR` lines an hour, whatever the
service does, and a poll that changes nothing costs nothing here.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_cerebras.polling.evidence import MIN_RESPONSES
from airflow_provider_cerebras.polling.intervals import MIN_INTERVAL, next_interval
from airflow_provider_cerebras.polling.outcome import Outcome, Status
from airflow_provider_cerebras.polling.pollers import in_utc

if TYPE_CHECKING:
    from airflow_provider_cerebras.polling.pollers import Poller

REPORT_INTERVAL = 600.0
"""Seconds between two lines that say how a wait stands."""
MAX_LINES_PER_HOUR = 20
"""Lines that one wait logs in an hour at the most; six of them are those that say how it stands."""
_MANY = 99
_MAX_CHANGES_PER_HOUR = MAX_LINES_PER_HOUR - math.ceil(3600 / REPORT_INTERVAL) - 1


class Log(Protocol):
    """As much of a logger as is needed here; Airflow's are of more than one class."""

    def info(self, message: str, /, *args: object) -> object:
        """Log what a person may want to know."""

    def warning(self, message: str, /, *args: object) -> object:
        """Log a problem that a person may have to check."""


class WaitLog:
    """The log of one wait. It applies each response to the poller, because only then can it see the change.

    :param log: where the lines go.
    :param poller: who waits.
    :param poll_interval: the longest interval between two polls, in seconds.
    :ivar next_report: when it is time for :meth:`report`, in Unix seconds.
    """

    def __init__(self, log: Log, poller: Poller[Any], *, poll_interval: float) -> None:
        self._log = log
        self._poller = poller
        self._poll_interval = poll_interval
        self._progress = poller.progress
        self._progress_since = 0.0
        self._outage_since: float | None = None
        self._outage_logged = False
        self._ends_said: set[float | None] = set()
        self._times: deque[float] = deque()
        self._left_out = 0
        self._is_quiet = True
        self.next_report = math.inf

    def begin(self, now: float) -> None:
        """Log the subject of the wait, its deadline and its poll interval.

        :param now: in Unix seconds.
        """
        self.resume(now)
        deadline = self._poller.deadline
        shortest = min(MIN_INTERVAL, self._poll_interval)
        self._log.info(
            "Waiting %s: %s. Polled every %g to %g s; its state is logged every %s.",
            "without a deadline" if deadline is None else f"until {in_utc(deadline)}",
            self._poller.subject,
            shortest,
            self._poll_interval,
            duration(REPORT_INTERVAL),
        )

    def resume(self, now: float) -> None:
        """Go on with a wait whose beginning is in an earlier log. Before, only outages are logged.

        :param now: in Unix seconds.
        """
        self._is_quiet = False
        self.next_report = now + REPORT_INTERVAL
        self._progress_since = now

    def apply(self, response: object, now: float) -> Outcome | None:
        """Apply a response to the poller, log the change, and count the outcome of the wait.

        :param response: see :meth:`Poller.apply`.
        :param now: see :meth:`Poller.apply`.
        """
        poller = self._poller
        outcome = poller.apply(response, now)
        if outcome is not None:
            self._end(outcome, now)
            return outcome
        if poller.failures:
            if self._outage_since is None:
                self._begin_outage(now)
            elif poller.ends_after not in self._ends_said:
                self._ends_said.add(poller.ends_after)
                if self._may_log(now):
                    self._log_what_ends_it()
        elif self._outage_since is not None:
            self._end_outage(now)
        elif poller.progress != self._progress:
            self._progress, self._progress_since = poller.progress, now
            if not self._is_quiet and self._may_log(now):
                self._log.info("%s: %s.", poller.subject, poller.progress)
        if now >= self.next_report:
            self.report(now)
        return None

    def report(self, now: float) -> None:
        """Log how the wait stands.

        :param now: in Unix seconds.
        """
        self.next_report = now + REPORT_INTERVAL
        poller = self._poller
        left_out = f" {self._left_out} lines about changes were left out." if self._left_out else ""
        self._left_out = 0
        if self._outage_since is None:
            self._log.info(
                "%s: %s for %s. Next poll in about %.0f s.%s",
                poller.subject,
                poller.progress,
                duration(now - self._progress_since),
                self._next(now),
                left_out,
            )
        else:
            self._log.warning(
                "%s %s. The last %d polls failed, for %s. Next poll in about %.0f s.%s",
                poller.subject,
                poller.progress.rstrip("."),
                poller.failures,
                duration(now - self._outage_since),
                self._next(now),
                left_out,
            )

    def _begin_outage(self, now: float) -> None:
        self._outage_since = now
        self._ends_said = {None, self._poller.ends_after}
        self._outage_logged = self._may_log(now, lines=2)
        if self._outage_logged and self._poller.ends_after is None:
            self._log.warning(
                "%s %s. It will be polled again in about %.0f s, then less often, up to every %.0f s, and a line "
                "follows when polls succeed again.",
                self._poller.subject,
                self._poller.progress.rstrip("."),
                self._next(now),
                next_interval(waited=math.inf, poll_interval=self._poll_interval, failures=_MANY),
            )
        elif self._outage_logged:
            self._log_what_ends_it()

    def _log_what_ends_it(self) -> None:
        self._log.warning(
            "%s %s. The wait ends after %d such polls, over %s or more, if none in between succeeds.",
            self._poller.subject,
            self._poller.progress.rstrip("."),
            MIN_RESPONSES,
            duration(self._poller.ends_after or 0.0),
        )

    def _end_outage(self, now: float) -> None:
        began = self._outage_since or now
        self._outage_since = None
        poller = self._poller
        if poller.progress != self._progress:
            self._progress, self._progress_since = poller.progress, now
        if self._outage_logged:
            self._log.info("%s is polled again, after %s: %s.", poller.subject, duration(now - began), poller.progress)

    def _end(self, outcome: Outcome, now: float) -> None:
        poller = self._poller
        # The task raises an error for any other outcome, with the same message.
        if outcome.status is Status.SUCCEEDED:
            self._log.info("%s", outcome.message)
            poller.metrics.took(now - poller.started, poller.belongs_to)
        poller.metrics.count(f"waits.{outcome.status}", poller.belongs_to)

    def _next(self, now: float) -> float:
        interval = next_interval(
            waited=now - self._poller.started, poll_interval=self._poll_interval, failures=self._poller.failures
        )
        return max(interval, self._poller.retry_after)

    def _may_log(self, now: float, lines: int = 1) -> bool:
        """Count lines, unless there are too many in an hour."""
        times = self._times
        while times and times[0] <= now - 3600:
            times.popleft()
        if len(times) + lines > _MAX_CHANGES_PER_HOUR:
            self._left_out += lines
            return False
        times.extend([now] * lines)
        return True


def duration(seconds: float) -> str:
    """Write a duration for people, rounded.

    :param seconds: how long it is.
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes and not rest else f"{minutes} min {rest} s" if minutes else f"{rest} s"

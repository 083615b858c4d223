"""The number of responses, and the time, after which a refusal or an absence ends a wait.

One response proves little: a replica lags behind, a page of a list is missing, a gateway responds in place of the API.
Three in a row over a minute are not one of those. For a deployment that is no longer listed three in a row will do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import JsonValue

MIN_RESPONSES = 3
"""Responses in a row that say the same, until it counts."""
MIN_SPAN = 60.0
"""Seconds from the first to the last of them, at least."""

MIN_ABSENCE = 600.0
"""The same, in seconds, for a connection that Airflow does not find: its secrets backend may be down for a while."""


class Streak:
    """Responses in a row that say the same.

    :param span: seconds that they have to span; default: :data:`MIN_SPAN`.
    """

    def __init__(self, span: float | None = None) -> None:
        self._span = MIN_SPAN if span is None else span
        self.count = 0
        self.since = 0.0

    def add(self, now: float) -> bool:
        """Count one more, and return whether they are enough.

        :param now: in Unix seconds.
        """
        if not self.count:
            self.since = now
        self.count += 1
        return self.count >= MIN_RESPONSES and now - self.since >= self._span

    def reset(self) -> None:
        """Begin again: a response said something else."""
        self.count = 0

    def to_json(self) -> JsonValue:
        """Return it as plain JSON."""
        return [self.count, self.since]

    def restore(self, stored: object) -> None:
        """Go on from what :meth:`to_json` returned; anything else is passed over.

        :param stored: what was stored.
        """
        match stored:
            case [int(count), int() | float() as since] if count > 0:
                self.count, self.since = count, float(since)

"""When the connection is read again during a wait: a key may have been replaced, or a host corrected.

The worker and the triggerer share this decision. It does no I/O and reads no clock.
"""

from __future__ import annotations

from airflow_provider_cerebras.api.errors import Unauthorized


class ConnectionNotFound(Exception):
    """Airflow found no such connection. It does not say whether it is not defined or a secrets backend failed."""


MAX_FAILURES = 3
"""Polls in a row without a usable response, after which the connection is read again; after a 401 at once."""
MIN_PAUSE = 5.0
"""Seconds between two readings at the least; it doubles from one reading to the next."""
MAX_PAUSE = 300.0
"""Seconds between two readings at the most, while polls fail."""
MAX_AGE = 60.0
"""Seconds after which the connection is read again for a new waiter, although polls succeed."""


class Reconnection:
    """Decides when the connection has to be read again.

    :param now: when it was read, in Unix seconds.
    """

    def __init__(self, now: float) -> None:
        self._read_at = now
        self._pause = MIN_PAUSE
        self._failures = 0

    def on_response(self) -> None:
        """Note that a poll got a usable response."""
        self._failures = 0

    def on_error(self, error: Exception, now: float) -> bool:
        """Note that a poll failed.

        :param error: the error that it ended in.
        :param now: in Unix seconds.
        :return: whether the connection has to be read again.
        """
        self._failures += 1
        return (isinstance(error, Unauthorized) or self._failures >= MAX_FAILURES) and self._is_due(now)

    def on_new_waiter(self, now: float) -> bool:
        """Note that another task begins to wait, perhaps because the connection was corrected.

        :param now: in Unix seconds.
        :return: whether the connection has to be read again.
        """
        return now - self._read_at >= (MIN_PAUSE if self._failures else MAX_AGE)

    def on_reading(self, now: float) -> None:
        """Note that the connection is read again, whatever the result.

        :param now: in Unix seconds.
        """
        is_soon = now - self._read_at < 2 * self._pause
        self._pause = min(2 * self._pause, MAX_PAUSE) if is_soon else MIN_PAUSE
        self._read_at = now

    def _is_due(self, now: float) -> bool:
        return now - self._read_at >= self._pause

"""Waiting on a worker: poll, sleep, and poll again, by the same decisions and intervals as on the triggerer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_cerebras.api.errors import CerebrasError, Unauthorized
from airflow_provider_cerebras.polling.intervals import jitter, pause
from airflow_provider_cerebras.polling.log import WaitLog
from airflow_provider_cerebras.polling.reconnection import Reconnection

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cerebras.api.client import CerebrasClient
    from airflow_provider_cerebras.api.operations import Call
    from airflow_provider_cerebras.polling.log import Log
    from airflow_provider_cerebras.polling.outcome import Outcome
    from airflow_provider_cerebras.polling.pollers import Poller

ResponseT = TypeVar("ResponseT")


class BlockingWait:
    """Polls for one waiter, and reads the connection again when that may help.

    :param client: what to send requests with.
    :param reconnect: reads the connection again and returns a new client in place of the last one, which it closes.
    :param poller: who waits.
    :param poll_interval: the longest interval between two polls, in seconds.
    :param log: where the progress goes.
    """

    def __init__(
        self,
        client: CerebrasClient,
        reconnect: Callable[[], CerebrasClient],
        poller: Poller[ResponseT],
        *,
        poll_interval: float,
        log: Log,
    ) -> None:
        self.poller = poller
        self.log = WaitLog(log, poller, poll_interval=poll_interval)
        self._client = client
        self._reconnect = reconnect
        self._reconnection = Reconnection(time.time())
        self._poll_interval = poll_interval

    def poll_once(self) -> Outcome | None:
        """Poll once.

        :return: how the wait ended, or None while it goes on.
        """
        poller = self.poller
        poller.metrics.count("polls", poller.belongs_to)
        response = self._fetch(poller.call)
        return self.log.apply(response, time.time())

    def run(self) -> Outcome:
        """Poll until the wait has ended, holding the worker."""
        self.log.begin(time.time())
        poller = self.poller
        while (outcome := self.poll_once()) is None:
            time.sleep(
                pause(
                    [(poller, self._poll_interval)],
                    now=time.time(),
                    failures=poller.failures,
                    retry_after=poller.retry_after,
                    jitter=jitter(),
                )
            )
        return outcome

    def _fetch(self, call: Call[ResponseT]) -> ResponseT | Exception:
        try:
            response = self._client.send_once(call)
        except CerebrasError as error:
            now = time.time()
            if not self._reconnection.on_error(error, now):
                return error
            self._reconnection.on_reading(now)
            return self._fetch_by_new_client(call, error)
        self._reconnection.on_response()
        return response

    def _fetch_by_new_client(self, call: Call[ResponseT], error: CerebrasError) -> ResponseT | Exception:
        before = self._client.settings
        try:
            self._client = self._reconnect()
        except Exception as problem:  # noqa: BLE001  reading the connection can fail in any way that Airflow can
            return problem
        if not isinstance(error, Unauthorized) or self._client.settings == before:
            return error
        try:
            return self._client.send_once(call)
        except CerebrasError as again:
            return again

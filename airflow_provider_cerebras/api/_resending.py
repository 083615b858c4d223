"""When a request is sent again, and after which pause."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, TypedDict

from tenacity import RetryCallState, stop_after_attempt
from tenacity.wait import wait_random_exponential

from airflow_provider_cerebras.api.errors import (
    CerebrasAPIError,
    CerebrasError,
    CerebrasTransportError,
    RateLimited,
    ServerError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenacity.stop import StopBaseT

    from airflow_provider_cerebras.api.operations import Call

MAX_RETRY_AFTER = 120.0
"""Seconds that a ``Retry-After`` is honoured for at most."""
REQUEST_TIMEOUT = 408
TOO_EARLY = 425
_MAX_BACKOFF = 30.0
_log = logging.getLogger("airflow_provider_cerebras.api.client")
_backoff = wait_random_exponential(multiplier=1, max=_MAX_BACKOFF)


class Policy(TypedDict):
    """The arguments of tenacity's ``Retrying``."""

    retry: Callable[[RetryCallState], bool]
    wait: Callable[[RetryCallState], float]
    stop: StopBaseT
    before_sleep: Callable[[RetryCallState], None]
    reraise: bool


class Attempts:
    """The attempts of one call.

    :param call: the call to send.
    :param max_retries: how often it is sent again at most.
    :param within: seconds that all attempts and pauses may take; None: any.
    :param total_timeout: seconds that one attempt may take.
    """

    def __init__(self, call: Call[Any], *, max_retries: int, within: float | None, total_timeout: float) -> None:
        self._call = call
        self._max_retries = max_retries
        self._within = within
        self._total_timeout = total_timeout
        self._pause = 0.0
        self._began = time.monotonic()

    def policy(self) -> Policy:
        """Return the rules for tenacity."""
        return {
            "retry": self._may_go_on,
            "wait": lambda _: self._pause,
            "stop": stop_after_attempt(self._max_retries + 1),
            "before_sleep": self._tell,
            "reraise": True,
        }

    def time_for(self, state: RetryCallState) -> float:
        """Return the seconds that the attempt which begins now may take."""
        return self._total_timeout if self._within is None else min(self._total_timeout, self._left(state))

    def _left(self, state: RetryCallState) -> float:
        # A test's pauses take no time.
        return (self._within or 0.0) - max(time.monotonic() - self._began, state.idle_for)

    def _may_go_on(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        if error is None or not may_be_sent_again(self._call, error):
            return False
        asked = (error.retry_after or 0.0) if isinstance(error, CerebrasAPIError) else 0.0
        self._pause = max(_backoff(state), min(asked, MAX_RETRY_AFTER))
        return self._within is None or self._pause < self._left(state)

    def _tell(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        words = error.without_hint() if isinstance(error, CerebrasError) else error
        _log.warning(
            "%s It is sent again in %.1f s (retry %d of %d).",
            words,
            self._pause,
            state.attempt_number,
            self._max_retries,
        )


def may_be_sent_again(call: Call[Any], error: BaseException) -> bool:
    """Return whether sending a call again is allowed and may help.

    :param call: what was sent.
    :param error: the error that it ended in.
    """
    # A transport error stands only for what cannot have been acted on or may be again; the rest is OutcomeUnknown.
    if isinstance(error, CerebrasTransportError | RateLimited):
        return True
    if not isinstance(error, CerebrasAPIError):
        return False
    if error.status_code == TOO_EARLY:  # it says that the request was not processed
        return True
    return call.may_be_resent and (isinstance(error, ServerError) or error.status_code == REQUEST_TIMEOUT)

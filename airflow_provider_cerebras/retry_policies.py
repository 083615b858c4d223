"""When Airflow retries a task, and whether it does, by what the service said (Airflow 3.3 and later).

Below that, :mod:`airflow_provider_cerebras.exceptions` alone marks errors as not worth a retry, and ``Retry-After`` is
honoured within an attempt only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowNotFoundException

from airflow_provider_cerebras.api.errors import PERMANENT, CerebrasError
from airflow_provider_cerebras.api.names import InvalidValue
from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_3_PLUS

if not AIRFLOW_V_3_3_PLUS:
    raise ImportError(
        "airflow_provider_cerebras.retry_policies needs Airflow 3.3 or later, which brought retry policies. "
        "Use the arguments retries and retry_delay of the task instead."
    )

from airflow.sdk import RetryDecision, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.common.compat.sdk import Context


_FINAL = (AirflowFailException, AirflowNotFoundException, InvalidValue)


@dataclass(frozen=True, kw_only=True)
class CerebrasRetryPolicy(RetryPolicy):
    """Retry a task when the service has asked for it, and not at all where a retry cannot help.

    An error for which the service has named a time (``Retry-After``) is retried after that time, in place of
    ``retry_delay``. Lasting responses (400, 401, 403, 404, 422), a connection that is not defined or cannot be
    used, and names and values that the service could never take fail the task at once. In this provider's own
    operators they do so anyway; with this, also where a task of your own uses the hook. Everything else is left to
    ``retry_delay``, and ``retries`` bounds it all.

    An error counts too if it is what another one was raised ``from``.

    :param max_delay: the longest time to wait, whatever the service asks for; default one hour.
    :raises ValueError: if ``max_delay`` is not more than 0.
    """

    max_delay: timedelta = timedelta(hours=1)

    def __post_init__(self) -> None:
        if self.max_delay <= timedelta(0):
            raise ValueError(f"max_delay: must be more than 0, not {self.max_delay!r}.")

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide on one failure; Airflow calls this on the worker.

        :param exception: what the attempt ended in.
        :param try_number: not used: what the service said counts, not how often.
        :param max_tries: not used: Airflow itself ends the retries.
        :param context: not used.
        """
        errors = [error for error in _causes(exception) if isinstance(error, (CerebrasError, *_FINAL))]
        if errors and isinstance(errors[0], (*PERMANENT, *_FINAL)):
            return RetryDecision.fail(f"A retry cannot help: {errors[0]}")
        for error in errors:
            if isinstance(error, CerebrasError) and error.retry_after is not None:
                asked = timedelta(seconds=error.retry_after)
                return RetryDecision.retry(
                    min(asked, self.max_delay),
                    f"The service asked for {asked.total_seconds():g} s: {error.without_hint()}",
                )
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {"max_delay": self.max_delay.total_seconds()}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> CerebrasRetryPolicy:
        """Make it from what :meth:`serialize` has returned."""
        return cls(max_delay=timedelta(seconds=data["max_delay"]))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it was raised from, and so on. What was merely being handled meanwhile says nothing of it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__

"""Applies a response to a poller, logs what it changed, and counts how the wait ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_cerebras.polling.outcome import Outcome, Status

if TYPE_CHECKING:
    from airflow_provider_cerebras.polling.pollers import Poller


class Log(Protocol):
    """As much of a logger as is needed here; Airflow's are of more than one class."""

    def info(self, message: str, /, *args: object) -> object:
        """Log what a person may want to know."""

    def warning(self, message: str, /, *args: object) -> object:
        """Log what a person may have to look into."""


def tell(poller: Poller[Any], answer: object, *, now: float, log: Log) -> Outcome | None:
    """Let a poller hear the result of a look, log what has changed by it, and count its end.

    :param poller: who waits.
    :param answer: see :meth:`Poller.apply`.
    :param now: see :meth:`Poller.apply`.
    :param log: where the progress goes.
    """
    before = poller.progress
    outcome = poller.apply(answer, now)
    if outcome is not None:
        log.info("%s", outcome.message)
        poller.metrics.count(f"waits.{outcome.status}", poller.belongs_to)
        if outcome.status is Status.SUCCEEDED:
            poller.metrics.took(now - poller.started, poller.belongs_to)
    elif poller.failures:
        log.warning("%s: %s; it will be asked again.", poller.subject, poller.progress)
    elif poller.progress != before:
        log.info("%s: %s.", poller.subject, poller.progress)
    return outcome

"""Waiting on a worker: look, sleep, and look again, by the same decisions and intervals as on the triggerer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_cerebras.api.errors import CerebrasError
from airflow_provider_cerebras.polling.intervals import jitter, pause
from airflow_provider_cerebras.polling.log import tell

if TYPE_CHECKING:
    from airflow_provider_cerebras.api.client import CerebrasClient
    from airflow_provider_cerebras.polling.log import Log
    from airflow_provider_cerebras.polling.outcome import Outcome
    from airflow_provider_cerebras.polling.pollers import Poller

AnswerT = TypeVar("AnswerT")


def look(client: CerebrasClient, poller: Poller[AnswerT], *, log: Log) -> Outcome | None:
    """Look once.

    :param client: whom to ask.
    :param poller: what to ask for; it is told the answer.
    :param log: where the progress goes.
    :return: how the wait ended, or None while it goes on.
    """
    heard: AnswerT | CerebrasError
    poller.metrics.count("polls", poller.belongs_to)
    try:
        heard = client.send_once(poller.call)
    except CerebrasError as error:
        heard = error
    return tell(poller, heard, now=time.time(), log=log)


def wait(client: CerebrasClient, poller: Poller[AnswerT], *, poll_interval: float, log: Log) -> Outcome:
    """Look until the wait has ended, holding the worker.

    :param client: whom to ask.
    :param poller: what to ask for.
    :param poll_interval: the longest interval between two looks, in seconds.
    :param log: where the progress goes.
    """
    while (outcome := look(client, poller, log=log)) is None:
        time.sleep(
            pause(
                [(poller, poll_interval)],
                now=time.time(),
                failures=poller.failures,
                retry_after=poller.retry_after,
                jitter=jitter(),
            )
        )
    return outcome

"""Waiting on a worker: look, sleep, and look again, by the same decisions and intervals as on the triggerer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_cerebras.api.errors import CerebrasError
from airflow_provider_cerebras.pacing import jitter, pause
from airflow_provider_cerebras.waiting import tell

if TYPE_CHECKING:
    from airflow_provider_cerebras.api.client import CerebrasClient
    from airflow_provider_cerebras.waiting import Log, Outcome, Watch

AnswerT = TypeVar("AnswerT")


def look(client: CerebrasClient, watch: Watch[AnswerT], *, log: Log) -> Outcome | None:
    """Look once.

    :param client: whom to ask.
    :param watch: what to ask for; it is told the answer.
    :param log: where the progress goes.
    :return: how the wait ended, or None while it goes on.
    """
    heard: AnswerT | CerebrasError
    watch.metrics.count("polls", watch.belongs_to)
    try:
        heard = client.send_once(watch.call)
    except CerebrasError as error:
        heard = error
    return tell(watch, heard, now=time.time(), log=log)


def wait(client: CerebrasClient, watch: Watch[AnswerT], *, poll_interval: float, log: Log) -> Outcome:
    """Look until the wait has ended, holding the worker.

    :param client: whom to ask.
    :param watch: what to ask for.
    :param poll_interval: the longest interval between two looks, in seconds.
    :param log: where the progress goes.
    """
    while (outcome := look(client, watch, log=log)) is None:
        time.sleep(
            pause(
                [(watch, poll_interval)],
                now=time.time(),
                failures=watch.failures,
                retry_after=watch.retry_after,
                jitter=jitter(),
            )
        )
    return outcome

"""``on_kill`` of operators that hold a worker: find out why Airflow called it, and act accordingly.

Airflow calls it from a signal handler when a user has failed or cleared the task, but also when a pod is evicted and
when ``execution_timeout`` has passed; and after the handler has returned, the task may go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from airflow_provider_cerebras._airflow_internals import TaskStateUnknown, ask_task_state_in_time, task_key
from airflow_provider_cerebras.durable.on_kill import Judgement, deletion, judge

if TYPE_CHECKING:
    from collections.abc import Generator

    from airflow_provider_cerebras.api.client import CerebrasClient

ResultT = TypeVar("ResultT")


class Kill(NamedTuple):
    """The reason of a call of ``on_kill``, as Airflow gives it.

    :param reason: why the version must not be deleted; None: a user has failed or cleared the task.
    :param is_clear: whether a user has cleared it.
    """

    reason: str | None
    is_clear: bool = False


def find_out(ti: object) -> Kill:
    """Ask Airflow whether a user has failed or cleared the running task.

    :param ti: the task instance that runs.
    """
    try:
        state = ask_task_state_in_time(task_key(ti))
    except TaskStateUnknown as error:
        return Kill(str(error))
    if judge(state, was_deferred=False, cleared=False) is Judgement.KILLED:
        return Kill(None, is_clear=state == "restarting")
    return Kill(f"its task is {state}, so no user has failed or cleared it.")


def delete(client: CerebrasClient, model_version: str, claim: str | None) -> str | None:
    """Delete the version that the task waited for, unless it is in use or claimed since.

    :param client: how to reach the service.
    :param model_version: full name, by number.
    :param claim: alias by which the attempt has claimed the version.
    :return: why it was not deleted; None: it was.
    """
    return _send(client, deletion(model_version, claim))


def _send(client: CerebrasClient, calls: Generator[Any, Any, ResultT]) -> ResultT:
    response: Any = None
    while True:
        try:
            call = calls.send(response)
        except StopIteration as end:
            result: ResultT = end.value
            return result
        # Airflow ends the process in a few seconds, and what was asked for before a deletion is old after a pause.
        response = client.send_once(call)

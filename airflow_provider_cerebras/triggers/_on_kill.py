"""``on_kill`` of a trigger: find out why Airflow called it, and act accordingly.

Airflow calls it for each trigger that its triggerer must not run any more. That is so when a user has ended or cleared
the task, but also when the triggerer was silent for longer than ``[triggerer] triggerer_health_check_threshold`` and
another one has taken the trigger over. And as long as the call lasts, Airflow goes on cancelling the trigger, once each
time that it compares its triggers with the database, so that whatever takes longer than a second is cut off.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_cerebras._airflow_internals import TaskStateUnknown, ask_task_state
from airflow_provider_cerebras.durable.on_kill import Judgement, deletion, is_cleared_since, judge

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator
    from typing import Any

    from airflow_provider_cerebras._airflow_internals import TaskKey
    from airflow_provider_cerebras.api.client import AsyncCerebrasClient

ResultT = TypeVar("ResultT")

_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
_under_way: set[asyncio.Task[None]] = set()


async def see_through(work: Coroutine[None, None, None]) -> None:
    """Do what must be done to its end, even if the task that waits for it is cancelled.

    :param work: goes on by itself then.
    """
    task = asyncio.create_task(work)
    # The loop itself keeps no task alive.
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)
    await asyncio.shield(task)


async def delete_if_killed(
    client: AsyncCerebrasClient,
    key: TaskKey,
    model_version: str,
    claim: str | None,
    *,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> str | None:
    """Delete the version that a deferred task waited for, if it is known that a user has ended the task.

    A cleared task runs again at once, and until it makes a version, it cannot be distinguished from one whose wait
    has ended. So the function watches for a minute.

    :param client: how to reach the service.
    :param key: which task.
    :param model_version: full name, by number.
    :param claim: alias by which the attempt that waited has claimed the version.
    :param sleep: how to spend the seconds in between.
    :return: why it was not deleted; None: it was.
    """
    for pause in (*_PAUSES, None):
        try:
            state = await asyncio.to_thread(ask_task_state, key)
        except TaskStateUnknown as error:
            return str(error)
        judgement = judge(state, was_deferred=True, cleared=False)
        if judgement is not Judgement.KILLED and await _send(client, is_cleared_since(model_version, claim)):
            judgement = Judgement.KILLED
        if judgement is Judgement.KILLED:
            return await _send(client, deletion(model_version, claim))
        if judgement is Judgement.NOT_KILLED or claim is None or pause is None:
            return f"its task is {state}, and it is not known that a user has failed or cleared it."
        await sleep(pause)
    return None


async def _send(client: AsyncCerebrasClient, calls: Generator[Any, Any, ResultT]) -> ResultT:
    response: Any = None
    while True:
        try:
            call = calls.send(response)
        except StopIteration as end:
            result: ResultT = end.value
            return result
        # What was asked for before a deletion is old after a pause.
        response = await client.send_once(call) if call.method == "DELETE" else await client.send(call)

"""What a call of ``on_kill`` means, and how to do as it asks.

Airflow calls it for each trigger that its triggerer must not run any more. That is so when a user has ended or cleared
the task, but also when the triggerer was silent for longer than ``[triggerer] triggerer_health_check_threshold`` and
another one has taken the trigger over. And as long as the call lasts, Airflow goes on cancelling the trigger, once each
time that it compares its triggers with the database, so that whatever takes longer than a second is cut off.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from airflow.providers.common.compat.sdk import TaskInstance

_under_way: set[asyncio.Task[None]] = set()


async def is_deferred(ti: TaskInstance | None) -> bool:
    """Tell whether a task is deferred at this moment, by Airflow's database.

    :param ti: the task; None: a trigger that belongs to none.
    """
    if ti is None:
        return False
    # As the triggers of other providers ask, and only where on_kill is ever called (Airflow 3.3 and later).
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    from asgiref.sync import sync_to_async

    states = await sync_to_async(RuntimeTaskInstance.get_task_states)(
        dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
    )
    return "deferred" in states.get(ti.run_id, {}).values()


async def see_through(work: Coroutine[None, None, None]) -> None:
    """Do what must be done to its end, even if whoever waits for it is cancelled.

    :param work: goes on by itself then.
    """
    task = asyncio.create_task(work)
    # The loop itself keeps no task alive.
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)
    await asyncio.shield(task)

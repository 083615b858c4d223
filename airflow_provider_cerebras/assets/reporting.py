"""What a task tells Airflow: what it will return before it is deferred, and what it has made when it has succeeded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_cerebras.assets.events import attach, own_outlets
from airflow_provider_cerebras.assets.openlineage import openlineage_listens

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import BaseOperator, Context

    from airflow_provider_cerebras.assets.provenance import Provenance


def report(task: object, context: Context, find: Callable[[], Provenance]) -> Provenance | None:
    """Tell what a task has made to those who want to know. Where nobody does, nothing is asked for.

    :param task: the operator or sensor.
    :param context: the task's context.
    :param find: finds out what it has made.
    :return: what it has made, if anybody wants to know.
    """
    outlets = own_outlets(task)
    if not outlets and not openlineage_listens():
        return None
    made = find()
    if outlets:
        attach(outlets, context, made)
    return made


def leave_result(task: BaseOperator, context: Context, result: str | None) -> None:
    """Push what a task will return, since a user may mark its wait as success.

    Airflow runs nothing of the task then, and what comes after it goes on with what is there.

    :param task: the operator or sensor, which may push nothing by ``do_xcom_push=False``.
    :param context: the task's context.
    :param result: what it returns if the wait ends well; None takes back what was pushed before.
    """
    if task.do_xcom_push:
        # It comes with modules of the database, which not every parse of a DAG shall pay.
        from airflow.providers.common.compat.sdk import XCOM_RETURN_KEY

        ti: Any = context["ti"]
        ti.xcom_push(key=XCOM_RETURN_KEY, value=result)

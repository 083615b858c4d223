"""What a task tells Airflow when it has succeeded, beside its return value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_cerebras.assets.events import attach, own_outlets

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cerebras.provenance import Provenance


def report(task: object, context: Context, find: Callable[[], Provenance]) -> None:
    """Tell what a task has made to those who want to know. Where nobody does, nothing is asked for.

    :param task: the operator or sensor.
    :param context: the task's context.
    :param find: finds out what it has made.
    """
    if outlets := own_outlets(task):
        attach(outlets, context, find())

"""Reports of a task to Airflow: its return value before it waits, and its provenance when it has succeeded."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowSkipException

from airflow_provider_cerebras.assets.events import attach, own_outlets
from airflow_provider_cerebras.assets.openlineage import openlineage_listens
from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_1_PLUS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.providers.common.compat.sdk import BaseOperator, Context
    from pydantic import JsonValue

    from airflow_provider_cerebras.assets.provenance import Provenance

ERROR_KEY = "cerebras_error"
"""XCom of a task of a release: the message of the error that it failed with."""
# Airflow 3.0 fails a task that pushes None. An argument that is given the result refuses either.
_NOTHING = "" if AIRFLOW_V_3_0_PLUS and not AIRFLOW_V_3_1_PLUS else None


def report(task: object, context: Context, find: Callable[[], Provenance]) -> Provenance | None:
    """Report the thing that a task has made to its receivers. Without a receiver, nothing is requested.

    :param task: the operator or sensor.
    :param context: the task's context.
    :param find: returns the thing that it has made.
    :return: the thing that it has made, if a receiver is set up.
    """
    outlets = own_outlets(task)
    if not outlets and not openlineage_listens():
        return None
    made = find()
    if outlets:
        attach(outlets, context, made)
    return made


def leave_result(task: BaseOperator, context: Context, result: JsonValue) -> None:
    """Push what a task will return: a user may mark its wait as success, or it fails and has a result all the same.

    After a mark Airflow runs nothing of the task, and what comes after it goes on with what is there.

    :param task: the operator or sensor, which may push nothing by ``do_xcom_push=False``.
    :param context: the task's context.
    :param result: its return value if the wait succeeds; None takes back what was pushed before.
    """
    if task.do_xcom_push:
        # It comes with modules of the database, which not every parse of a DAG should pay.
        from airflow.providers.common.compat.sdk import XCOM_RETURN_KEY

        ti: Any = context["ti"]
        ti.xcom_push(key=XCOM_RETURN_KEY, value=_NOTHING if result is None else result)


@contextmanager
def leave_error(task: object, context: Context) -> Iterator[None]:
    """Push the message of the error that a task of a release fails with, for the task that concludes it.

    :param task: the operator or sensor; only one that has ``leaves_error`` set pushes anything.
    :param context: the task's context.
    """
    try:
        yield
    except Exception as error:
        if getattr(task, "leaves_error", False) and not _is_no_failure(error):
            ti: Any = context["ti"]
            # The error itself matters more than its report.
            with suppress(Exception):
                ti.xcom_push(key=ERROR_KEY, value=words_of(error))
        raise


def _is_no_failure(error: Exception) -> bool:
    # By its name, for the module of the second one differs between versions of Airflow.
    return isinstance(error, AirflowSkipException) or type(error).__name__ == "AirflowRescheduleException"


def words_of(error: Exception) -> str:
    """Return the words of an error that may be shown to all users: from known code, without questions and answers.

    :param error: any; a secrets backend, for one, may have put a secret into its message.
    """
    if (without := getattr(error, "without_content", None)) is not None:
        return str(without)
    known = isinstance(error, AirflowException) or type(error).__module__.startswith("airflow_provider_cerebras")
    return str(error) if known else f"{type(error).__name__}; see the log of the task"

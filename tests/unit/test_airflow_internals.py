"""What Airflow does not promise to keep is there, and where it is gone, nothing is known."""

from __future__ import annotations

import inspect
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.triggers.base import BaseTrigger

from airflow_provider_cerebras._airflow_internals import (
    TaskKey,
    TaskStateUnknown,
    ask_task_state,
    ask_task_state_in_time,
    triggers_task,
)
from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = TaskKey("dag", "run", "task", -1)


@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="Airflow has shared streams since 3.3")
def test_airflow_still_has_what_watchers_share() -> None:
    """If this fails on a new Airflow, see ``triggers/_shared_stream.py``: each watcher polls for itself until then."""
    from airflow.triggers.shared_stream import AdvanceItem, SharedStreamProducer

    assert {"open_stream", "advance"} <= set(vars(SharedStreamProducer))
    assert {"broker_payload", "outcome"} <= set(inspect.signature(AdvanceItem).parameters)


def test_airflow_still_has_what_a_kill_is_judged_by() -> None:
    """If this fails on a new Airflow, see ``_airflow_internals.py``: nothing is deleted on a kill until then."""
    if AIRFLOW_V_3_0_PLUS:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        wanted = {"dag_id", "task_ids", "run_ids", "map_index"}
        assert wanted <= set(inspect.signature(RuntimeTaskInstance.get_task_states).parameters)
    else:
        from airflow.models.taskinstance import TaskInstance

        wanted = {"dag_id", "run_id", "task_id", "map_index"}
        assert wanted <= set(inspect.signature(TaskInstance.get_task_instance).parameters)
    if AIRFLOW_V_3_3_PLUS:
        assert isinstance(inspect.getattr_static(BaseTrigger, "task_instance"), property)
        assert inspect.iscoroutinefunction(BaseTrigger.on_kill)


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Say what Airflow answers when it is asked for the states of the task."""

    def answer(states: Callable[[], Any]) -> None:
        if AIRFLOW_V_3_0_PLUS:
            from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

            monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", lambda **which: {"run": states()})
        else:
            from airflow.models.taskinstance import TaskInstance

            def row(**which: Any) -> Any:
                return next((SimpleNamespace(state=state) for state in states().values()), None)

            monkeypatch.setattr(TaskInstance, "get_task_instance", row)

    return answer


@pytest.mark.parametrize("state", [None, "failed", "running"])
def test_the_state_is_what_airflow_says(state: str | None, airflow: Callable[[Any], None]) -> None:
    airflow(lambda: {"task": state})
    assert ask_task_state(KEY) == ask_task_state_in_time(KEY) == state


def test_a_task_that_airflow_does_not_know_has_no_known_state(airflow: Callable[[Any], None]) -> None:
    airflow(dict)
    with pytest.raises(TaskStateUnknown, match="knows 0 tasks"):
        ask_task_state(KEY)


def test_an_airflow_that_cannot_be_asked_is_not_known(airflow: Callable[[Any], None]) -> None:
    def fail() -> Any:
        raise BrokenPipeError("no supervisor")

    airflow(fail)
    for ask in (ask_task_state, ask_task_state_in_time):
        with pytest.raises(TaskStateUnknown, match="BrokenPipeError: no supervisor"):
            ask(KEY)


def test_an_airflow_without_the_function_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    if AIRFLOW_V_3_0_PLUS:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        monkeypatch.delattr(RuntimeTaskInstance, "get_task_states")
    else:
        from airflow.models.taskinstance import TaskInstance

        monkeypatch.delattr(TaskInstance, "get_task_instance")
    with pytest.raises(TaskStateUnknown, match="AttributeError"):
        ask_task_state(KEY)


def test_an_answer_that_does_not_come_is_not_waited_for(airflow: Callable[[Any], None]) -> None:
    """The signal handler may have interrupted the very thread that would have to read the answer."""
    answered = threading.Event()
    airflow(answered.wait)
    try:
        with pytest.raises(TaskStateUnknown, match=r"within 0\.01 s"):
            ask_task_state_in_time(KEY, 0.01)
    finally:
        answered.set()


def test_a_trigger_without_a_task_is_of_no_known_task() -> None:
    with pytest.raises(TaskStateUnknown, match="did not say which task"):
        triggers_task(SimpleNamespace())
    with pytest.raises(TaskStateUnknown, match="did not say which task"):
        triggers_task(SimpleNamespace(task_instance=None))
    assert triggers_task(SimpleNamespace(task_instance=SimpleNamespace(**KEY._asdict()))) == KEY

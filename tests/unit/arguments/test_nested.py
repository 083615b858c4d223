"""An operator that is called inside a task of another kind, which cannot be deferred by it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import BaseOperator, TaskDeferred

from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor
from tests.task_instance import TaskInstance

if TYPE_CHECKING:
    from tests.unit.conftest import Service


def context(task: Any) -> Any:
    return {"ti": TaskInstance(), "task": task}


class Delegating(BaseOperator):
    """Goes on by itself with what another operator has begun."""

    def execute_complete(self, context: Any, event: Any) -> None:
        """Go on."""


@pytest.fixture
def sensor(service: Service) -> CerebrasModelVersionSensor:
    return CerebrasModelVersionSensor(
        task_id="wait", model_version=service.new_version(done=False), deferrable=True, poke_interval=0, timeout=600
    )


def test_it_waits_where_it_is_and_says_so(
    sensor: CerebrasModelVersionSensor,
    service: Service,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    service.finish()
    outer = BaseOperator(task_id="outer")
    with caplog.at_level(logging.WARNING):
        assert sensor.execute(context(outer)) == sensor.model_version
    assert "called inside the task outer, which it cannot defer" in caplog.text + capsys.readouterr().out


def test_a_task_that_can_go_on_by_itself_is_deferred(sensor: CerebrasModelVersionSensor) -> None:
    with pytest.raises(TaskDeferred):
        sensor.execute(context(Delegating(task_id="outer")))


def test_a_task_of_its_own_is_deferred(sensor: CerebrasModelVersionSensor) -> None:
    with pytest.raises(TaskDeferred):
        sensor.execute(context(sensor))

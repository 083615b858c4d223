"""A rollout that another one has superseded ends every wait for it."""

from __future__ import annotations

import asyncio
import importlib
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_cerebras.exceptions import DeploymentLost, WaitTimeout
from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator, CerebrasRollbackEndpointOperator
from tests.task_instance import TaskInstance
from tests.unit.conftest import Service

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cerebras.operators._rollouts import RolloutOperator

ENDPOINT = "my-org-gpt-oss-120b"
OTHERS = "11111111-e29b-41d4-a716-446655440000"


def deploy(service: Service, **kwargs: Any) -> CerebrasDeployModelOperator:
    return CerebrasDeployModelOperator(
        task_id="task",
        endpoint_id=ENDPOINT,
        model_version=service.new_version(),
        wait_for_completion=True,
        **{"poll_interval": 0.01, "timeout": 2, **kwargs},
    )


def roll_back(service: Service, **kwargs: Any) -> CerebrasRollbackEndpointOperator:
    service.new_deployment()
    service.new_deployment()
    return CerebrasRollbackEndpointOperator(
        task_id="task", endpoint_id=ENDPOINT, **{"poll_interval": 0.01, "timeout": 2, **kwargs}
    )


def kept(**notes: Any) -> Any:
    """A context with a place for notes."""
    return {"ti": TaskInstance(**notes), "task_state_store": _Store()}


class _Store:
    def __init__(self) -> None:
        self.notes: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        return self.notes.get(key)

    def set(self, key: str, value: Any) -> None:
        self.notes[key] = value


def list_another(service: Service, *, skip: int = 0, later_by: float = 100) -> None:
    """Let the endpoint list a deployment of another client only."""
    entry = {
        "id": OTHERS,
        "model": "orgs/my-org/models/gpt-oss-120b/versions/99",
        "created": int(time.time() + Service.ahead + later_by),
        "state": "complete",
    }
    service.add_fault("get_endpoint", skip=skip, times=None, body={"name": ENDPOINT, "deployed_models": [entry]})


def run_trigger(deferral: TaskDeferred) -> dict[str, Any]:
    """Run what was deferred, as it is stored, on a triggerer."""
    path, kwargs = json.loads(json.dumps(deferral.trigger.serialize()))
    module, _, name = path.rpartition(".")

    async def collect() -> list[Any]:
        return [event.payload async for event in getattr(importlib.import_module(module), name)(**kwargs).run()]

    (payload,) = asyncio.run(collect())
    return dict(payload)


@pytest.mark.parametrize("make", [deploy, roll_back])
class TestNeverListed:
    def test_it_is_lost_when_a_later_one_is_listed(
        self, service: Service, make: Callable[..., RolloutOperator]
    ) -> None:
        operator = make(service, deferrable=False)
        list_another(service, skip=1)
        with pytest.raises(DeploymentLost, match=f"{OTHERS}.* is newer"):
            operator.execute(kept())

    def test_the_triggerer_knows_when_it_was_submitted(
        self, service: Service, make: Callable[..., RolloutOperator]
    ) -> None:
        operator, context = make(service, deferrable=True), kept()
        with pytest.raises(TaskDeferred) as deferral:
            operator.execute(context)
        list_another(service)
        with pytest.raises(DeploymentLost, match=f"{OTHERS}.* is newer"):
            operator.execute_complete(context, run_trigger(deferral.value))

    def test_it_may_be_queued_while_only_earlier_ones_are_listed(
        self, service: Service, make: Callable[..., RolloutOperator]
    ) -> None:
        operator, context = make(service, deferrable=True, timeout=0.3), kept()
        with pytest.raises(TaskDeferred) as deferral:
            operator.execute(context)
        list_another(service, later_by=-100)
        with pytest.raises(WaitTimeout, match="may be queued"):
            operator.execute_complete(context, run_trigger(deferral.value))


class TestRetry:
    def test_it_knows_that_an_earlier_attempt_saw_the_deployment(self, service: Service) -> None:
        """It was listed during the first wait, and then the list was empty."""
        operator, context = deploy(service, deferrable=True, timeout=0.3), kept()
        with pytest.raises(TaskDeferred) as deferral:
            operator.execute(context)
        with pytest.raises(WaitTimeout):
            operator.execute_complete(context, run_trigger(deferral.value))
        service.add_fault("get_endpoint", times=None, body={"name": ENDPOINT, "deployed_models": []})
        operator.timeout, operator.deferrable = 2, False
        with pytest.raises(DeploymentLost, match="no longer listed"):
            operator.execute(context)

    def test_it_knows_when_a_deployment_that_is_not_listed_was_submitted(self, service: Service) -> None:
        operator, context = deploy(service, deferrable=True), kept()
        with pytest.raises(TaskDeferred) as first:
            operator.execute(context)
        service.add_fault("get_endpoint", times=None, body={"name": ENDPOINT, "deployed_models": []})
        with pytest.raises(TaskDeferred) as retry:
            operator.execute(context)
        submitted = first.value.trigger.serialize()[1]["submitted"]
        assert isinstance(submitted, int | float)
        assert retry.value.trigger.serialize()[1]["submitted"] == submitted

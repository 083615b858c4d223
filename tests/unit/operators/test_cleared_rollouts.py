"""A task that rolls out and was cleared chooses anew, whatever its ``retries`` were when; a retry does not.

``max_tries`` alone does not tell: a clear sets it to ``try_number + retries``, so an edit of ``retries`` can repeat it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_cerebras.durable.rollout_steps import Submission
from airflow_provider_cerebras.emulator.api.operations import OperationName
from airflow_provider_cerebras.exceptions import DeploymentFailed, DeploymentLost
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator, CerebrasRollbackEndpointOperator
from tests.task_instance import TaskInstance
from tests.unit.durable.world import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.conftest import Service


@pytest.fixture
def attempt() -> Callable[..., Any]:
    """Make the context of an attempt of one task run; its notes are kept, as from Airflow 3.3 on."""
    store = Store()

    def make(number: int, *, clears: int) -> Any:
        # Before: retries=1, so max_tries is 1. Cleared with retries=0 after one attempt: 1 + 0.
        ti = TaskInstance(max_tries=1, try_number=number)
        return {"ti": ti, "dag_run": SimpleNamespace(clear_number=clears, start_date=None), "task_state_store": store}

    return make


def deploy(service: Service, context: Any, *, retries: int) -> None:
    CerebrasDeployModelOperator(
        task_id="task",
        endpoint_id=service.endpoint_id,
        model_version=service.version_name("latest"),
        retries=retries,
    ).execute(context)
    service.finish()


def conclude(service: Service, context: Any) -> None:
    """Resume a deployment of version "latest" whose wait found that its rollout failed."""
    deployment = service.deployments()[-1].deployment_id
    event = {"status": "failed", "message": "Its rollout failed.", "endpoint_id": service.endpoint_id}
    CerebrasDeployModelOperator(
        task_id="task", endpoint_id=service.endpoint_id, model_version=service.version_name("latest"), retries=1
    ).execute_complete(context, {**event, "deployment_id": deployment})


def notes_in(context: Any) -> dict[str, Any]:
    (notes,) = [each for each in context["task_state_store"].content.values() if "submission" in each]
    found: dict[str, Any] = notes
    return found


def move_latest(service: Service, old: str, new: str) -> None:
    service.api("PATCH", f"/{old}", {"version_aliases": []})
    service.api("PATCH", f"/{new}", {"version_aliases": ["latest"]})


def test_what_was_submitted_is_noted_whole_and_stays_so_when_a_retry_takes_it_over(
    service: Service, attempt: Callable[..., Any]
) -> None:
    service.new_version()
    service.new_deployment()
    before = service.deployments()[-1]
    name = service.new_version("latest")
    first = attempt(1, clears=0)
    deploy(service, first, retries=1)

    noted = notes_in(first)
    made = service.deployments()[-1]
    submission = Submission.from_json(noted["submission"])

    assert (noted["model_version"], noted["deployment_id"]) == (name, made.deployment_id)
    assert submission is not None
    assert submission[:2] == (made.deployment_id, name)
    assert submission.created is not None
    assert submission.baseline is not None
    assert submission.baseline.ids == {before.deployment_id}
    assert submission.served_before == before.model_version

    deploy(service, attempt(2, clears=0), retries=1)
    again = notes_in(first)
    assert Submission.from_json(again["submission"]) == submission._replace(seen=True)


@pytest.mark.parametrize("cleared", [True, False])
def test_a_deployment_resolves_its_alias_anew_after_a_clear_only(
    service: Service, attempt: Callable[..., Any], cleared: bool
) -> None:
    old, new = service.new_version("latest"), service.new_version()
    deploy(service, attempt(1, clears=0), retries=1)
    move_latest(service, old, new)
    deploy(service, attempt(2, clears=int(cleared)), retries=0 if cleared else 1)
    assert [each.model_version for each in service.deployments()] == ([old, new] if cleared else [old])


def test_a_retry_without_notes_leaves_what_was_deployed_since_the_run_began(service: Service) -> None:
    """As below Airflow 3.3, where nothing is kept between two attempts."""
    service.new_version("latest")
    service.new_deployment()
    began = SimpleNamespace(clear_number=0, start_date=datetime(2020, 1, 1, tzinfo=UTC))
    context: Any = {"ti": TaskInstance(max_tries=1, try_number=2), "dag_run": began}
    with pytest.raises(DeploymentLost, match="since this task run began"):
        deploy(service, context, retries=1)
    back = CerebrasRollbackEndpointOperator(
        task_id="task", endpoint_id=service.endpoint_id, to=service.version_name("latest"), retries=1
    )
    with pytest.raises(DeploymentLost, match="since this task run began"):
        back.execute(context)
    assert len(service.requests("deploy_model")) == 1


@pytest.mark.parametrize("cleared", [True, False])
def test_a_rollback_takes_back_the_newest_anew_after_a_clear_only(
    service: Service, attempt: Callable[..., Any], cleared: bool
) -> None:
    for _ in range(2):
        service.new_deployment()
    first, second = service.versions()

    def roll_back(context: Any, *, retries: int) -> None:
        CerebrasRollbackEndpointOperator(
            task_id="task", endpoint_id=service.endpoint_id, wait_for_completion=False, retries=retries
        ).execute(context)
        service.finish()

    roll_back(attempt(1, clears=0), retries=1)
    roll_back(attempt(2, clears=int(cleared)), retries=0 if cleared else 1)
    expected = [first, second, first, *([second] if cleared else [])]
    assert [each.model_version for each in service.deployments()] == expected


def test_to_say_what_serves_holds_no_failure_up(service: Service, attempt: Callable[..., Any]) -> None:
    service.new_version("latest")
    context = attempt(1, clears=0)
    deploy(service, context, retries=1)
    service.add_fault(OperationName.GET_ENDPOINT, status=503, retry_after=300, times=None)
    before = len(service.requests("get_endpoint"))
    with pytest.raises(DeploymentFailed, match=r"What serves there now is not known: GET \S+ answered 503") as caught:
        conclude(service, context)
    # What one may do about it is not what one must do about the rollout.
    assert "Try again" not in str(caught.value)
    assert len(service.requests("get_endpoint")) == before + 1


def test_a_connection_that_cannot_be_read_hides_no_failure(
    service: Service, attempt: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    service.new_version("latest")
    context = attempt(1, clears=0)
    deploy(service, context, retries=1)

    def broken(*_: object) -> None:
        raise RuntimeError("the API server does not answer")

    monkeypatch.setattr(CerebrasHook, "get_connection", broken)
    with pytest.raises(DeploymentFailed, match="What serves there now is not known: RuntimeError; see"):
        conclude(service, context)


@pytest.mark.parametrize("keeps_notes", [True, False])
def test_killed_before_it_has_failed_a_retry_deploys_nothing_again(
    service: Service, attempt: Callable[..., Any], keeps_notes: bool
) -> None:
    service.new_version("latest")
    began = SimpleNamespace(clear_number=0, start_date=datetime(2020, 1, 1, tzinfo=UTC))
    first, second = attempt(1, clears=0), attempt(2, clears=0)
    if not keeps_notes:
        first, second = ({"ti": each["ti"], "dag_run": began} for each in (first, second))
    service.add_fault(OperationName.DEPLOY_MODEL, fail_rollout="broken")
    deploy(service, first, retries=1)
    # Nothing of the conclusion is left by an attempt that was killed in it.
    deploy(service, second, retries=1)
    assert len(service.requests("deploy_model")) == 1

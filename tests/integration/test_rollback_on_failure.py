"""A rollout that fails is taken back if that is wanted: what served before is deployed again and waited for."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_cerebras.api.errors import CerebrasError
from airflow_provider_cerebras.emulator.control.client import EmulatorClient
from airflow_provider_cerebras.emulator.server import EmulatorServer
from airflow_provider_cerebras.emulator.settings import Settings
from airflow_provider_cerebras.exceptions import DeploymentFailed, DeploymentLost
from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator
from tests.clock import ticking
from tests.integration.scenario import OPERATOR_MODES
from tests.task_instance import TaskInstance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.providers.common.compat.sdk import DAG

    from tests.integration.dag_run import DagRunner

REASON = "out of memory"
FAILED = "failed to roll out (state 'failed'"


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatorClient]:
    """An emulator on which everything is done at once, and no two things happen in the same second."""
    settings = Settings(port=0, sync_seconds=0, rollout_seconds=0)
    with (
        EmulatorServer(settings, ticking()) as server,
        EmulatorClient(server.base_url, server.settings) as emulator,
    ):
        monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection())
        yield emulator


def deploy(emulator: EmulatorClient, model_version: str, task_id: str = "deploy", **arguments: Any) -> Any:
    return CerebrasDeployModelOperator(
        task_id=task_id,
        endpoint_id=emulator.endpoint_id,
        model_version=model_version,
        rollback_on_failure=True,
        **arguments,
    )


@pytest.mark.parametrize("mode", OPERATOR_MODES)
def test_what_served_before_serves_again(
    mode: str,
    start_emulator: Callable[..., EmulatorClient],
    monkeypatch: pytest.MonkeyPatch,
    new_dag: Callable[..., DAG],
    run_dag: DagRunner,
) -> None:
    """Three endpoints: one comes back, on one nothing served before, and on one the rollback fails as well."""
    names = ("comes-back", "nothing-before", "fails-twice")
    services = {name: start_emulator(ticking(), sync_seconds=0, rollout_seconds=0, org=name) for name in names}
    with new_dag(default_args={"retries": 3}) as dag:
        for name, service in services.items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper().replace('-', '_')}", service.connection())
            old, new = service.upload("s3://weights/old"), service.upload("s3://weights/new")
            if name != "nothing-before":
                service.deploy(old)
                assert service.deployments()
            service.add_fault("deploy_model", fail_rollout=REASON)
            if name == "fails-twice":
                service.add_fault("deploy_model", fail_rollout=REASON)
            deploy(service, new, name, cerebras_conn_id=name.replace("-", "_"), **OPERATOR_MODES[mode])

    result = run_dag(dag)

    assert set(result.states().values()) == {"failed"}
    for name, service in services.items():
        old, new = service.version_name(1), service.version_name(2)
        error = result.error(name)
        assert isinstance(error, DeploymentFailed)
        assert new in str(error)
        assert FAILED in str(error)
        assert result[name].try_number == 1
        listed = [(entry.model_version, entry.state) for entry in service.deployments()]
        if name == "nothing-before":
            assert "nothing to roll back to" in str(error)
            assert listed == [(new, "failed")]
        elif name == "fails-twice":
            assert old in str(error)
            assert str(error).count(FAILED) == 2
            assert "did not succeed either" in str(error)
            assert listed == [(old, "complete"), (new, "failed"), (old, "failed")]
        else:
            assert f"{old}, which served before, was deployed again and serves" in str(error)
            assert listed == [(old, "complete"), (new, "failed"), (old, "complete")]
            assert service.serving() == old


class Store(dict[str, Any]):
    """As much of Airflow's task state store as is used."""

    def set(self, key: str, value: Any) -> None:
        self[key] = value


def context_of(**changes: Any) -> Any:
    return {"ti": TaskInstance(max_tries=1, **changes), "dag_run": SimpleNamespace(start_date=datetime.now(tz=UTC))}


@pytest.mark.parametrize("kept", [True, False], ids=["3.3 and later", "below 3.3"])
def test_a_retry_after_a_crash_does_not_deploy_over_what_came_since(kept: bool, emulator: EmulatorClient) -> None:
    """The answer to the submission was lost, and another version came to serve between the attempts."""
    before, new, between = (emulator.upload(f"s3://weights/{name}") for name in ("before", "new", "between"))
    emulator.deploy(before)
    context = context_of()
    context["dag_run"].start_date = datetime.fromtimestamp(emulator.deployments()[0].created + 1, UTC)
    if kept:
        context["task_state_store"] = Store()
    emulator.add_fault("deploy_model", when="after", drop=True)
    emulator.add_fault("get_endpoint", skip=1, text="{")
    with pytest.raises(CerebrasError):
        deploy(emulator, new, retries=1, **OPERATOR_MODES["blocking"]).execute(context)
    emulator.deploy(between)
    listed = emulator.deployments()
    context["ti"].try_number = 2
    with pytest.raises(DeploymentLost, match=between):
        deploy(emulator, new, retries=1, **OPERATOR_MODES["blocking"]).execute(context)
    assert emulator.deployments() == listed


@pytest.mark.parametrize("kept", [True, False], ids=["3.3 and later", "below 3.3"])
def test_if_it_cannot_be_rolled_back_the_cause_is_said_and_no_retry_deploys_it_again(
    kept: bool, emulator: EmulatorClient
) -> None:
    old, new = emulator.upload("s3://weights/old"), emulator.upload("s3://weights/new")
    emulator.deploy(old)
    context = context_of()
    if kept:
        context["task_state_store"] = Store()
    emulator.add_fault("deploy_model", fail_rollout=REASON)
    emulator.add_fault("get_endpoint", skip=2, times=99, text="{")
    with pytest.raises(DeploymentFailed) as failed:
        deploy(emulator, new, **OPERATOR_MODES["blocking"]).execute(context)
    for words in (new, FAILED, "It could not be rolled back", "What serves there now is not known"):
        assert words in str(failed.value)
    assert isinstance(failed.value, AirflowFailException)


def test_if_the_service_does_not_take_the_rollback_both_are_said(emulator: EmulatorClient) -> None:
    old, new = emulator.upload("s3://weights/old"), emulator.upload("s3://weights/new")
    emulator.deploy(old)
    emulator.add_fault("deploy_model", fail_rollout=REASON)
    emulator.add_fault("deploy_model", status=400, body={"detail": "not now"})
    with pytest.raises(DeploymentFailed) as failed:
        deploy(emulator, new, **OPERATOR_MODES["blocking"]).execute(context_of())
    for words in (new, FAILED, "not now", f"Now {old} serves there."):
        assert words in str(failed.value)


def test_what_another_client_has_deployed_since_stays(emulator: EmulatorClient) -> None:
    old, new, theirs = (emulator.upload(f"s3://weights/{name}") for name in ("old", "new", "theirs"))
    emulator.deploy(old)
    emulator.add_fault("deploy_model", fail_rollout=REASON)
    with pytest.raises(TaskDeferred):
        deploy(emulator, new, **OPERATOR_MODES["deferrable"]).execute(context := context_of())
    failed = emulator.deployments()[-1].deployment_id
    emulator.deploy(theirs)
    listed = emulator.deployments()
    event = {
        "status": "failed",
        "message": f"it {FAILED})",
        "endpoint_id": emulator.endpoint_id,
        "deployment_id": failed,
    }
    with pytest.raises(DeploymentFailed, match=theirs):
        deploy(emulator, new, **OPERATOR_MODES["deferrable"]).execute_complete(context, event)
    assert emulator.deployments() == listed


def test_a_version_that_has_served_all_the_time_stays(emulator: EmulatorClient) -> None:
    """2 serves, 3 failed, and 2 fails when it is deployed again."""
    first, second, third = (emulator.upload(f"s3://weights/{number}") for number in (1, 2, 3))
    emulator.deploy(first)
    emulator.deploy(second)
    emulator.add_fault("deploy_model", fail_rollout=REASON, times=2)
    emulator.deploy(third)
    with pytest.raises(DeploymentFailed, match=f"{second}, which served before, has served all the time"):
        deploy(emulator, second, **OPERATOR_MODES["blocking"]).execute(context_of())
    assert [each.model_version for each in emulator.deployments()] == [first, second, third, second]
    assert emulator.serving() == second


def test_a_retry_goes_on_with_the_rollback_that_was_begun(emulator: EmulatorClient) -> None:
    old, new = emulator.upload("s3://weights/old"), emulator.upload("s3://weights/new")
    emulator.deploy(old)
    context = {**context_of(), "task_state_store": Store()}
    emulator.add_fault("deploy_model", fail_rollout=REASON)
    with pytest.raises(TaskDeferred):
        deploy(emulator, new, **OPERATOR_MODES["deferrable"]).execute(context)
    event = {
        "status": "failed",
        "message": f"it {FAILED})",
        "endpoint_id": emulator.endpoint_id,
        "deployment_id": emulator.deployments()[-1].deployment_id,
    }
    with pytest.raises(TaskDeferred):
        deploy(emulator, new, **OPERATOR_MODES["deferrable"]).execute_complete(context, event)
    context["ti"].try_number = 2
    with pytest.raises(DeploymentFailed, match=f"{old}, which served before, was deployed again and serves"):
        deploy(emulator, new, retries=1, **OPERATOR_MODES["blocking"]).execute(context)
    assert [each.model_version for each in emulator.deployments()] == [old, new, old]


def test_without_waiting_nobody_would_see_the_failure(emulator: EmulatorClient) -> None:
    with pytest.raises(ValueError, match=r"^rollback_on_failure: needs wait_for_completion"):
        deploy(emulator, emulator.version_name(1)).execute({})
    assert not emulator.requests()

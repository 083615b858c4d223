"""A rollout that fails is taken back if that is wanted: what served before is deployed again and waited for."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_cerebras.api.errors import CerebrasError
from airflow_provider_cerebras.emulator.control.client import EmulatorClient
from airflow_provider_cerebras.emulator.server import EmulatorServer
from airflow_provider_cerebras.emulator.settings import Settings
from airflow_provider_cerebras.exceptions import DeploymentFailed
from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator
from tests.integration.scenario import OPERATOR_MODES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.providers.common.compat.sdk import DAG

    from tests.integration.dag_run import DagRunner

REASON = "out of memory"
FAILED = "failed to roll out (state 'failed'"


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatorClient]:
    """An emulator on which everything is done at once, and no two things happen in the same second."""
    seconds = itertools.count(1_000_000)
    settings = Settings(port=0, sync_seconds=0, rollout_seconds=0)
    with (
        EmulatorServer(settings, lambda: next(seconds)) as server,
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
    services = {name: start_emulator(sync_seconds=0, org=name) for name in names}
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


@pytest.mark.parametrize("kept", [True, False], ids=["3.3 and later", "below 3.3"])
def test_a_retry_after_a_crash_knows_what_served_before(kept: bool, emulator: EmulatorClient) -> None:
    """Another version came to serve between the attempts. Without a store, what the endpoint lists is all there is."""
    before, new, between = (emulator.upload(f"s3://weights/{name}") for name in ("before", "new", "between"))
    emulator.deploy(before)
    ti = SimpleNamespace(dag_id="dag", run_id="run", task_id="deploy", map_index=-1, max_tries=1, try_number=1)
    context: Any = {"ti": ti, **({"task_state_store": Store()} if kept else {})}

    emulator.add_fault("deploy_model", when="after", drop=True)
    emulator.add_fault("get_endpoint", skip=1, text="{")
    with pytest.raises(CerebrasError):
        deploy(emulator, new, **OPERATOR_MODES["blocking"]).execute(context)
    emulator.deploy(between)
    ti.try_number = 2
    emulator.add_fault("deploy_model", fail_rollout=REASON)
    with pytest.raises(DeploymentFailed, match=before if kept else between):
        deploy(emulator, new, **OPERATOR_MODES["blocking"]).execute(context)

    assert emulator.serving() == (before if kept else between)


def test_if_the_service_does_not_take_the_rollback_both_are_said(emulator: EmulatorClient) -> None:
    old, new = emulator.upload("s3://weights/old"), emulator.upload("s3://weights/new")
    emulator.deploy(old)
    ti = SimpleNamespace(dag_id="dag", run_id="run", task_id="deploy", map_index=-1, max_tries=0, try_number=1)
    context: Any = {"ti": ti}
    emulator.add_fault("deploy_model", fail_rollout=REASON)
    emulator.add_fault("deploy_model", status=400, body={"detail": "not now"})
    with pytest.raises(DeploymentFailed) as failed:
        deploy(emulator, new, **OPERATOR_MODES["blocking"]).execute(context)
    for words in (old, new, FAILED, "not now"):
        assert words in str(failed.value)


def test_without_waiting_nobody_would_see_the_failure(emulator: EmulatorClient) -> None:
    with pytest.raises(ValueError, match=r"^rollback_on_failure: needs wait_for_completion"):
        deploy(emulator, emulator.version_name(1)).execute({})
    assert not emulator.requests()

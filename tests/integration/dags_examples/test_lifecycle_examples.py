"""The other example DAGs, each run as it stands."""

from __future__ import annotations

import importlib
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_1_PLUS, AIRFLOW_V_3_3_PLUS
from tests.clock import ticking

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.integration.dag_run import DagRunner


@pytest.fixture
def quick(start_emulator: Callable[..., EmulatorClient], monkeypatch: pytest.MonkeyPatch) -> EmulatorClient:
    emulator = start_emulator(ticking(), sync_seconds=0, rollout_seconds=0)
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection())
    return emulator


def load(name: str) -> Any:
    """The DAG of a file, made anew."""
    sys.modules.pop(name, None)
    return importlib.import_module(name).dag


def test_scheduled_release(quick: EmulatorClient, run_dag: DagRunner) -> None:
    first = quick.upload("s3://weights/last-week", "latest", "production")
    quick.deploy(first)
    quick.advance_clock(1)

    result = run_dag(load("scheduled_release"))

    assert result.state == "success", result.log
    second = quick.version_name(2)
    assert quick.serving() == second
    assert quick.versions()[second].aliases[1:] == ["production"]
    assert result["cerebras_release.evaluate"].xcom["baseline"]["model_version"] == first
    assert "latest" in quick.versions()[first].aliases


@pytest.mark.skipif(
    AIRFLOW_V_3_0_PLUS and not AIRFLOW_V_3_3_PLUS, reason="there `dag.test()` does not tell a callback the error"
)
def test_scheduled_release_notifies_of_a_failure(quick: EmulatorClient, run_dag: DagRunner) -> None:
    quick.fail_next_sync("out of quota")

    result = run_dag(load("scheduled_release"))

    assert result.state == "failed"
    sentence = str(result.error("cerebras_release.conclude"))
    assert f"A release has failed. {sentence}" in result.log


def test_prune_weekly(quick: EmulatorClient, run_dag: DagRunner) -> None:
    versions = [quick.upload(f"s3://weights/{number}") for number in range(8)]
    quick.set_aliases(versions[0], "production-2024")
    quick.deploy(versions[1])

    rehearsal = run_dag(load("prune_weekly"))

    assert rehearsal.state == "success", rehearsal.log
    assert rehearsal["prune"].xcom["deleted"] == [versions[2]]
    assert list(quick.versions()) == versions

    dag = load("prune_weekly")
    dag.dag_id = "prune_weekly_for_real"
    result = run_dag(dag, {"delete": True})

    assert result.state == "success", result.log
    assert result["prune"].xcom == rehearsal["prune"].xcom
    assert list(quick.versions()) == [version for version in versions if version != versions[2]]


def test_keep_endpoints(quick: EmulatorClient, run_dag: DagRunner) -> None:
    staging = f"{quick.endpoint_id}-staging"
    quick.add_endpoint(staging)
    wanted, other = quick.upload("s3://weights/1", "production", "latest"), quick.upload("s3://weights/2")
    quick.deploy(wanted, staging)
    # Past Airflow.
    quick.deploy(other)
    quick.advance_clock(1)

    report = run_dag(load("keep_endpoints"))

    assert report.state == "success", report.log
    assert report["plan"].xcom == [{"endpoint_id": quick.endpoint_id, "model_version": wanted}]
    assert report["deploy"].state == "skipped"
    assert quick.serving() == other

    dag = load("keep_endpoints")
    dag.dag_id = "keep_endpoints_for_real"
    assert dag.max_active_runs == 1
    result = run_dag(dag, {"reconcile": True})

    assert result.state == "success", result.log
    assert {quick.serving(each) for each in (quick.endpoint_id, staging)} == {wanted}
    assert [len(quick.deployments(each)) for each in (quick.endpoint_id, staging)] == [2, 1]


def test_fan_out_endpoints(quick: EmulatorClient, run_dag: DagRunner) -> None:
    endpoints = [quick.endpoint_id, *(f"{quick.endpoint_id}-{region}" for region in ("eu", "us"))]
    for endpoint_id in endpoints[1:]:
        quick.add_endpoint(endpoint_id)
    version = quick.upload("s3://weights/1", "latest")

    result = run_dag(load("fan_out_endpoints"))

    assert result.state == "success", result.log
    assert {quick.serving(endpoint_id) for endpoint_id in endpoints} == {version}
    assert result["summary"].xcom == dict.fromkeys(endpoints, f"released, {version} serves")


def test_staging_to_production(quick: EmulatorClient, run_dag: DagRunner) -> None:
    staging = f"{quick.endpoint_id}-staging"
    quick.add_endpoint(staging)

    result = run_dag(load("staging_to_production"))

    assert result.state == "success", result.log
    only = quick.version_name(1)
    assert list(quick.versions()) == [only]
    assert quick.serving(staging) == quick.serving() == only
    assert "production" in quick.versions()[only].aliases


def answer_when_asked(run_dag: DagRunner, dag_id: str, option: str) -> None:
    """Do what Airflow's UI does when a person answers."""
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.datamodels.hitl import UpdateHITLDetailPayload
    from airflow.api_fastapi.core_api.routes.public.hitl import update_hitl_detail
    from airflow.models.dagrun import DagRun
    from airflow.models.hitl import HITLDetail
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with create_session() as session:
            # Columns only, for a task that is known already is not loaded with what it asks.
            columns = session.query(TaskInstance.run_id, TaskInstance.task_id)
            waiting = columns.join(HITLDetail).filter(TaskInstance.dag_id == dag_id).one_or_none()
            # From Airflow 3.3 on, `dag.test()` would overwrite what an answer does before that.
            if waiting and (not AIRFLOW_V_3_3_PLUS or "Waiting for Human-in-the-loop input" in run_dag.log()):
                update_hitl_detail(
                    dag_id=dag_id,
                    dag_run_id=waiting.run_id,
                    task_id=waiting.task_id,
                    update_hitl_detail_payload=UpdateHITLDetailPayload(chosen_options=[option], params_input={}),
                    user=SimpleAuthManagerUser(username="alex", role="admin"),
                    session=session,
                )
                return
        threading.Event().wait(0.1)
    with create_session() as session:
        # Or the run would wait for ever.
        session.query(DagRun).filter_by(dag_id=dag_id).update({"state": "failed"})
    raise AssertionError("there was no request for approval")


@pytest.fixture
def answers_reach_triggers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Airflow 3.3 it is a trigger that waits for a person, and `dag.test()` does not receive its question."""
    if AIRFLOW_V_3_3_PLUS:
        return
    from airflow.sdk.execution_time.comms import GetHITLDetailResponse
    from airflow.sdk.execution_time.supervisor import InProcessTestSupervisor

    handle_request = InProcessTestSupervisor._handle_request

    def handle(self: Any, msg: Any, log: Any, req_id: int) -> None:
        if isinstance(msg, GetHITLDetailResponse):
            self.send_msg(self.client.hitl.get_detail_response(ti_id=msg.ti_id), req_id)
        else:
            handle_request(self, msg, log, req_id)

    monkeypatch.setattr(InProcessTestSupervisor, "_handle_request", handle)


if AIRFLOW_V_3_1_PLUS:

    @pytest.mark.parametrize(
        ("option", "state"), [("Approve", "success"), ("Reject", "skipped")], ids=["approved", "rejected"]
    )
    @pytest.mark.usefixtures("answers_reach_triggers")
    def test_release_with_approval(quick: EmulatorClient, run_dag: DagRunner, option: str, state: str) -> None:
        dag = load("release_with_approval")
        # Each run leaves its own behind.
        dag.dag_id = f"release_with_approval_{state}"
        with ThreadPoolExecutor() as pool:
            person = pool.submit(answer_when_asked, run_dag, dag.dag_id, option)
            result = run_dag(dag)
            person.result()

        assert result["cerebras_release.deploy"].state == state
        assert result["cerebras_release.promote"].state == state
        assert result["cerebras_release.roll_back"].state == "skipped"
        record = result["cerebras_release.conclude"].xcom
        assert record["approval"]["option"] == option
        assert record["approval"]["by"] == "alex"
        asked = result.rendered["cerebras_release.approve"]["endpoint_id"]
        assert asked == quick.endpoint_id
        if option == "Approve":
            assert (result.state, record["outcome"]) == ("success", "released"), result.log
        else:
            assert (result.state, record["outcome"]) == ("failed", "rejected"), result.log
            sentence = str(result.error("cerebras_release.conclude"))
            assert "was rejected by alex; nothing was deployed; nothing serves there now; clear approve" in sentence
        assert quick.serving() == (quick.version_name(1) if option == "Approve" else None)

else:

    def test_release_with_approval_says_what_it_needs() -> None:
        with pytest.raises(ValueError, match=r"^approval: needs Airflow 3\.1"):
            load("release_with_approval")

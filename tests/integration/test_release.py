"""The whole release as one TaskGroup, and the operators that it is made of, by a real Airflow."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import task

from airflow_provider_cerebras.emulator.control.client import EmulatorClient
from airflow_provider_cerebras.emulator.server import EmulatorServer
from airflow_provider_cerebras.emulator.settings import Settings
from airflow_provider_cerebras.exceptions import (
    DeploymentFailed,
    EndpointVerificationFailed,
    ModelVersionFailed,
    NothingToRollBackTo,
    ReleaseFailed,
    RequestRefused,
    RollbackRefused,
)
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.operators.endpoints import (
    CerebrasRollbackEndpointOperator,
    CerebrasVerifyEndpointOperator,
)
from airflow_provider_cerebras.task_groups import cerebras_release
from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_2_PLUS
from tests.clock import ticking
from tests.integration.scenario import OPERATOR_MODES, POLL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow.providers.common.compat.sdk import DAG

    from tests.integration.dag_run import DagResult, DagRunner

CHAT = [{"role": "user", "content": "a question that must stay secret"}]


@pytest.fixture
def quick(cerebras_emulator_settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatorClient]:
    """An emulator on which everything is done at once, and no two things happen in the same second."""
    settings = Settings(**{"port": 0, **cerebras_emulator_settings, "sync_seconds": 0, "rollout_seconds": 0})
    with (
        EmulatorServer(settings, ticking()) as server,
        EmulatorClient(server.base_url, server.settings) as emulator,
    ):
        monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection())
        yield emulator


class UnreadableHook(CerebrasHook):
    """A hook whose connection is in a secrets backend that is down."""

    @classmethod
    def get_connection(cls, conn_id: str) -> Any:
        raise RuntimeError("the secrets backend is down")


@task
def announce(model_version: object) -> str:
    return f"{model_version} is out"


def release_dag(new_dag: Callable[..., DAG], emulator: EmulatorClient, **arguments: Any) -> DAG:
    """A DAG of one release, and a task after it."""
    quickly = {"poke_interval": POLL}
    with new_dag(default_args={"retries": 2}) as dag:
        release = cerebras_release(
            group_id="release",
            **{
                "model_arch_id": emulator.arch,
                "weight_uri": "s3://weights/new",
                "endpoint_id": emulator.endpoint_id,
                "alias": "prod",
                "system_fingerprint_suffix": "v2",
                "verify": {"settle_timeout": POLL},
                "wait_for_sync": quickly,
                "wait_for_rollout": quickly,
                "roll_back": {"poll_interval": POLL},
                **arguments,
            },
        )
        announced: Any = announce(release.model_version)
        release >> announced
    return dag


def concluded(result: DagResult) -> tuple[str, dict[str, Any]]:
    """The sentence in which a release has failed, and its record. What comes after the group has not run."""
    error = result.error("release.conclude")
    assert isinstance(error, ReleaseFailed)
    assert result["release.conclude"].try_number == 1
    assert result["announce"].state == "upstream_failed"
    return str(error), result["release.conclude"].xcom


def serve(emulator: EmulatorClient, weight_uri: str, *aliases: str) -> str:
    version = emulator.upload(weight_uri, *aliases)
    emulator.deploy(version)
    return version


class TestRelease:
    def test_all_goes_well(self, quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner) -> None:
        first = serve(quick, "s3://weights/old", "prod")

        result = run_dag(release_dag(new_dag, quick))

        assert result.state == "success", result.log
        second = quick.version_name(2)
        assert quick.serving() == second
        assert "prod" in quick.versions()[second].aliases
        assert result["release.roll_back"].state == "skipped"
        assert result["release.verify"].xcom["system_fingerprint"].endswith("-v2")
        assert result["release.verify"].xcom["model_version"] == second
        record = result["release.conclude"].xcom
        assert record["outcome"] == "released"
        assert record["weight_uri"] == "s3://weights/new"
        assert (record["served_before"], record["model_version"], record["serves_now"]) == (first, second, second)
        assert record["deployment_id"] == quick.deployments()[-1].deployment_id
        assert [step["state"] for step in record["steps"]] == ["success"] * 6 + ["skipped"]
        if AIRFLOW_V_3_2_PLUS:
            assert [step["name"] for step in record["steps"][:6] if step["seconds"] is None] == []
        assert result["announce"].xcom == f"{second} is out"

    def test_without_an_alias_nothing_is_promoted(
        self, quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
    ) -> None:
        result = run_dag(release_dag(new_dag, quick, alias=None))
        assert result.state == "success", result.log
        assert "release.promote" not in result.tasks

    def test_what_does_not_answer_as_expected_is_rolled_back(
        self, quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
    ) -> None:
        first = serve(quick, "s3://weights/old", "prod")

        result = run_dag(release_dag(new_dag, quick, expect="something else entirely"))

        assert result.state == "failed"
        assert isinstance(result.error("release.verify"), EndpointVerificationFailed)
        assert result["release.roll_back"].state == "success", result.log
        assert quick.serving() == first
        assert quick.versions()[first].aliases[0] == "prod"
        assert result["release.promote"].state == "upstream_failed"
        sentence, record = concluded(result)
        assert re.search("failed in verify: Endpoint .* was not as expected", sentence)
        assert f"; the endpoint was rolled back; now {first} serves there; find out what is wrong" in sentence
        assert (record["outcome"], record["serves_now"]) == ("rolled_back", first)
        assert result["announce"].state == "upstream_failed"

    def test_a_rollout_that_fails_is_rolled_back(
        self, quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
    ) -> None:
        first = serve(quick, "s3://weights/old", "prod")
        quick.add_fault("deploy_model", fail_rollout="out of memory")

        result = run_dag(release_dag(new_dag, quick))

        assert result.state == "failed"
        assert isinstance(result.error("release.wait_for_rollout"), DeploymentFailed)
        assert result["release.verify"].state == "upstream_failed"
        assert result["release.roll_back"].state == "success", result.log
        assert [each.model_version for each in quick.deployments()] == [first, quick.version_name(2), first]
        assert quick.serving() == first
        sentence, record = concluded(result)
        assert "failed in wait_for_rollout: " in sentence
        assert str(result.error("release.wait_for_rollout")).rstrip(".") in sentence
        assert record["rollback_deployment_id"] == quick.deployments()[-1].deployment_id

    def test_a_rollback_that_fails_too_says_what_serves_now(
        self, quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
    ) -> None:
        first = serve(quick, "s3://weights/old")
        quick.add_fault("deploy_model", fail_rollout="out of memory", times=2)

        result = run_dag(release_dag(new_dag, quick))

        assert result.state == "failed"
        assert isinstance(result.error("release.roll_back"), DeploymentFailed)
        assert f"Now {first} serves there." in str(result.error("release.roll_back"))
        sentence, record = concluded(result)
        assert record["outcome"] == "not_rolled_back"
        assert "roll_back failed as well: The rollback failed. " in sentence
        assert sentence.endswith(f"; now {first} serves there; look at the endpoint and deploy what must serve.")
        assert result["announce"].state == "upstream_failed"

    def test_a_sync_that_fails_deploys_nothing(
        self, quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
    ) -> None:
        first = serve(quick, "s3://weights/old", "prod")
        quick.add_fault("upload_model_version", fail_sync="AccessDenied (kms:Decrypt)")

        result = run_dag(release_dag(new_dag, quick))

        assert isinstance(result.error("release.wait_for_sync"), ModelVersionFailed)
        assert (quick.serving(), len(quick.deployments())) == (first, 1)
        assert "prod" in quick.versions()[first].aliases
        assert result["release.roll_back"].state == "skipped"
        sentence, record = concluded(result)
        assert record["outcome"] == "not_deployed"
        assert "failed in wait_for_sync: " in sentence
        assert "AccessDenied (kms:Decrypt)" in sentence

    def test_default_arguments_of_the_dag_do_not_deploy_after_a_failure(
        self, quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner, tmp_path: Path
    ) -> None:
        first = serve(quick, "s3://weights/old")
        with new_dag(default_args={"trigger_rule": "all_done"}) as dag:
            cerebras_release(
                group_id="release",
                model_arch_id=quick.arch,
                weight_uri="s3://weights/new",
                endpoint_id=quick.endpoint_id,
                evaluate={"dataset": str(tmp_path / "missing.jsonl")},
                wait_for_sync={"poke_interval": POLL},
            )

        result = run_dag(dag)

        assert result["release.evaluate_baseline"].state == "failed", result.log
        assert result["release.deploy"].state == "upstream_failed"
        assert quick.serving() == first
        assert len(quick.deployments()) == 1
        assert "failed in evaluate_baseline: " in str(result.error("release.conclude"))

    @pytest.mark.parametrize("operation", ["upload_model_version", "deploy_model"])
    def test_where_nothing_was_deployed_nothing_is_rolled_back(
        self, quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner, operation: str
    ) -> None:
        first = serve(quick, "s3://weights/old")
        serve(quick, "s3://weights/now")
        quick.add_fault(operation, status=403, body={"detail": "not allowed"})

        result = run_dag(release_dag(new_dag, quick))

        assert result.state == "failed"
        assert result["release.roll_back"].state == "skipped"
        assert quick.serving() != first
        assert len(quick.deployments()) == 2
        sentence, record = concluded(result)
        step, outcome = {
            "upload_model_version": ("upload", "not_deployed"),
            "deploy_model": ("deploy", "deployment_failed"),
        }[operation]
        assert record["outcome"] == outcome
        assert f"failed in {step}: " in sentence
        assert "not allowed" in sentence
        assert f"now {quick.serving()} serves there; fix the cause and clear {step}" in sentence

    def test_a_rollout_that_fails_while_deploy_waits_is_rolled_back(
        self, quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
    ) -> None:
        first = serve(quick, "s3://weights/old")
        quick.add_fault("deploy_model", fail_rollout="out of memory")

        result = run_dag(release_dag(new_dag, quick, deploy={"wait_for_completion": True, "poll_interval": POLL}))

        assert isinstance(result.error("release.deploy"), DeploymentFailed)
        assert result["release.roll_back"].state == "success", result.log
        assert quick.deployments()[-1].model_version == first
        sentence, record = concluded(result)
        assert record["outcome"] == "rolled_back"
        assert "failed in deploy: " in sentence

    def test_what_could_not_be_verified_is_not_rolled_back(
        self, quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
    ) -> None:
        serve(quick, "s3://weights/old", "prod")
        quick.add_fault("chat_completion", status=401, body={"message": "wrong key"}, times=None)

        result = run_dag(release_dag(new_dag, quick))

        second = quick.version_name(2)
        assert result.state == "failed"
        assert isinstance(result.error("release.verify"), RequestRefused)
        assert f"{second} is unverified" in str(result.error("release.verify"))
        assert result["release.roll_back"].state == "skipped"
        assert f"Now {second} serves there." in result.log
        assert quick.serving() == second
        assert "prod" in quick.versions()[quick.version_name(1)].aliases
        sentence, record = concluded(result)
        assert record["outcome"] == "unverified"
        assert "nothing was rolled back, since no check has found the version to be wrong" in sentence

    def test_a_connection_that_cannot_be_read_in_the_end_hides_no_outcome(
        self, quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
    ) -> None:
        result = run_dag(release_dag(new_dag, quick, conclude={"hook_class": UnreadableHook}))
        assert result.state == "success", result.log
        record = result["release.conclude"].xcom
        assert (record["outcome"], record["serving_unknown"]) == ("released", "RuntimeError; see the log of the task")

    def test_its_waits_end_as_those_of_the_operators_do(
        self, quick: EmulatorClient, new_dag: Callable[..., DAG]
    ) -> None:
        tasks: dict[str, Any] = dict(release_dag(new_dag, quick, wait_for_sync={"timeout": 60}).task_dict)
        upload, deploy = tasks["release.upload"], tasks["release.deploy"]
        assert tasks["release.wait_for_sync"].timeout == 60
        assert tasks["release.wait_for_rollout"].timeout == deploy.timeout == 7200
        tasks = dict(release_dag(new_dag, quick).task_dict)
        assert tasks["release.wait_for_sync"].timeout == upload.timeout == 86400

    def test_a_rollout_that_has_not_ended_in_time_is_left_and_named(
        self, quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
    ) -> None:
        first = serve(quick, "s3://weights/old", "prod")
        quick.change_behaviour(rollout_seconds=3600)

        result = run_dag(release_dag(new_dag, quick, wait_for_rollout={"poke_interval": POLL, "timeout": POLL}))

        second = quick.version_name(2)
        assert result["release.roll_back"].state == "skipped"
        assert f"Now {first} serves there. Model version {second} still rolls out" in result.log
        sentence, record = concluded(result)
        assert f"; now {first} serves there, and {second} still rolls out; " in sentence
        assert (record["outcome"], record["serves_now"], record["rolls_out"]) == ("unverified", first, second)

    def test_what_another_client_deploys_during_the_rollout_is_warned_of(
        self, quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
    ) -> None:
        serve(quick, "s3://weights/old", "prod")
        theirs = quick.upload("s3://weights/theirs")

        def meanwhile(context: object) -> None:
            quick.change_behaviour(rollout_seconds=3600)
            quick.deploy(theirs)

        result = run_dag(release_dag(new_dag, quick, promote={"pre_execute": meanwhile}))

        second = quick.version_name(3)
        assert result.state == "success", result.log
        assert (
            f"; now {second} serves there, and {theirs}, which is not of this release, still rolls out." in result.log
        )
        assert f"Model version {theirs}, which is not of this release, rolls out onto endpoint" in result.log
        assert result["release.conclude"].xcom["rolls_out"] == theirs

    def test_what_another_client_has_deployed_meanwhile_stays(
        self, quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
    ) -> None:
        serve(quick, "s3://weights/old", "prod")
        theirs = quick.upload("s3://weights/theirs")
        meanwhile = {"settle_timeout": POLL, "pre_execute": lambda context: quick.deploy(theirs)}

        result = run_dag(release_dag(new_dag, quick, verify=meanwhile))

        assert result.state == "failed"
        assert f"{theirs} (state 'complete') serves there" in str(result.error("release.verify"))
        refused = result.error("release.roll_back")
        assert isinstance(refused, RollbackRefused)
        assert f"Now {theirs} serves there." in str(refused)
        assert result["release.roll_back"].try_number == 1
        assert [each.model_version for each in quick.deployments()][-1] == theirs == quick.serving()
        sentence, record = concluded(result)
        assert (record["outcome"], record["serves_now"]) == ("not_rolled_back", theirs)
        assert "because another client has deployed since" in sentence

    def test_what_the_group_needs_is_checked_before_the_upload(
        self,
        quick: EmulatorClient,
        new_dag: Callable[..., DAG],
        run_dag: DagRunner,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", quick.connection(extra={"inference_api_key": None}))

        result = run_dag(release_dag(new_dag, quick))

        assert result.state == "failed"
        assert "has no inference_api_key" in str(result.error("release.upload"))
        assert not quick.requests("upload_model_version")

    def test_every_task_takes_keywords_of_its_own(
        self, quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
    ) -> None:
        dag = release_dag(
            new_dag,
            quick,
            upload={"version_aliases": ["latest"], "pool": "default_pool"},
            deploy={"rollback_on_failure": True, "wait_for_completion": True, "poll_interval": POLL},
            promote={"doc_md": "moves the alias"},
        )
        assert run_dag(dag).state == "success"
        assert dag.get_task("release.promote").doc_md == "moves the alias"
        assert quick.versions()[quick.version_name(1)].aliases[1:] == ["latest", "prod"]


class TestVerify:
    def verify(self, quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner, **arguments: Any) -> Any:
        serve(quick, "s3://weights/now")
        with new_dag() as dag:
            CerebrasVerifyEndpointOperator(
                task_id="verify",
                endpoint_id=quick.endpoint_id,
                **{"messages": CHAT, "settle_timeout": POLL, **arguments},
            )
        return run_dag(dag)

    def test_several_chats(self, quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner) -> None:
        result = self.verify(
            quick, new_dag, run_dag, messages=[CHAT, CHAT], expect=re.compile(r"\w"), chat_params={"temperature": 0}
        )
        assert result.state == "success", result.log
        assert result["verify"].xcom["chats"] == 2
        assert [each.body["temperature"] for each in quick.requests("chat_completion")] == [0, 0]

    def test_questions_and_answers_are_not_shown(
        self, quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
    ) -> None:
        result = self.verify(quick, new_dag, run_dag, expect="something else")
        assert "'something else'" in str(result.error("verify"))
        assert "a question that must stay secret" not in str(result.error("verify"))
        lines = [line for line in result.log.splitlines() if "a question that must stay secret" in line]
        assert lines == []

    def test_unless_they_may_be(self, quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner) -> None:
        result = self.verify(quick, new_dag, run_dag, expect="something else", log_content=True)
        error = result.error("verify")
        assert isinstance(error, EndpointVerificationFailed)
        assert "a question that must stay secret" in str(error)
        assert error.question == CHAT
        assert error.answer is not None
        assert error.answer in str(error)

    def test_an_endpoint_that_settles_is_asked_again(
        self, quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
    ) -> None:
        quick.add_fault("chat_completion", status=404, body={"message": "no such model yet"})
        result = self.verify(quick, new_dag, run_dag, settle_timeout=60)
        assert result.state == "success", result.log
        assert len(quick.requests("chat_completion")) == 2

    def test_a_key_that_is_refused_fails_at_once(
        self, quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
    ) -> None:
        quick.add_fault("chat_completion", status=401, body={"message": "wrong key"})
        result = self.verify(quick, new_dag, run_dag, settle_timeout=60)
        assert isinstance(result.error("verify"), RequestRefused)
        assert len(quick.requests("chat_completion")) == 1


class TestRollback:
    @pytest.mark.parametrize("mode", OPERATOR_MODES)
    def test_to_what_served_before(
        self, quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner, mode: str
    ) -> None:
        first = serve(quick, "s3://weights/old")
        serve(quick, "s3://weights/now")
        with new_dag() as dag:
            CerebrasRollbackEndpointOperator(task_id="back", endpoint_id=quick.endpoint_id, **OPERATOR_MODES[mode])

        result = run_dag(dag)

        assert result.state == "success", result.log
        assert quick.serving() == first
        assert result["back"].xcom == quick.deployments()[-1].deployment_id

    def test_to_a_named_version(self, quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner) -> None:
        oldest = serve(quick, "s3://weights/oldest", "golden")
        serve(quick, "s3://weights/old")
        serve(quick, "s3://weights/now")
        with new_dag(params={"to": "golden"}) as dag:
            CerebrasRollbackEndpointOperator(
                task_id="back",
                endpoint_id=quick.endpoint_id,
                to=quick.version_name("{{ params.to }}"),
                poll_interval=POLL,
            )
        assert run_dag(dag).state == "success"
        assert quick.serving() == oldest

    def test_where_nothing_served_before_the_task_fails_at_once(
        self, quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
    ) -> None:
        serve(quick, "s3://weights/now")
        with new_dag(default_args={"retries": 3}) as dag:
            CerebrasRollbackEndpointOperator(task_id="back", endpoint_id=quick.endpoint_id)
        result = run_dag(dag)
        assert isinstance(result.error("back"), NothingToRollBackTo)
        assert result["back"].try_number == 1
        assert len(quick.deployments()) == 1

    def test_a_retry_after_the_answer_was_lost_goes_back_to_the_same_version(
        self, quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
    ) -> None:
        first = serve(quick, "s3://weights/old")
        serve(quick, "s3://weights/now")
        # The submission works, its answer is lost, and the look that would find it fails until the attempt gives up.
        quick.add_fault("deploy_model", when="after", status=503)
        quick.add_fault("get_endpoint", skip=1, times=6, status=500)
        with new_dag(default_args={"retries": 1}) as dag:
            CerebrasRollbackEndpointOperator(task_id="back", endpoint_id=quick.endpoint_id, poll_interval=POLL)
        result = run_dag(dag)
        assert result.state == "success", result.log
        assert result["back"].try_number == 2
        assert quick.serving() == first
        assert {each.model_version for each in quick.deployments()[2:]} == {first}

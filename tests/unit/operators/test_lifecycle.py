"""Deleting, pruning and rolling back: what goes, what is spared, and what is sent for it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG, TaskDeferred

from airflow_provider_cerebras.api.client import CerebrasClient
from airflow_provider_cerebras.api.errors import UnexpectedResponse
from airflow_provider_cerebras.durable.deletions import delete_version, find_uses
from airflow_provider_cerebras.exceptions import (
    DeploymentFailed,
    DeploymentLost,
    InvalidArgument,
    RequestRefused,
    RollbackRefused,
    VersionInUse,
)
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.operators.endpoints import CerebrasRollbackEndpointOperator
from airflow_provider_cerebras.operators.model_versions import (
    CerebrasDeleteModelVersionOperator,
    CerebrasPruneModelVersionsOperator,
)
from tests.task_instance import TaskInstance

if TYPE_CHECKING:
    from tests.unit.conftest import Service

CONTEXT: Any = {}


def delete(model_version: str, **changes: Any) -> str:
    return CerebrasDeleteModelVersionOperator(task_id="task", model_version=model_version, **changes).execute(CONTEXT)


def prune(**changes: Any) -> dict[str, Any]:
    arguments = {"model_arch_id": "gpt-oss-120b", "keep_last": 1, **changes}
    return CerebrasPruneModelVersionsOperator(task_id="task", **arguments).execute(CONTEXT)


class TestDelete:
    def test_by_an_alias_it_returns_the_number(self, service: Service) -> None:
        version = service.new_version("candidate")
        assert delete(service.version_name("candidate")) == version
        assert service.versions() == {}

    def test_what_does_not_exist_is_deleted_already(self, service: Service) -> None:
        assert delete(service.version_name(7)) == service.version_name(7)
        assert service.requests("delete_model_version") == []

    @pytest.mark.parametrize("operation", ["get_model_version", "delete_model_version", "list_endpoints"])
    def test_a_404_that_is_not_the_api_s_is_never_taken_for_deleted(self, service: Service, operation: Any) -> None:
        version = service.new_version()
        service.add_fault(operation, status=404, text="<html><body>no such page</body></html>")
        with pytest.raises(RequestRefused, match="no such page"):
            delete(version)
        assert list(service.versions()) == [version]

    def test_what_comes_into_use_while_the_service_is_busy_is_kept(self, service: Service) -> None:
        """The request that is sent again is preceded by another look."""
        version = service.new_version()
        service.add_fault("delete_model_version", status=503, times=1)
        client = CerebrasHook().get_conn()

        def deploy(seconds: float) -> None:
            service.api("POST", f"/endpoints/{service.endpoint_id}:deployModel", {"model": version})

        reason = delete_version(
            client,
            version,
            reason_to_keep=lambda: find_uses(client, service.org).in_use.get(version),
            sleep=deploy,
        )
        assert reason == f"rolls out on endpoint {service.endpoint_id}"
        assert len(service.requests("delete_model_version")) == 1

    def test_what_comes_into_use_while_a_look_waits_to_be_repeated_is_kept(self, service: Service) -> None:
        """An endpoint that was seen before the pause is seen again after it."""
        version = service.new_version()
        client = CerebrasHook().get_conn()
        asked = 0

        def reason_to_keep() -> str | None:
            nonlocal asked
            asked += 1
            uses = find_uses(client, service.org, once=True)
            if asked == 1:
                service.add_fault("list_endpoints", status=503, times=1)
                find_uses(client, service.org, once=True)
            return uses.in_use.get(version)

        def deploy(seconds: float) -> None:
            service.api("POST", f"/endpoints/{service.endpoint_id}:deployModel", {"model": version})

        reason = delete_version(client, version, reason_to_keep=reason_to_keep, sleep=deploy)
        assert reason == f"rolls out on endpoint {service.endpoint_id}"
        assert service.requests("delete_model_version") == []

    def test_what_another_client_deletes_meanwhile_is_deleted_too(self, service: Service) -> None:
        version = service.new_version()

        def delete_first() -> None:
            service.api("DELETE", f"/{version}")

        assert delete_version(CerebrasHook().get_conn(), version, reason_to_keep=delete_first) is None
        assert [each.status for each in service.requests("delete_model_version")] == [200, 404]

    @pytest.mark.parametrize(
        "body",
        [
            {"message": "no Route matched with those values"},
            {"message": "Not Found"},
            {"detail": "Not Found"},
            {"error": {"message": "no such route"}},
        ],
        ids=str,
    )
    def test_the_404_of_a_gateway_that_speaks_json_is_never_taken_for_deleted(
        self, service: Service, body: Any
    ) -> None:
        version = service.new_version("candidate")
        for asked in (version, service.version_name("candidate")):
            service.add_fault("get_model_version", status=404, body=body)
            with pytest.raises(UnexpectedResponse, match="but it lists that version"):
                delete(asked)
        service.add_fault("delete_model_version", status=404, body=body)
        pauses: list[float] = []
        with pytest.raises(UnexpectedResponse, match="not known to be deleted"):
            delete_version(CerebrasHook().get_conn(), version, reason_to_keep=lambda: None, sleep=pauses.append)
        assert sum(pauses) >= 30
        assert list(service.versions()) == [version]

    def test_a_gateway_that_knows_no_route_at_all_proves_nothing(self, service: Service) -> None:
        version = service.new_version()
        for operation in ("get_model_version", "list_model_versions"):
            service.add_fault(operation, status=404, body={"message": "no Route matched with those values"})
        with pytest.raises(RequestRefused, match="no Route matched"):
            delete(version)
        assert list(service.versions()) == [version]

    @pytest.mark.parametrize(
        "listed",
        [
            {"model_versions": [None]},
            {"model_versions": [{"name": 5}]},
            {"model_versions": None},
            {},
            {"model_versions": [], "next_page_token": "abc"},
        ],
        ids=str,
    )
    def test_a_list_that_may_lack_it_is_no_proof_that_it_is_gone(self, service: Service, listed: Any) -> None:
        service.add_fault("list_model_versions", status=200, body=listed)
        with pytest.raises(UnexpectedResponse):
            delete(service.version_name(7))

    def test_a_row_without_aliases_may_have_the_alias(self, service: Service) -> None:
        row = {"name": service.version_name(7), "done": True, "response": {"sync_status": "done"}}
        service.add_fault("list_model_versions", status=200, body={"model_versions": [row]})
        with pytest.raises(UnexpectedResponse, match="version_aliases"):
            delete(service.version_name("candidate"))

    def test_a_list_that_lags_behind_a_deletion_is_waited_for(self, service: Service) -> None:
        version = service.new_version()
        service.add_fault("delete_model_version", status=404, body={"detail": "no such version"})

        def delete_meanwhile(seconds: float) -> None:
            if service.versions():
                service.api("DELETE", f"/{version}")

        client = CerebrasHook().get_conn()
        assert delete_version(client, version, reason_to_keep=lambda: None, sleep=delete_meanwhile) is None

    @pytest.mark.parametrize(("done", "words"), [(True, "serves on"), (False, "rolls out on")])
    def test_what_is_in_use_is_refused_with_the_endpoint(self, service: Service, done: bool, words: str) -> None:
        service.new_deployment(done=done)
        (version,) = service.versions()
        with pytest.raises(VersionInUse, match=f"{version} {words} endpoint {service.endpoint_id}"):
            delete(version)
        assert service.requests("delete_model_version") == []

    def test_a_name_that_differs_in_case_only_counts_as_the_same(self, service: Service) -> None:
        """Whether the service tells upper case from lower is not documented."""
        version = service.new_version()
        entry = {"id": "1", "model": version.replace("my-org", "My-Org"), "created": 1, "state": "complete"}
        endpoint = {"name": service.endpoint_id, "deployed_models": [entry]}
        service.add_fault("get_endpoint", status=200, body=endpoint)
        with pytest.raises(VersionInUse):
            delete(version)

    def test_force_asks_the_service_all_the_same(self, service: Service) -> None:
        service.new_deployment()
        (version,) = service.versions()
        service.add_fault("delete_model_version", status=200, body={"deleted": True})
        assert delete(version, force=True) == version
        assert service.requests("list_endpoints") == []
        assert len(service.requests("delete_model_version")) == 1


class TestPrune:
    def test_a_rehearsal_says_the_same_and_deletes_nothing(self, service: Service) -> None:
        old, new = service.new_version(), service.new_version()
        rehearsed = prune(dry_run=True)
        assert list(service.versions()) == [old, new]
        assert prune() == rehearsed == {"deleted": [old], "kept": {new: "is among the newest"}}
        assert list(service.versions()) == [new]

    def test_what_came_into_use_meanwhile_is_kept_with_the_service_s_words(self, service: Service) -> None:
        old, new = service.new_version(), service.new_version()
        service.add_fault("delete_model_version", status=409, body={"detail": "it is being deployed"})
        assert prune()["kept"] == {new: "is among the newest", old: "the service refused: it is being deployed"}

    def test_what_served_before_is_kept_although_newer_ones_were_never_deployed(self, service: Service) -> None:
        for _ in range(2):
            service.new_deployment()
        before, serving = service.versions()
        newest = [service.new_version() for _ in range(5)][-1]
        pruned = prune()
        assert set(service.versions()) == {before, serving, newest}
        assert pruned["kept"][before] == f"served on endpoint {service.endpoint_id} before"

    def test_what_is_deployed_while_it_runs_is_kept(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """The second of two is deployed when the first has been deleted."""
        first, second, newest = (service.new_version() for _ in range(3))
        send_once = CerebrasClient.send_once

        def deploy_after_deletion(self: CerebrasClient, call: Any) -> Any:
            answer = send_once(self, call)
            if call.method == "DELETE":
                service.api("POST", f"/endpoints/{service.endpoint_id}:deployModel", {"model": second})
            return answer

        monkeypatch.setattr(CerebrasClient, "send_once", deploy_after_deletion)
        assert prune()["deleted"] == [first]
        assert list(service.versions()) == [second, newest]
        assert len(service.requests("delete_model_version")) == 1

    def test_what_another_client_deletes_meanwhile_is_deleted_too(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old, _ = service.new_version(), service.new_version()
        send_once = CerebrasClient.send_once

        def delete_first(self: CerebrasClient, call: Any) -> Any:
            if call.method == "DELETE":
                service.api("DELETE", f"/{old}")
            return send_once(self, call)

        monkeypatch.setattr(CerebrasClient, "send_once", delete_first)
        assert prune()["deleted"] == [old]

    @pytest.mark.parametrize(
        ("changes", "words"),
        [({"keep_last": 0}, "keep_last: must be 1 or more"), ({"model_arch_id": "a b"}, "model_arch_id: ")],
    )
    def test_bad_arguments_are_refused_before_anything_is_sent(
        self, service: Service, changes: dict[str, Any], words: str
    ) -> None:
        with pytest.raises(ValueError, match=f"^{words}"):
            prune(**changes)
        assert service.requests() == []

    def test_a_text_is_no_list_of_patterns(self, service: Service) -> None:
        with pytest.raises(TypeError, match="keep_aliases: must be a list"):
            prune(keep_aliases="prod*")
        assert service.requests() == []

    def test_patterns_that_come_to_none_are_not_taken_for_no_patterns(self, service: Service) -> None:
        service.new_version("golden")
        service.new_version()
        operator = CerebrasPruneModelVersionsOperator(
            task_id="task", model_arch_id="gpt-oss-120b", keep_last=1, keep_aliases="{{ a result }}"
        )
        operator.keep_aliases = None  # as Airflow renders the result of a task that has left none
        with pytest.raises(InvalidArgument, match=r"^keep_aliases: .*came to None"):
            operator.execute(CONTEXT)
        assert len(service.versions()) == 2

    def test_a_mapped_task_that_is_given_no_patterns_is_refused(self, service: Service) -> None:
        service.new_version("golden")
        service.new_version()
        with DAG("dag", schedule=None):
            mapped = CerebrasPruneModelVersionsOperator.partial(
                task_id="task", model_arch_id="gpt-oss-120b", keep_last=1
            ).expand(keep_aliases=[None])
        operator: Any = mapped.unmap({"keep_aliases": None})
        context: Any = {"ti": TaskInstance(map_index=0)}
        with pytest.raises(InvalidArgument, match=r"^keep_aliases: .*came to None"):
            operator.execute(context)
        assert len(service.versions()) == 2


class TestRollBack:
    @pytest.mark.parametrize("argument", ["deployment_id", "to"])
    def test_none_of_a_mapped_task_is_not_taken_for_the_newest_deployment(
        self, service: Service, argument: str
    ) -> None:
        """What it is mapped over is known when the task is made, so that None cannot be seen to be a result."""
        for _ in range(2):
            service.new_deployment()
        with DAG("dag", schedule=None):
            mapped = CerebrasRollbackEndpointOperator.partial(
                task_id="task", endpoint_id=service.endpoint_id, deferrable=True
            ).expand(**{argument: [None]})
        operator: Any = mapped.unmap({argument: None})
        context: Any = {"ti": TaskInstance(map_index=0)}
        with pytest.raises(InvalidArgument, match=rf"^{argument}: .*came to None"):
            operator.execute(context)
        assert len(service.requests("deploy_model")) == 2

    def test_a_mapped_task_that_is_given_neither_rolls_the_newest_deployment_back(self, service: Service) -> None:
        for _ in range(2):
            service.new_deployment()
        with DAG("dag", schedule=None):
            mapped = CerebrasRollbackEndpointOperator.partial(task_id="task", deferrable=True).expand(
                endpoint_id=[service.endpoint_id]
            )
        operator: Any = mapped.unmap({"endpoint_id": service.endpoint_id})
        context: Any = {"ti": TaskInstance(map_index=0)}
        with pytest.raises(TaskDeferred):
            operator.execute(context)
        assert len(service.requests("deploy_model")) == 3

    @pytest.mark.parametrize("argument", ["deployment_id", "to"])
    def test_what_comes_to_none_is_not_taken_for_the_newest_deployment(self, service: Service, argument: str) -> None:
        """The task that was to deploy has failed, so there is no deployment to take back."""
        given: dict[str, Any] = {argument: "{{ a result }}"}
        operator = CerebrasRollbackEndpointOperator(task_id="task", endpoint_id=service.endpoint_id, **given)
        setattr(operator, argument, None)
        context: Any = {"ti": TaskInstance()}
        with pytest.raises(InvalidArgument, match=rf"^{argument}: .*came to None"):
            operator.execute(context)
        assert service.requests() == []

    @pytest.mark.parametrize("older", [False, True])
    def test_a_version_that_is_named_replaces_no_other_deployment_than_the_one_that_is_taken_back(
        self, service: Service, older: bool
    ) -> None:
        _, second, third = (service.new_deployment() for _ in range(3))
        first_version, *_ = service.versions()
        operator = CerebrasRollbackEndpointOperator(
            task_id="task",
            endpoint_id=service.endpoint_id,
            deployment_id=second if older else third,
            to=first_version,
            wait_for_completion=False,
        )
        context: Any = {"ti": TaskInstance()}
        if older:
            with pytest.raises(RollbackRefused, match=f"{second} is no longer the newest.*{third}"):
                operator.execute(context)
            assert len(service.deployments()) == 3
        else:
            operator.execute(context)
            assert [each.model_version for each in service.deployments()][3:] == [first_version]

    def test_a_retry_without_notes_goes_by_the_mark_which_comes_off_in_the_end(self, service: Service) -> None:
        """As below Airflow 3.3."""
        for _ in range(2):
            service.new_deployment()
        target, _ = service.versions()
        run = SimpleNamespace(clear_number=0, start_date=datetime.fromtimestamp(time.time() + service.ahead, UTC))
        operator = CerebrasRollbackEndpointOperator(
            task_id="task", endpoint_id=service.endpoint_id, deferrable=True, retries=1
        )
        first: Any = {"ti": TaskInstance(max_tries=1), "dag_run": run}
        with pytest.raises(TaskDeferred):
            operator.execute(first)
        (mark,) = service.versions()[target].aliases
        assert mark.startswith("airflow-")

        service.finish()
        operator.wait_for_completion = False
        retry: Any = {"ti": TaskInstance(max_tries=1, try_number=2), "dag_run": run}
        assert operator.execute(retry) == service.deployments()[-1].deployment_id
        assert len(service.deployments()) == 3
        assert service.versions()[target].aliases == []

    @pytest.mark.parametrize(
        ("status", "error"), [("failed", DeploymentFailed), ("lost", DeploymentLost)], ids=["failed", "lost"]
    )
    def test_the_mark_comes_off_when_the_rollback_has_not_succeeded(
        self, service: Service, status: str, error: type[Exception]
    ) -> None:
        for _ in range(2):
            service.new_deployment()
        target, _ = service.versions()
        operator = CerebrasRollbackEndpointOperator(task_id="task", endpoint_id=service.endpoint_id, deferrable=True)
        context: Any = {"ti": TaskInstance()}
        with pytest.raises(TaskDeferred):
            operator.execute(context)
        assert service.versions()[target].aliases
        ids = {"endpoint_id": service.endpoint_id, "deployment_id": service.deployments()[-1].deployment_id}
        with pytest.raises(error):
            operator.execute_complete(context, {"status": status, "message": "It ended.", **ids})
        assert service.versions()[target].aliases == []

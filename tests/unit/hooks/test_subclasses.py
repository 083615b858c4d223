"""A hook of the user's own: its way to the connection is taken on the worker and on the triggerer."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, TaskDeferred

from airflow_provider_cerebras.exceptions import ConnectionUnusable, InvalidArgument
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.hooks.subclasses import hook_path, load_hook_class
from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator
from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor
from airflow_provider_cerebras.triggers.endpoints import CerebrasDeploymentTrigger
from airflow_provider_cerebras.triggers.model_versions import CerebrasModelVersionTrigger
from tests.task_instance import TaskInstance
from tests.unit.hooks.own_hooks import READ_IN, FromVault, FromVaultAsync

if TYPE_CHECKING:
    from tests.unit.conftest import Service

CONTEXT: Any = {"ti": TaskInstance()}
PATH = "tests.unit.hooks.own_hooks:FromVault"


@pytest.fixture
def vault(service: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    """The emulator, whose connection only the user's own hook finds."""
    monkeypatch.setenv("AIRFLOW_CONN_IN_THE_VAULT", service.connection())
    monkeypatch.delenv("AIRFLOW_CONN_CEREBRAS_DEFAULT")
    READ_IN.clear()
    return service


class TestReading:
    def test_get_connection_is_taken_in_a_thread(self, vault: Service) -> None:
        async def ask() -> None:
            await (await FromVault().get_async_conn()).aclose()

        asyncio.run(ask())
        assert READ_IN
        assert threading.main_thread().name not in READ_IN

    def test_aget_connection_is_taken_where_it_is_nearer(self, vault: Service) -> None:
        async def ask() -> None:
            await (await FromVaultAsync().get_async_conn()).aclose()

        asyncio.run(ask())
        assert READ_IN == ["event loop"]

    def test_a_connection_that_only_a_thread_finds_is_found(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail(conn_id: str) -> Any:
            raise AirflowNotFoundException(f"The conn_id `{conn_id}` isn't defined")

        # As Airflow 3.3.2 answers in `airflow dags test` for one in its database.
        monkeypatch.setattr(BaseHook, "aget_connection", fail, raising=False)

        async def ask() -> None:
            await (await CerebrasHook().get_async_conn()).aclose()

        asyncio.run(ask())

    def test_undefined_is_said_only_when_it_is_known(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(conn_id: str) -> Any:
            raise OSError("the secrets backend is down")

        monkeypatch.setattr(CerebrasHook, "get_connection", staticmethod(fail))
        with pytest.raises(OSError, match="backend is down"):
            asyncio.run(CerebrasHook(cerebras_conn_id="nowhere").get_async_conn())


class TestCopies:
    @pytest.mark.parametrize("used", [True, False])
    def test_a_hook_can_be_pickled_and_copied_after_use(self, service: Service, used: bool) -> None:
        hook = CerebrasHook(org_name="my-org")
        if used:
            assert hook.list_model_architectures()
        for made in (pickle.loads(pickle.dumps(hook)), copy.deepcopy(hook), copy.copy(hook)):
            assert made.list_model_architectures() == ["gpt-oss-120b", "llama3.1-8b"]
        assert service.settings.management_key.encode() not in pickle.dumps(hook)

    def test_an_operator_whose_hook_was_used_can_be_copied(self, service: Service) -> None:
        operator = CerebrasModelVersionSensor(task_id="wait", model_version=service.new_version())
        assert operator.hook.list_model_architectures()
        assert copy.deepcopy(operator).hook.list_model_architectures()

    def test_a_hook_that_was_touched_when_the_dag_was_parsed_is_made_anew(self, service: Service) -> None:
        operator = CerebrasModelVersionSensor(
            task_id="wait", model_version=service.new_version(), cerebras_conn_id="{{ conn }}"
        )
        early, with_connection = operator.hook, cast("Any", {"conn": "cerebras_default"})
        operator.render_template_fields(with_connection)
        operator.pre_execute({"ti": TaskInstance()})
        assert operator.hook is not early
        assert operator.hook.list_model_architectures()

    def test_a_hook_that_was_put_in_its_place_stays(self, service: Service) -> None:
        operator = CerebrasModelVersionSensor(task_id="wait", model_version=service.new_version())
        operator.hook = own = CerebrasHook(cerebras_conn_id="mine")
        operator.pre_execute({"ti": TaskInstance()})
        assert operator.hook is own


class TestPath:
    def test_it_leads_to_the_class(self) -> None:
        assert hook_path(FromVault) == PATH
        assert load_hook_class(PATH) is FromVault

    def test_the_hook_itself_has_none(self) -> None:
        assert hook_path(CerebrasHook) is None
        assert load_hook_class(None) is CerebrasHook

    def test_what_a_triggerer_cannot_import_is_refused(self) -> None:
        class Local(CerebrasHook):
            pass

        in_a_dag = type("InADag", (CerebrasHook,), {"__module__": "unusual_prefix_1_my_dag"})
        for hook_class in (Local, in_a_dag):
            with pytest.raises(InvalidArgument, match=r"^hook_class: .* cannot be imported by the triggerer"):
                hook_path(hook_class)

    @pytest.mark.parametrize("name", ["NotAHook", "NotAHook.part", "Missing"])
    def test_another_one_is_refused(self, name: str) -> None:
        with pytest.raises((TypeError, ImportError)):
            load_hook_class(f"tests.unit.hooks.own_hooks:{name}")


class TestOperators:
    def arguments(self, service: Service, **more: Any) -> dict[str, Any]:
        return {"task_id": "wait", "model_version": service.new_version(done=False), "deferrable": True, **more}

    def defer(self, operator: Any) -> dict[str, Any]:
        with pytest.raises(TaskDeferred) as deferred:
            operator.execute(CONTEXT)
        return dict(json.loads(json.dumps(deferred.value.trigger.serialize()[1])))

    def test_the_trigger_follows_the_class_attribute_and_the_argument(self, vault: Service) -> None:
        class Sensor(CerebrasModelVersionSensor):
            hook_class = FromVault

        assert self.defer(Sensor(**self.arguments(vault)))["hook_class"] == PATH
        by_argument = CerebrasModelVersionSensor(**self.arguments(vault, hook_class=FromVault))
        assert self.defer(by_argument)["hook_class"] == PATH

    def test_the_trigger_s_arguments_are_as_before_without_one(self, service: Service) -> None:
        kwargs = self.defer(CerebrasModelVersionSensor(**self.arguments(service)))
        assert "hook_class" not in kwargs

    def test_what_cannot_be_imported_is_refused_before_anything_is_sent(self, vault: Service) -> None:
        class Local(CerebrasHook):
            pass

        operator = CerebrasUploadModelVersionOperator(
            task_id="upload",
            model_arch_id=vault.arch,
            weight_uri="s3://my-bucket/weights",
            wait_for_completion=True,
            deferrable=True,
            hook_class=Local,
        )
        with pytest.raises(InvalidArgument, match=r"^hook_class: "):
            operator.execute(CONTEXT)
        assert vault.requests() == []

    def test_a_trigger_reads_the_connection_by_it(self, vault: Service) -> None:
        version = vault.new_version()
        trigger = CerebrasModelVersionTrigger(
            cerebras_conn_id="cerebras_default", model_version=version, poll_interval=0.01, hook_class=PATH
        )

        async def run() -> list[Any]:
            return [event.payload async for event in trigger.run()]

        assert [payload["status"] for payload in asyncio.run(run())] == ["succeeded"]

    def test_a_trigger_that_does_not_find_it_says_so_in_its_event(self) -> None:
        trigger = CerebrasDeploymentTrigger(
            cerebras_conn_id="x", endpoint_id="e", deployment_id="d", poll_interval=1, hook_class="missing_module:Hook"
        )

        async def run() -> list[Any]:
            return [event.payload async for event in trigger.run()]

        (payload,) = asyncio.run(run())
        assert payload["status"] == "unreachable"
        assert "missing_module" in payload["message"]


def test_a_connection_that_is_undefined_is_not_asked_for_again() -> None:
    with pytest.raises(ConnectionUnusable, match=r"^Connection 'nowhere': is not defined on host \S+\. Define it"):
        CerebrasHook(cerebras_conn_id="nowhere").get_conn()

"""The triggers, run as a triggerer runs them, against the emulator over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import json
import platform
import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.hooks.connection import fingerprint
from airflow_provider_cerebras.triggers.endpoints import CerebrasDeploymentTrigger
from airflow_provider_cerebras.triggers.model_versions import CerebrasModelVersionTrigger

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cerebras.triggers._base import WaitTrigger
    from tests.unit.conftest import Service

V1 = "orgs/my-org/models/gpt-oss-120b/versions/1"
ENDPOINT, DEPLOYMENT = "my-org-gpt-oss-120b", "550e8400-e29b-41d4-a716-446655440000"


def version_trigger(model_version: str = V1, **kwargs: Any) -> CerebrasModelVersionTrigger:
    defaults = {"cerebras_conn_id": "cerebras_default", "poll_interval": 0.01, "deadline": time.time() + 600}
    return CerebrasModelVersionTrigger(model_version=model_version, **{**defaults, **kwargs})


def deployment_trigger(deployment_id: str = DEPLOYMENT, **kwargs: Any) -> CerebrasDeploymentTrigger:
    defaults = {
        "cerebras_conn_id": "cerebras_default",
        "endpoint_id": ENDPOINT,
        "poll_interval": 0.01,
        "deadline": time.time() + 600,
    }
    return CerebrasDeploymentTrigger(deployment_id=deployment_id, **{**defaults, **kwargs})


def load(path: str) -> Callable[..., WaitTrigger]:
    module, _, name = path.rpartition(".")
    found: Callable[..., WaitTrigger] = getattr(importlib.import_module(module), name)
    return found


def as_stored(trigger: WaitTrigger) -> WaitTrigger:
    """What a triggerer makes of a trigger: it is rebuilt from what was stored as JSON."""
    path, kwargs = json.loads(json.dumps(trigger.serialize()))
    return load(path)(**kwargs)


def run(trigger: WaitTrigger) -> dict[str, Any]:
    """Run a trigger to its end, and return the payload of its only event."""

    async def collect() -> list[Any]:
        return [event.payload async for event in as_stored(trigger).run()]

    (payload,) = asyncio.run(collect())
    assert json.loads(json.dumps(payload)) == payload
    return dict(payload)


# Triggers that an older version stored must still be accepted: nothing here may be renamed, nor more be asked for.
DOCUMENTED: list[tuple[str, dict[str, Any]]] = [
    (
        "airflow_provider_cerebras.triggers.model_versions.CerebrasModelVersionTrigger",
        {"cerebras_conn_id": "my_conn", "model_version": V1, "poll_interval": 30, "deadline": 1736700000.5},
    ),
    (
        "airflow_provider_cerebras.triggers.endpoints.CerebrasDeploymentTrigger",
        {
            "cerebras_conn_id": "my_conn",
            "endpoint_id": ENDPOINT,
            "deployment_id": DEPLOYMENT,
            "poll_interval": 15,
            "deadline": 1736700000.5,
        },
    ),
]


class TestWhatIsStored:
    @pytest.mark.parametrize(("path", "kwargs"), DOCUMENTED, ids=["model version", "deployment"])
    def test_class_path_and_arguments_are_those_documented(self, path: str, kwargs: dict[str, Any]) -> None:
        stored_path, stored = load(path)(**kwargs).serialize()
        assert stored_path == path
        assert {name: stored[name] for name in kwargs} == kwargs

    @pytest.mark.parametrize("make", [version_trigger, deployment_trigger])
    def test_a_trigger_is_rebuilt_from_plain_json(self, make: Callable[..., WaitTrigger]) -> None:
        trigger = make()
        assert as_stored(trigger).serialize() == trigger.serialize()

    @pytest.mark.parametrize("path", [path for path, _ in DOCUMENTED])
    def test_every_argument_is_stored(self, path: str) -> None:
        trigger = load(path)
        arguments = {name: f"<{name}>" for name in inspect.signature(trigger).parameters}
        assert trigger(**arguments).serialize()[1] == arguments

    @pytest.mark.parametrize(("path", "kwargs"), DOCUMENTED, ids=["model version", "deployment"])
    def test_a_deadline_may_be_absent(self, path: str, kwargs: dict[str, Any]) -> None:
        without = {name: value for name, value in kwargs.items() if name != "deadline"}
        assert load(path)(**without).deadline is None

    @pytest.mark.parametrize("make", [version_trigger, deployment_trigger])
    def test_no_secret_is_in_it_before_or_after_it_ran(
        self, service: Service, make: Callable[..., WaitTrigger]
    ) -> None:
        trigger = make(deadline=time.time() - 1)

        async def consume() -> None:
            async for _ in trigger.run():
                pass

        for _ in range(2):
            for text in (repr(trigger.serialize()), repr(trigger), str(trigger), repr(vars(trigger))):
                assert service.settings.management_key not in text
                assert service.settings.inference_key not in text
            asyncio.run(consume())


class TestModelVersion:
    def test_succeeded(self, service: Service) -> None:
        name = service.new_version()
        event = run(version_trigger(name))
        assert (event["status"], event["model_version"]) == ("succeeded", name)

    def test_an_alias_becomes_the_number(self, service: Service) -> None:
        name = service.new_version("production")
        assert run(version_trigger(service.version_name("production")))["model_version"] == name

    def test_failed_with_the_server_s_words(self, service: Service) -> None:
        event = run(version_trigger(service.new_version(fail="AccessDenied on s3://my-bucket")))
        assert event["status"] == "failed"
        assert "AccessDenied on s3://my-bucket" in event["message"]

    def test_timeout_where_the_deadline_has_passed(self, service: Service) -> None:
        event = run(version_trigger(service.new_version(done=False), deadline=time.time() - 1))
        assert event["status"] == "timeout"
        assert len(service.requests("get_model_version")) == 1

    def test_a_deadline_that_has_passed_still_allows_one_look(self, service: Service) -> None:
        assert run(version_trigger(service.new_version(), deadline=1.0))["status"] == "succeeded"

    def test_trouble_on_the_way_does_not_show(self, service: Service) -> None:
        """Issue 67219 of Airflow: a passing 5xx in the trigger failed the task."""
        name = service.new_version()
        for fault in ({"status": 503}, {"drop": True}, {"truncate": True}, {"text": "<h1>?"}, {"status": 404}):
            service.add_fault("get_model_version", **fault)
        assert run(version_trigger(name))["status"] == "succeeded"
        assert len(service.requests("get_model_version")) == 6


class TestDeployment:
    def test_succeeded(self, service: Service) -> None:
        deployment = service.new_deployment()
        event = run(deployment_trigger(deployment))
        assert event["status"] == "succeeded"
        assert (event["endpoint_id"], event["deployment_id"]) == (ENDPOINT, deployment)

    def test_failed_with_the_server_s_words(self, service: Service) -> None:
        event = run(deployment_trigger(service.new_deployment(fail="no capacity")))
        assert event["status"] == "failed"
        assert "state 'failed'" in event["message"]

    def test_timeout_where_the_deadline_has_passed(self, service: Service) -> None:
        event = run(deployment_trigger(service.new_deployment(done=False), deadline=time.time() - 1))
        assert event["status"] == "timeout"
        assert "never listed" not in event["message"]

    def test_a_timeout_of_one_that_was_never_listed_says_so(self, service: Service) -> None:
        event = run(deployment_trigger(deadline=time.time() - 1))
        assert event["status"] == "timeout"
        assert "never listed" in event["message"]

    def test_lost_where_it_was_listed_and_is_gone(self, service: Service) -> None:
        deployment = service.new_deployment(done=False)
        service.add_fault("get_endpoint", skip=1, times=3, body={"name": ENDPOINT, "deployed_models": []})
        assert run(deployment_trigger(deployment))["status"] == "lost"
        assert len(service.requests("get_endpoint")) == 4


@pytest.mark.parametrize("make", [version_trigger, deployment_trigger])
class TestBoth:
    @pytest.mark.parametrize("status", [400, 401, 403, 422])
    def test_unreachable_where_asking_again_cannot_help(
        self, service: Service, make: Callable[..., WaitTrigger], status: int, no_span: None
    ) -> None:
        service.add_fault("*", status=status, body={"detail": "the server's words"}, times=None)
        event = run(make())
        assert event["status"] == "unreachable"
        assert "the server's words" in event["message"]
        assert len(service.requests()) == 3

    @pytest.mark.parametrize("status", [401, 403, 404])
    def test_one_html_page_of_a_gateway_is_no_verdict(
        self, service: Service, make: Callable[..., WaitTrigger], status: int, no_span: None
    ) -> None:
        begun = service.new_version() if make is version_trigger else service.new_deployment()
        page = {"status": status, "text": "<h1>Attention Required!", "content_type": "text/html"}
        service.add_fault("*", times=5, **page)
        assert run(make(begun))["status"] == "succeeded"

    def test_a_connection_that_is_not_found_may_be_a_secrets_backend_that_fails(
        self, make: Callable[..., WaitTrigger]
    ) -> None:
        event = run(make(cerebras_conn_id="nowhere", deadline=time.time() - 1))
        assert event["status"] == "timeout"
        assert "'nowhere'" in event["message"]
        assert "or the secrets backend that holds it does not respond" in event["message"]

    def test_unreachable_where_the_connection_cannot_be_used(
        self, service: Service, make: Callable[..., WaitTrigger], monkeypatch: pytest.MonkeyPatch, no_span: None
    ) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", service.connection(password=""))
        event = run(make())
        assert event["status"] == "unreachable"
        assert "field password" in event["message"]
        assert service.requests() == []

    def test_unreachable_where_the_connection_leads_to_another_service_than_the_worker_s(
        self, service: Service, make: Callable[..., WaitTrigger], no_span: None
    ) -> None:
        begun = service.new_version() if make is version_trigger else service.new_deployment()
        here = CerebrasHook().service_fingerprint()
        assert run(make(begun, service=here))["status"] == "succeeded"
        sent = len(service.requests())
        event = run(make(begun, service=fingerprint("https://api.cerebras.ai")))
        assert event["status"] == "unreachable"
        assert f"leads the triggerer on host {platform.node()} to {service.base_url}" in event["message"]
        assert len(service.requests()) == sent

    def test_timeout_where_nobody_answers(
        self, service: Service, make: Callable[..., WaitTrigger], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Issue 70398 of Airflow: a local error was reported as the failure of the job."""
        monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", service.connection(host="http://127.0.0.1:1"))
        event = run(make(deadline=time.time() - 1))
        assert event["status"] == "timeout"
        assert "ConnectError" in event["message"]

    def test_only_looks_are_sent(self, service: Service, make: Callable[..., WaitTrigger]) -> None:
        begun = service.new_version() if make is version_trigger else service.new_deployment()
        sent_before = len(service.requests())
        service.add_fault("*", status=503, times=3)
        run(make(begun))
        sent = service.sent_since(sent_before)
        assert len(sent) == 4
        assert {method for method, _ in sent} == {"GET"}

    def test_no_secret_is_in_the_event_although_the_service_repeats_it(
        self, service: Service, make: Callable[..., WaitTrigger], no_span: None
    ) -> None:
        service.add_fault("*", times=None, status=403, body={"detail": f"Who is {service.settings.management_key}?"})
        event = run(make())
        assert "Who is ***?" in event["message"]
        assert service.settings.management_key not in repr(event)

    def test_the_connection_is_read_without_blocking_the_event_loop(
        self, service: Service, make: Callable[..., WaitTrigger], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Issue 53447 of Airflow: triggers that read connections synchronously fail."""
        from airflow.providers.common.compat.sdk import BaseHook

        read = BaseHook.get_connection
        on_the_loop = []

        def watched(conn_id: str) -> Any:
            with contextlib.suppress(RuntimeError):  # there is no loop in a worker thread
                asyncio.get_running_loop()
                on_the_loop.append(conn_id)
            return read(conn_id)

        monkeypatch.setattr(BaseHook, "get_connection", staticmethod(watched))
        run(make(deadline=time.time() - 1))
        assert on_the_loop == []
        assert len(service.requests()) == 1

    def test_two_runs_at_once_disturb_nothing(self, service: Service, make: Callable[..., WaitTrigger]) -> None:
        begun = service.new_version() if make is version_trigger else service.new_deployment()

        async def both() -> list[str]:
            async def status() -> str:
                return str([event.payload["status"] async for event in make(begun).run()])

            return list(await asyncio.gather(status(), status()))

        assert asyncio.run(both()) == ["['succeeded']"] * 2

    def test_a_trigger_that_is_cancelled_sends_no_event_and_nothing_but_looks(
        self, service: Service, make: Callable[..., WaitTrigger]
    ) -> None:
        """A triggerer that restarts cancels its triggers; the work at the service goes on."""
        begun = service.new_version(done=False) if make is version_trigger else service.new_deployment(done=False)
        sent_before, events = len(service.requests()), []
        hold = service.add_fault("*", hold=True)

        async def cancelled() -> None:
            async def consume() -> None:
                events.extend([event async for event in make(begun).run()])

            task = asyncio.create_task(consume())
            await asyncio.to_thread(service.requests, stage="held", wait=60)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(cancelled())
        service.end_fault(hold)
        assert events == []
        assert {method for method, _ in service.sent_since(sent_before)} == {"GET"}

    @pytest.mark.parametrize(("ahead", "seconds"), [(100, 700), (-100, 600)])
    def test_airflow_s_own_time_out_is_a_backstop_ten_minutes_past_the_deadline(
        self, make: Callable[..., WaitTrigger], monkeypatch: pytest.MonkeyPatch, ahead: float, seconds: float
    ) -> None:
        monkeypatch.setattr(time, "time", lambda: 1_736_700_000.0)
        backstop = make(deadline=1_736_700_000.0 + ahead).backstop
        assert backstop is not None
        assert backstop.total_seconds() == seconds

    def test_without_a_deadline_there_is_no_backstop(self, make: Callable[..., WaitTrigger]) -> None:
        assert make(deadline=None).backstop is None


@pytest.mark.parametrize(
    "trigger",
    [version_trigger("versions/1"), deployment_trigger(""), deployment_trigger("", cause="a rollback")],
    ids=["version", "deployment", "rollback"],
)
def test_what_cannot_be_waited_for_is_an_event_and_no_exception(trigger: WaitTrigger) -> None:
    """A trigger that raises makes the worker run the operator from its beginning."""
    event = run(trigger)
    assert event["status"] == "unreachable"
    assert (
        event.items()
        >= {
            name: value
            for name, value in trigger.serialize()[1].items()
            if name in {"model_version", "endpoint_id", "deployment_id", "cause"} and value is not None
        }.items()
    )

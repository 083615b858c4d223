"""The sensors: the same in poke and in deferrable mode, whatever Airflow itself would do in each."""

from __future__ import annotations

import asyncio
import importlib
from contextlib import suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
    conf,
)

from airflow_provider_cerebras.exceptions import (
    DeploymentFailed,
    DeploymentLost,
    ModelVersionFailed,
    ModelVersionLost,
    RequestRefused,
    UnexpectedTriggerEvent,
)
from airflow_provider_cerebras.sensors.endpoints import CerebrasDeploymentSensor
from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor
from tests.task_instance import TaskInstance

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cerebras.sensors._base import WaitSensor
    from tests.unit.conftest import Service

    # Makes a sensor for what it has brought about at the service.
    Situation = Callable[..., WaitSensor]

ENDPOINT, DEPLOYMENT = "my-org-gpt-oss-120b", "550e8400-e29b-41d4-a716-446655440000"
CONTEXT: Any = {"ti": TaskInstance()}


def version_sensor(model_version: str, **kwargs: Any) -> CerebrasModelVersionSensor:
    return CerebrasModelVersionSensor(
        task_id="wait", model_version=model_version, **{"poke_interval": 0.01, "timeout": 600, **kwargs}
    )


def deployment_sensor(deployment_id: str, **kwargs: Any) -> CerebrasDeploymentSensor:
    return CerebrasDeploymentSensor(
        task_id="wait",
        endpoint_id=ENDPOINT,
        deployment_id=deployment_id,
        **{"poke_interval": 0.01, "timeout": 600, **kwargs},
    )


def run(sensor: WaitSensor) -> Any:
    """Run a sensor to its end, on a triggerer where it defers to one."""
    try:
        return sensor.execute(CONTEXT)
    except TaskDeferred as deferral:
        path, kwargs = deferral.trigger.serialize()
        module, _, name = path.rpartition(".")
        trigger = getattr(importlib.import_module(module), name)(**kwargs)

        async def event() -> Any:
            return [event.payload async for event in trigger.run()]

        (payload,) = asyncio.run(event())
        return getattr(sensor, deferral.method_name)(CONTEXT, event=payload)


def version_failed(service: Service, **kwargs: Any) -> WaitSensor:
    return version_sensor(service.new_version(fail="AccessDenied"), **kwargs)


def version_failed_later(service: Service, **kwargs: Any) -> WaitSensor:
    name = service.new_version(fail="AccessDenied")
    service.add_fault("get_model_version", status=503)
    return version_sensor(name, **kwargs)


def version_unreachable(service: Service, **kwargs: Any) -> WaitSensor:
    service.add_fault("get_model_version", status=403, body={"detail": "no"}, times=None)
    return version_sensor(service.new_version(), **kwargs)


def version_unreachable_later(service: Service, **kwargs: Any) -> WaitSensor:
    name = service.new_version(done=False)
    service.add_fault("get_model_version", skip=1, status=401, body={"detail": "no"}, times=None)
    return version_sensor(name, **kwargs)


def version_timeout(service: Service, **kwargs: Any) -> WaitSensor:
    return version_sensor(service.new_version(done=False), **{**kwargs, "timeout": 0})


def deployment_failed(service: Service, **kwargs: Any) -> WaitSensor:
    return deployment_sensor(service.new_deployment(fail="no capacity"), **kwargs)


def deployment_lost(service: Service, **kwargs: Any) -> WaitSensor:
    """Listed at the first look, or at the first two: the sensor's own and the trigger's; then gone for good."""
    deployment = service.new_deployment(done=False)
    listed = 2 if kwargs["deferrable"] else 1
    service.add_fault("get_endpoint", skip=listed, times=None, body={"name": ENDPOINT, "deployed_models": []})
    return deployment_sensor(deployment, **kwargs)


def deployment_unreachable(service: Service, **kwargs: Any) -> WaitSensor:
    service.add_fault("get_endpoint", status=404, body={"detail": "no"}, times=None)
    return deployment_sensor(DEPLOYMENT, **kwargs)


def deployment_timeout(service: Service, **kwargs: Any) -> WaitSensor:
    return deployment_sensor(service.new_deployment(done=False), **{**kwargs, "timeout": 0})


FAILURES = [
    pytest.param(version_failed, ModelVersionFailed, id="version failed"),
    pytest.param(version_failed_later, ModelVersionFailed, id="version failed later"),
    pytest.param(version_unreachable, RequestRefused, id="version unreachable"),
    pytest.param(version_unreachable_later, RequestRefused, id="version unreachable later"),
    pytest.param(deployment_failed, DeploymentFailed, id="deployment failed"),
    pytest.param(deployment_lost, DeploymentLost, id="deployment lost"),
    pytest.param(deployment_unreachable, RequestRefused, id="deployment unreachable"),
]
TIMEOUTS = [
    pytest.param(version_timeout, AirflowSensorTimeout, id="version timeout"),
    pytest.param(deployment_timeout, AirflowSensorTimeout, id="deployment timeout"),
]
either_mode = pytest.mark.parametrize("deferrable", [False, True], ids=["poke", "deferrable"])


@pytest.mark.parametrize("situation", [version_timeout, deployment_timeout])
def test_a_time_out_says_how_to_wait_on(service: Service, situation: Situation) -> None:
    """Where Airflow does not count it itself."""
    with pytest.raises(AirflowSensorTimeout, match=r"clear this task to wait on\. If it needs longer, raise timeout"):
        run(situation(service, deferrable=True))


@pytest.mark.usefixtures("no_span")
@either_mode
class TestBothModes:
    def test_a_version_s_name_comes_back_with_its_number(self, service: Service, deferrable: bool) -> None:
        name = service.new_version("production")
        assert run(version_sensor(service.version_name("production"), deferrable=deferrable)) == name

    def test_a_deployment_s_id_comes_back(self, service: Service, deferrable: bool) -> None:
        deployment = service.new_deployment()
        assert run(deployment_sensor(deployment, deferrable=deferrable)) == deployment

    @pytest.mark.parametrize(("situation", "error"), [*FAILURES, *TIMEOUTS])
    def test_each_end_has_its_error(
        self, service: Service, deferrable: bool, situation: Situation, error: type[Exception]
    ) -> None:
        with pytest.raises(error) as caught:
            run(situation(service, deferrable=deferrable))
        assert type(caught.value) is error

    @pytest.mark.parametrize(("situation", "error"), [*FAILURES, *TIMEOUTS])
    def test_with_soft_fail_each_end_but_success_skips(
        self, service: Service, deferrable: bool, situation: Situation, error: type[Exception]
    ) -> None:
        """Issue 71255 of Airflow: soft_fail differed between poke and deferral."""
        with pytest.raises(AirflowSkipException):
            run(situation(service, deferrable=deferrable, soft_fail=True))

    @pytest.mark.parametrize(("situation", "error"), FAILURES)
    def test_with_never_fail_each_failure_skips(
        self, service: Service, deferrable: bool, situation: Situation, error: type[Exception]
    ) -> None:
        with pytest.raises(AirflowSkipException):
            run(situation(service, deferrable=deferrable, never_fail=True))

    @pytest.mark.parametrize(("situation", "error"), TIMEOUTS)
    def test_never_fail_is_not_about_being_late(
        self, service: Service, deferrable: bool, situation: Situation, error: type[Exception]
    ) -> None:
        with pytest.raises(AirflowSensorTimeout):
            run(situation(service, deferrable=deferrable, never_fail=True))

    @pytest.mark.parametrize("options", [{"soft_fail": True}, {"never_fail": True}])
    def test_success_is_success_all_the_same(
        self, service: Service, deferrable: bool, options: dict[str, bool]
    ) -> None:
        name = service.new_version()
        assert run(version_sensor(name, deferrable=deferrable, **options)) == name

    @pytest.mark.parametrize(
        "fault",
        [{"status": 503}, {"status": 429}, {"drop": True}, {"truncate": True}, {"text": "<h1>?"}],
        ids=["503", "429", "dropped", "cut off", "HTML"],
    )
    def test_trouble_that_passes_does_not_show(self, service: Service, deferrable: bool, fault: dict[str, Any]) -> None:
        """Issue 67219 of Airflow: a passing 5xx failed the task."""
        name = service.new_version()
        service.add_fault("get_model_version", times=3, **fault)
        assert run(version_sensor(name, deferrable=deferrable)) == name

    def test_nothing_but_looks_is_sent(self, service: Service, deferrable: bool) -> None:
        deployment = service.new_deployment()
        sent_before = len(service.requests())
        service.add_fault("get_endpoint", status=503, times=2)
        run(deployment_sensor(deployment, deferrable=deferrable))
        sent = service.sent_since(sent_before)
        assert len(sent) == 3
        assert {method for method, _ in sent} == {"GET"}

    @pytest.mark.parametrize("model_version", ["", "1", "production", "orgs/../models/m/versions/1"])
    def test_a_name_that_is_none_is_refused_before_any_request(
        self, service: Service, deferrable: bool, model_version: str
    ) -> None:
        with pytest.raises(ValueError, match=r"^model_version: "):
            run(version_sensor(model_version, deferrable=deferrable))
        assert service.requests() == []

    @pytest.mark.parametrize(
        ("ids", "argument"),
        [
            ({"endpoint_id": ""}, "endpoint_id"),
            ({"endpoint_id": ".."}, "endpoint_id"),
            ({"deployment_id": ""}, "deployment_id"),
        ],
    )
    def test_an_id_that_is_none_is_refused_before_any_request(
        self, service: Service, deferrable: bool, ids: dict[str, str], argument: str
    ) -> None:
        given = {"endpoint_id": ENDPOINT, "deployment_id": DEPLOYMENT, **ids}
        with pytest.raises(ValueError, match=rf"^{argument}: "):
            run(CerebrasDeploymentSensor(task_id="wait", deferrable=deferrable, **given))
        assert service.requests() == []


class TestDeferring:
    @pytest.mark.parametrize("make", [version_sensor, deployment_sensor])
    def test_what_has_ended_already_is_not_deferred(self, service: Service, make: Callable[..., WaitSensor]) -> None:
        begun = service.new_version() if make is version_sensor else service.new_deployment()
        assert make(begun, deferrable=True).execute(CONTEXT) == begun

    @pytest.mark.parametrize("make", [version_sensor, deployment_sensor])
    def test_what_is_under_way_is_deferred_after_one_look(
        self, service: Service, make: Callable[..., WaitSensor]
    ) -> None:
        begun = service.new_version(done=False) if make is version_sensor else service.new_deployment(done=False)
        sent_before = len(service.requests())
        with pytest.raises(TaskDeferred) as deferral:
            make(begun, deferrable=True, poke_interval=45, timeout=600).execute(CONTEXT)
        assert len(service.sent_since(sent_before)) == 1
        assert deferral.value.method_name == "execute_complete"
        kwargs = deferral.value.trigger.serialize()[1]
        assert kwargs["poll_interval"] == 45
        assert deferral.value.timeout is not None
        assert deferral.value.timeout.total_seconds() > 600

    def test_an_alias_is_deferred_by_its_number(self, service: Service) -> None:
        name = service.new_version("production", done=False)
        with pytest.raises(TaskDeferred) as deferral:
            version_sensor(service.version_name("production"), deferrable=True).execute(CONTEXT)
        assert deferral.value.trigger.serialize()[1]["model_version"] == name

    @pytest.mark.parametrize("make", [version_sensor, deployment_sensor])
    def test_the_result_is_there_before_the_wait_for_a_user_may_mark_it_as_success(
        self, service: Service, make: Callable[..., WaitSensor]
    ) -> None:
        begun = service.new_version(done=False) if make is version_sensor else service.new_deployment(done=False)
        ti = TaskInstance()
        context: Any = {"ti": ti}
        with pytest.raises(TaskDeferred):
            make(begun, deferrable=True).execute(context)
        assert ti.xcoms == {"return_value": begun}

    def test_nothing_secret_is_deferred(self, service: Service) -> None:
        with pytest.raises(TaskDeferred) as deferral:
            version_sensor(service.new_version(done=False), deferrable=True).execute(CONTEXT)
        stored = repr((deferral.value.trigger.serialize(), deferral.value.kwargs))
        assert service.settings.management_key not in stored
        assert service.settings.inference_key not in stored

    @pytest.mark.parametrize("default", ["True", "False"])
    def test_airflow_s_default_for_deferrable_is_honoured(self, monkeypatch: pytest.MonkeyPatch, default: str) -> None:
        monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", default)
        assert conf.getboolean("operators", "default_deferrable") is (default == "True")
        assert version_sensor("v").deferrable is (default == "True")
        assert version_sensor("v", deferrable=default == "False").deferrable is (default == "False")

    @pytest.mark.parametrize(
        "event",
        [
            None,
            {},
            "succeeded",
            {"status": "succeeded"},
            {"status": "succeeded", "message": "m"},
            {"status": "done", "message": "m", "model_version": "v", "endpoint_id": "e", "deployment_id": "d"},
            {"status": None, "message": "m", "model_version": "v", "endpoint_id": "e", "deployment_id": "d"},
        ],
    )
    @pytest.mark.parametrize("make", [version_sensor, deployment_sensor])
    def test_an_event_that_is_not_as_agreed_is_an_error_of_its_own(
        self, make: Callable[..., WaitSensor], event: object
    ) -> None:
        with pytest.raises(UnexpectedTriggerEvent, match="same version of airflow-provider-cerebras"):
            make("x").execute_complete(CONTEXT, event=event)

    def test_a_version_that_is_gone_is_lost(self) -> None:
        event = {"status": "lost", "message": "was it deleted?", "model_version": "v"}
        with pytest.raises(ModelVersionLost, match="was it deleted"):
            version_sensor("v").execute_complete(CONTEXT, event=event)
        with pytest.raises(AirflowSkipException, match="was it deleted"):
            version_sensor("v", soft_fail=True).execute_complete(CONTEXT, event=event)


class TestRetry:
    """A retry knows of the earlier attempt that the endpoint has listed the deployment (Airflow 3.3 and later)."""

    @pytest.mark.parametrize("mode", ["deferrable", "poke", "reschedule"])
    def test_a_deployment_that_was_listed_is_lost_when_it_is_gone(self, service: Service, mode: str) -> None:
        notes: dict[str, Any] = {}
        store = SimpleNamespace(get=notes.get, set=notes.__setitem__)
        deployment = service.new_deployment(done=False)
        first = self.sensor(deployment, mode)
        with suppress(TaskDeferred):
            first.execute(self.context(1, store)) if mode == "deferrable" else first.poke(self.context(1, store))
        service.add_fault("get_endpoint", times=None, body={"name": ENDPOINT, "deployed_models": []})
        retry, context = self.sensor(deployment, mode), self.context(2, store)
        if mode == "deferrable":
            with pytest.raises(TaskDeferred) as deferral:
                retry.execute(context)
            assert deferral.value.trigger.serialize()[1]["seen"] is True
            return
        assert [retry.poke(context), retry.poke(context)] == [False, False]
        with pytest.raises(DeploymentLost):
            retry.poke(context)

    @pytest.mark.parametrize("keeps", [True, False])
    def test_that_refusals_end_the_wait_is_said_only_where_a_poke_knows_of_those_before_it(
        self, service: Service, keeps: bool
    ) -> None:
        notes: dict[str, Any] = {}
        store = SimpleNamespace(get=notes.get, set=notes.__setitem__) if keeps else None
        deployment = service.new_deployment(done=False)
        service.add_fault("get_endpoint", times=None, status=401, body={"detail": "wrong key"})
        context = self.context(1, store)
        context["ti"].start_date = datetime(2020, 1, 1, tzinfo=UTC)
        context["ti"].get_first_reschedule_date = lambda _: context["ti"].start_date
        sensor = self.sensor(deployment, "reschedule")
        assert not sensor.poke(context)
        assert sensor._wait is not None
        assert sensor._wait.poller.ends_after == (60 if keeps else None)

    def test_polls_of_an_earlier_attempt_do_not_count(self, service: Service) -> None:
        notes: dict[str, Any] = {}
        store = SimpleNamespace(get=notes.get, set=notes.__setitem__)
        deployment = service.new_deployment(done=False)
        first = self.sensor(deployment, "reschedule")
        first.poke(self.context(1, store))
        service.add_fault("get_endpoint", times=None, body={"name": ENDPOINT, "deployed_models": []})
        for _ in range(2):
            first.poke(self.context(1, store))
        assert not self.sensor(deployment, "reschedule").poke(self.context(2, store))

    def sensor(self, deployment: str, mode: str) -> CerebrasDeploymentSensor:
        kwargs = {"deferrable": True} if mode == "deferrable" else {"deferrable": False, "mode": mode}
        return deployment_sensor(deployment, **kwargs)

    def context(self, try_number: int, store: Any) -> Any:
        ti = TaskInstance(try_number=try_number)
        ti.start_date = datetime.now(tz=UTC)  # type: ignore[attr-defined]
        return {"ti": ti, "task_state_store": store}


@pytest.mark.parametrize(
    ("error", "mended_by_a_retry"),
    [
        (ModelVersionFailed, False),
        (DeploymentFailed, False),
        (RequestRefused, False),
        (ModelVersionLost, True),
        (DeploymentLost, False),
        (UnexpectedTriggerEvent, True),
    ],
)
def test_what_a_retry_cannot_mend_fails_the_task_at_once(error: type[Exception], mended_by_a_retry: bool) -> None:
    assert issubclass(error, AirflowFailException) is not mended_by_a_retry


@pytest.mark.parametrize(
    ("sensor", "fields"),
    [
        (CerebrasModelVersionSensor, {"model_version", "cerebras_conn_id"}),
        (CerebrasDeploymentSensor, {"endpoint_id", "deployment_id", "cerebras_conn_id"}),
    ],
)
def test_every_id_and_name_is_a_template_field(sensor: type[WaitSensor], fields: set[str]) -> None:
    assert fields <= set(sensor.template_fields)

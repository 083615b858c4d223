"""What the operators check before they send anything, and how they go on after an event."""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_cerebras.exceptions import (
    DeploymentFailed,
    DeploymentLost,
    ModelVersionFailed,
    ModelVersionLost,
    RequestRefused,
    UnexpectedTriggerEvent,
    WaitTimeout,
)
from airflow_provider_cerebras.hooks.connection import fingerprint
from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator
from airflow_provider_cerebras.operators.model_versions import (
    CerebrasPromoteModelVersionOperator,
    CerebrasUploadModelVersionOperator,
)
from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_3_PLUS
from tests.task_instance import TaskInstance
from tests.unit.durable.world import Journal

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cerebras.operators._base import WaitingOperator
    from tests.unit.conftest import Service

ARCH, ENDPOINT, DEPLOYMENT = "gpt-oss-120b", "my-org-gpt-oss-120b", "550e8400-e29b-41d4-a716-446655440000"
V1 = "orgs/my-org/models/gpt-oss-120b/versions/1"
CONTEXT: Any = {"ti": TaskInstance()}
RESERVED = f"airflow-{'0' * 40}-3"


def upload(**changes: Any) -> CerebrasUploadModelVersionOperator:
    arguments = {"model_arch_id": ARCH, "weight_uri": "s3://my-bucket/weights", **changes}
    return CerebrasUploadModelVersionOperator(task_id="task", **arguments)


def deploy(**changes: Any) -> CerebrasDeployModelOperator:
    return CerebrasDeployModelOperator(task_id="task", **{"endpoint_id": ENDPOINT, "model_version": V1, **changes})


class _TaskInstanceOfWaiter(TaskInstance):
    """Lets the service finish when the name has been pushed, so that a wait that begins before never ends."""

    finish: Callable[[], None]

    def xcom_push(self, key: str, value: Any) -> None:
        super().xcom_push(key, value)
        if key == "return_value":
            self.finish()


class TestBlockingWait:
    @pytest.mark.parametrize("make", [upload, deploy])
    def test_what_it_returns_is_pushed_before_the_wait(
        self, service: Service, make: Callable[..., WaitingOperator]
    ) -> None:
        if make is deploy:
            service.new_version()
        ti = _TaskInstanceOfWaiter()
        ti.finish = service.finish
        waiting = {"wait_for_completion": True, "deferrable": False, "poll_interval": 0.01, "timeout": 2}
        context: Any = {"ti": ti}
        result = make(**waiting).execute(context)
        assert ti.xcoms["return_value"] == result


class TestArguments:
    @pytest.mark.parametrize("durable", [True, False])
    @pytest.mark.parametrize(
        ("argument", "value"),
        [
            ("model_arch_id", ""),
            ("model_arch_id", ".."),
            ("model_arch_id", "a b"),
            ("model_arch_id", None),
            ("weight_uri", ""),
            ("weight_uri", "/tmp/weights"),
            ("weight_uri", "https://my-bucket/weights"),
            ("weight_uri", "s3://my-bucket"),
            ("weight_uri", "s3://my-bucket/weights\n"),
            ("version_aliases", ["production", "X"]),
            ("version_aliases", ["a"]),
            ("version_aliases", ["a" * 129]),
            ("version_aliases", ["production\n"]),
            ("version_aliases", [1]),
            ("org_name", "a\nb"),
            ("org_name", ".."),
            ("poll_interval", 0),
            ("poll_interval", -1),
            ("timeout", 0),
            ("timeout", float("nan")),
            ("timeout", float("inf")),
            ("timeout", 1e12),
            ("poll_interval", float("inf")),
            ("version_aliases", ["latest", RESERVED]),
            ("version_aliases", [f"{RESERVED}-1"]),
        ],
    )
    def test_an_upload_with_a_wrong_one_sends_nothing(
        self, service: Service, argument: str, value: Any, durable: bool
    ) -> None:
        with pytest.raises(ValueError, match=rf"^{argument}: "):
            upload(durable=durable, **{argument: value}).execute(CONTEXT)
        assert service.requests() == []

    def test_an_upload_with_one_alias_as_a_text_sends_nothing(self, service: Service) -> None:
        with pytest.raises(TypeError, match=r"^version_aliases: "):
            upload(version_aliases="production").execute(CONTEXT)
        assert service.requests() == []

    @pytest.mark.parametrize("durable", [True, False])
    @pytest.mark.parametrize(
        ("argument", "value"),
        [
            ("endpoint_id", ""),
            ("endpoint_id", ".."),
            ("endpoint_id", "a b"),
            ("endpoint_id", None),
            ("model_version", ""),
            ("model_version", "1"),
            ("model_version", "production"),
            ("model_version", f"{V1}\n"),
            ("model_version", "orgs/../models/m/versions/1"),
            ("model_version", None),
            ("poll_interval", 0),
            ("timeout", -1),
            ("timeout", float("inf")),
            ("rollback_on_failure", True),
        ],
    )
    def test_a_deployment_with_a_wrong_one_sends_nothing(
        self, service: Service, argument: str, value: Any, durable: bool
    ) -> None:
        with pytest.raises(ValueError, match=rf"^{argument}: "):
            deploy(durable=durable, **{argument: value}).execute(CONTEXT)
        assert service.requests() == []

    @pytest.mark.parametrize(
        ("argument", "value", "told"),
        [("delete_on_kill", True, True), ("deferrable", True, True), ("deferrable", None, False)],
    )
    @pytest.mark.parametrize("waits", [True, False])
    def test_an_option_that_has_no_effect_without_waiting_is_said_so(
        self, service: Service, argument: str, value: Any, told: bool, waits: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Airflow's own loggers keep what they are told to themselves.
        monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "True")
        operator, journal = upload(wait_for_completion=waits, **{argument: value}), Journal()
        monkeypatch.setattr(type(operator), "log", journal, raising=False)
        with suppress(TaskDeferred):
            operator.execute(CONTEXT)
        words = f"{argument} has no effect without wait_for_completion=True"
        assert (words in journal.text) is (told and not waits)

    def test_a_promotion_of_a_reserved_alias_sends_nothing(self, service: Service) -> None:
        promotion = CerebrasPromoteModelVersionOperator(task_id="task", model_version=V1, alias=RESERVED)
        with pytest.raises(ValueError, match=rf"^alias: '{RESERVED}' is reserved"):
            promotion.execute(CONTEXT)
        assert service.requests() == []

    @pytest.mark.parametrize("make", [upload, deploy])
    def test_none_is_checked_before_it_is_rendered(self, make: Callable[..., WaitingOperator]) -> None:
        template = "{{ params.x }}"
        operator = make(**{name: template for name in make().template_fields if name != "version_aliases"})
        assert operator.cerebras_conn_id == template

    @pytest.mark.parametrize(
        ("operator", "fields"),
        [
            (
                CerebrasUploadModelVersionOperator,
                {
                    "model_arch_id",
                    "weight_uri",
                    "version_aliases",
                    "system_fingerprint_suffix",
                    "org_name",
                    "cerebras_conn_id",
                },
            ),
            (CerebrasDeployModelOperator, {"endpoint_id", "model_version", "cerebras_conn_id"}),
        ],
    )
    def test_every_id_name_and_uri_is_a_template_field(self, operator: type[WaitingOperator], fields: set[str]) -> None:
        assert fields <= set(operator.template_fields)

    def test_a_connection_that_cannot_be_used_is_named(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", service.connection(extra={"org_name": None}))
        with pytest.raises(ValueError, match=r"^Connection 'cerebras_default', field extra: has no org_name"):
            upload().execute(CONTEXT)
        assert service.requests() == []


class TestResults:
    def test_an_upload_returns_the_full_name_of_the_version(self, service: Service) -> None:
        assert upload().execute(CONTEXT) == V1

    def test_a_deployment_returns_its_id(self, service: Service) -> None:
        assert deploy(model_version=service.new_version()).execute(CONTEXT) == service.deployments()[-1].deployment_id

    def test_an_alias_is_deployed_by_its_number(self, service: Service) -> None:
        name = service.new_version("production")
        deploy(model_version=service.version_name("production")).execute(CONTEXT)
        assert [request.body["model"] for request in service.requests("deploy_model")] == [name]

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
    @pytest.mark.parametrize("make", [upload, deploy])
    def test_a_refusal_fails_the_task_at_once_with_the_server_s_words(
        self, service: Service, make: Callable[..., WaitingOperator], status: int
    ) -> None:
        service.new_version()
        for operation in ("upload_model_version", "deploy_model"):
            service.add_fault(operation, status=status, body={"detail": "the server's words"}, times=None)
        with pytest.raises(RequestRefused, match="the server's words"):
            make().execute(CONTEXT)

    @pytest.mark.parametrize("make", [upload, deploy])
    def test_what_is_deferred_holds_the_deadline_and_no_secret(
        self, service: Service, make: Callable[..., WaitingOperator]
    ) -> None:
        service.new_version()
        with pytest.raises(TaskDeferred) as deferral:
            make(wait_for_completion=True, deferrable=True, poll_interval=7, timeout=600).execute(CONTEXT)
        kwargs = deferral.value.trigger.serialize()[1]
        assert kwargs["poll_interval"] == 7
        assert kwargs["deadline"] > 600
        assert deferral.value.method_name == "execute_complete"
        stored = repr((kwargs, deferral.value.kwargs))
        assert service.settings.management_key not in stored
        assert service.settings.inference_key not in stored
        assert kwargs["service"] == fingerprint(service.base_url)

    def test_below_3_3_it_says_that_a_kill_deletes_nothing_once_it_has_deferred(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        journal = Journal()
        monkeypatch.setattr(CerebrasUploadModelVersionOperator, "log", journal)
        with pytest.raises(TaskDeferred):
            upload(wait_for_completion=True, deferrable=True, delete_on_kill=True).execute(CONTEXT)
        said = "delete_on_kill deletes nothing from here on" in journal.text
        assert said is not AIRFLOW_V_3_3_PLUS

    @pytest.mark.parametrize("make", [upload, deploy])
    def test_the_result_is_there_before_the_wait_for_a_user_may_mark_it_as_success(
        self, service: Service, make: Callable[..., WaitingOperator]
    ) -> None:
        service.new_version()
        ti = TaskInstance()
        context: Any = {"ti": ti}
        with pytest.raises(TaskDeferred):
            make(wait_for_completion=True, deferrable=True).execute(context)
        made = list(service.versions())[-1] if make is upload else service.deployments()[-1].deployment_id
        assert ti.xcoms["return_value"] == made

    def test_a_task_that_pushes_no_result_pushes_none_before_the_wait_either(self, service: Service) -> None:
        ti = TaskInstance()
        context: Any = {"ti": ti}
        with pytest.raises(TaskDeferred):
            upload(wait_for_completion=True, deferrable=True, do_xcom_push=False).execute(context)
        assert "return_value" not in ti.xcoms


VERSION_EVENT = {"message": "words", "model_version": V1}
DEPLOYMENT_EVENT = {"message": "words", "endpoint_id": ENDPOINT, "deployment_id": DEPLOYMENT}


class TestEvents:
    @pytest.mark.parametrize(
        ("operator", "event", "result"),
        [(upload(), VERSION_EVENT, V1), (deploy(), DEPLOYMENT_EVENT, DEPLOYMENT)],
        ids=["upload", "deploy"],
    )
    def test_success_returns_what_was_waited_for(
        self, operator: WaitingOperator, event: dict[str, str], result: str
    ) -> None:
        assert operator.execute_complete(CONTEXT, event={"status": "succeeded", **event}) == result

    @pytest.mark.parametrize(
        ("operator", "event", "status", "error"),
        [
            (upload(), VERSION_EVENT, "failed", ModelVersionFailed),
            (upload(), VERSION_EVENT, "lost", ModelVersionLost),
            (upload(), VERSION_EVENT, "timeout", WaitTimeout),
            (upload(), VERSION_EVENT, "unreachable", RequestRefused),
            (deploy(), DEPLOYMENT_EVENT, "failed", DeploymentFailed),
            (deploy(), DEPLOYMENT_EVENT, "lost", DeploymentLost),
            (deploy(), DEPLOYMENT_EVENT, "timeout", WaitTimeout),
            (deploy(), DEPLOYMENT_EVENT, "unreachable", RequestRefused),
        ],
    )
    def test_each_other_end_has_its_error(
        self, operator: WaitingOperator, event: dict[str, str], status: str, error: type[Exception]
    ) -> None:
        with pytest.raises(error, match="words") as caught:
            operator.execute_complete(CONTEXT, event={"status": status, **event})
        assert type(caught.value) is error

    @pytest.mark.parametrize(
        "event",
        [
            None,
            {},
            "succeeded",
            {"status": "succeeded", "message": "m"},
            {**VERSION_EVENT, **DEPLOYMENT_EVENT, "status": "done"},
        ],
    )
    @pytest.mark.parametrize("make", [upload, deploy])
    def test_an_event_that_is_not_as_agreed_is_an_error_of_its_own(
        self, make: Callable[..., WaitingOperator], event: object
    ) -> None:
        with pytest.raises(UnexpectedTriggerEvent, match="same version of airflow-provider-cerebras"):
            make().execute_complete(CONTEXT, event=event)


def test_a_deployment_that_was_lost_is_not_waited_for_again() -> None:
    notes = {"request": f"{V1} on {ENDPOINT}, 0", "model_version": V1, "deployment_id": DEPLOYMENT}
    stored = {"cerebras_deployment": dict(notes)}
    store = SimpleNamespace(get=stored.get, set=stored.__setitem__)
    event = {"status": "lost", "message": "gone", "endpoint_id": ENDPOINT, "deployment_id": DEPLOYMENT}
    context: Any = dict(CONTEXT, task_state_store=store)
    with pytest.raises(DeploymentLost):
        deploy().execute_complete(context, event)
    assert stored["cerebras_deployment"]["deployment_id"] == stored["cerebras_deployment"]["submission"] == ""

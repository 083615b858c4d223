"""The hook against the emulator over a real socket."""

from __future__ import annotations

import asyncio
import gc
import json
import warnings
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from airflow_provider_cerebras.api import models, operations
from airflow_provider_cerebras.api.errors import BadRequest, Conflict, NotFound, Unauthorized
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.polling.reconnection import ConnectionNotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cerebras.api.client import ClientSettings
    from airflow_provider_cerebras.api.operations import Call
    from tests.unit.conftest import Service

AnswerT = TypeVar("AnswerT")

ARCH, ENDPOINT = "gpt-oss-120b", "my-org-gpt-oss-120b"
MESSAGES = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def hook(service: Service) -> CerebrasHook:
    return CerebrasHook()


@pytest.fixture
def connect(service: Service, monkeypatch: pytest.MonkeyPatch) -> Callable[..., CerebrasHook]:
    """A hook for the emulator's connection with other fields: ``connect(password=..., extra={...})``."""

    def make(**changes: Any) -> CerebrasHook:
        monkeypatch.setenv("AIRFLOW_CONN_OTHER", service.connection(**changes))
        return CerebrasHook(cerebras_conn_id="other")

    return make


class TestCalls:
    def test_list_model_architectures(self, hook: CerebrasHook) -> None:
        assert hook.list_model_architectures() == [ARCH, "llama3.1-8b"]

    def test_upload_model_version(self, hook: CerebrasHook, service: Service) -> None:
        version = hook.upload_model_version(ARCH, "s3://my-bucket/weights", ["production"], "suffix")
        assert isinstance(version, models.ModelVersion)
        assert (version.name, version.done) == (service.version_name(1), False)
        (request,) = service.requests()
        assert request.body["model"]["system_fingerprint_suffix"] == "suffix"

    def test_list_model_versions(self, hook: CerebrasHook, service: Service) -> None:
        names = [service.new_version(), service.new_version()]
        assert [version.name for version in hook.list_model_versions(ARCH)] == names

    @pytest.mark.parametrize("by", ["1", "production"])
    def test_get_model_version(self, hook: CerebrasHook, service: Service, by: str) -> None:
        service.new_version("production")
        version = hook.get_model_version(service.version_name(by))
        assert (version.name, version.done) == (service.version_name(1), True)
        assert version.details == models.ModelVersionDetails(
            customer_s3_uri="s3://my-bucket/weights", version_aliases=["production"], sync_status="done"
        )

    def test_update_model_version_aliases(self, hook: CerebrasHook, service: Service) -> None:
        name = service.new_version("production")
        assert hook.update_model_version_aliases(name, ["latest", "v1-stable"]) == ["latest", "v1-stable"]
        assert hook.update_model_version_aliases(name, []) == []

    def test_delete_model_version(self, hook: CerebrasHook, service: Service) -> None:
        name = service.new_version()
        hook.delete_model_version(name)
        assert service.versions() == {}
        with pytest.raises(NotFound):
            hook.delete_model_version(name)

    def test_list_endpoints(self, hook: CerebrasHook) -> None:
        endpoints = hook.list_endpoints()
        assert [endpoint.endpoint_id for endpoint in endpoints] == [ENDPOINT, "my-org-llama3.1-8b"]

    def test_deploy_model_and_get_endpoint(self, hook: CerebrasHook, service: Service) -> None:
        name = service.new_version()
        deployment = hook.deploy_model(ENDPOINT, name)
        service.finish()
        (deployed,) = hook.get_endpoint(ENDPOINT).deployed_models or []
        assert (deployed.id, deployed.model, deployed.state) == (deployment.name, name, "complete")

    def test_chat_completion(self, hook: CerebrasHook, service: Service) -> None:
        service.new_deployment()
        completion = hook.chat_completion(ENDPOINT, MESSAGES, temperature=0)
        assert completion.choices[0].message.content == f"{service.version_name(1)} answers: Hi"
        assert service.requests("chat_completion")[-1].body["temperature"] == 0

    def test_a_refusal_is_raised_with_the_server_s_words(self, hook: CerebrasHook, service: Service) -> None:
        name = service.new_version("production")
        with pytest.raises(Conflict, match="Alias production is in use"):
            hook.upload_model_version(ARCH, "s3://my-bucket/weights", ["production"])
        with pytest.raises(BadRequest, match="is of architecture"):
            hook.deploy_model("my-org-llama3.1-8b", name)

    @pytest.mark.parametrize(
        "call",
        [
            lambda hook: hook.list_model_versions(".."),
            lambda hook: hook.upload_model_version(ARCH, "/tmp/weights"),
            lambda hook: hook.upload_model_version(ARCH, "s3://my-bucket/weights", ["X"]),
            lambda hook: hook.get_model_version("production"),
            lambda hook: hook.update_model_version_aliases("1", []),
            lambda hook: hook.delete_model_version(""),
            lambda hook: hook.get_endpoint(".."),
            lambda hook: hook.deploy_model(ENDPOINT, "1"),
            lambda hook: hook.chat_completion(ENDPOINT, []),
        ],
    )
    def test_a_wrong_argument_is_refused_before_any_request(
        self, hook: CerebrasHook, service: Service, call: Callable[[CerebrasHook], object]
    ) -> None:
        with pytest.raises(ValueError, match=": "):
            call(hook)
        assert service.requests() == []

    def test_a_request_says_which_airflow_sent_it(self, hook: CerebrasHook, service: Service) -> None:
        hook.list_endpoints()
        (request,) = service.requests()
        assert request.headers["user-agent"].startswith("airflow-provider-cerebras/")
        assert "(airflow/" in request.headers["user-agent"]


class TestConnection:
    def test_the_default_connection_is_cerebras_default(self) -> None:
        assert CerebrasHook().cerebras_conn_id == CerebrasHook.default_conn_name == "cerebras_default"

    def test_the_organization_is_the_connection_s(self, connect: Callable[..., CerebrasHook]) -> None:
        assert connect(extra={"org_name": "theirs"}).org_name == "theirs"

    def test_an_organization_as_an_argument_wins(self, service: Service) -> None:
        assert CerebrasHook(org_name="ours").org_name == "ours"

    def test_an_organization_as_an_argument_needs_none_in_the_connection(
        self, connect: Callable[..., CerebrasHook], service: Service
    ) -> None:
        hook = connect(extra={"org_name": None})
        assert CerebrasHook(cerebras_conn_id=hook.cerebras_conn_id, org_name="my-org").list_endpoints()

    @pytest.mark.parametrize("blank", [None, ""])
    def test_a_missing_organization_is_refused_by_the_connection_s_name(
        self, connect: Callable[..., CerebrasHook], service: Service, blank: str | None
    ) -> None:
        with pytest.raises(ValueError, match=r"^Connection 'other', field extra: has no org_name.*not the org_id"):
            connect(extra={"org_name": blank}).list_model_architectures()
        assert service.requests() == []

    def test_a_missing_organization_does_not_matter_where_the_name_holds_it(
        self, connect: Callable[..., CerebrasHook], service: Service
    ) -> None:
        name = service.new_version()
        assert connect(extra={"org_name": None}).get_model_version(name).name == name

    @pytest.mark.parametrize("password", [None, ""])
    def test_a_missing_key_is_refused_by_the_connection_s_name(
        self, connect: Callable[..., CerebrasHook], password: str | None
    ) -> None:
        with pytest.raises(ValueError, match=r"^Connection 'other', field password: is empty"):
            connect(password=password).get_conn()

    def test_a_missing_inference_key_is_refused_by_the_connection_s_name(
        self, connect: Callable[..., CerebrasHook], service: Service
    ) -> None:
        with pytest.raises(ValueError, match=r"^Connection 'other', field extra: has no inference_api_key"):
            connect(extra={"inference_api_key": None}).chat_completion(ENDPOINT, MESSAGES)
        assert service.requests() == []

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"password": ""}, "password"),
            ({"host": "http://api.cerebras.ai"}, "host"),
            ({"extra": {"max_retries": -1}}, "extra: max_retries"),
            ({"host": "https://api.cerebras.ai", "extra": {"verify": "/no/such/ca.pem"}}, "verify"),
            ({"extra": {"proxy": "nonsense"}}, "proxy"),
        ],
    )
    def test_both_clients_are_refused_for_the_same_reason(
        self, connect: Callable[..., CerebrasHook], changes: dict[str, Any], field: str
    ) -> None:
        hook, words = connect(**changes), []
        for make in (hook.get_conn, lambda: asyncio.run(hook.get_async_conn())):
            with pytest.raises(ValueError, match=rf"^Connection 'other', field {field}: ") as caught:
                make()
            words.append(str(caught.value))
        assert words[0] == words[1]

    def test_both_clients_have_the_same_settings(self, connect: Callable[..., CerebrasHook]) -> None:
        hook = connect(extra={"request_timeout": "7", "max_retries": 1})

        async def settings() -> ClientSettings:
            async with await hook.get_async_conn() as client:
                return client.settings

        assert asyncio.run(settings()) == hook.get_conn().settings

    def test_both_clients_get_the_same_answer(self, hook: CerebrasHook) -> None:
        async def ask(call: Call[AnswerT]) -> AnswerT:
            async with await hook.get_async_conn() as client:
                return await client.send(call)

        call = operations.list_model_architectures("my-org")
        assert asyncio.run(ask(call)) == hook.get_conn().send(call)

    def test_a_hook_that_is_forgotten_leaves_no_open_socket(self, service: Service) -> None:
        """As a user's task does, which calls a hook and returns."""
        gc.collect()
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            CerebrasHook().list_model_architectures()
            client = CerebrasHook().get_conn()
            gc.collect()
            client.send(operations.list_model_architectures("my-org"))
            del client
            gc.collect()
        assert [str(each.message) for each in warned if each.category is ResourceWarning] == []

    def test_the_client_is_made_once_for_a_hook(self, hook: CerebrasHook) -> None:
        assert hook.get_conn() is hook.get_conn()

    def test_an_undefined_connection_may_be_a_secrets_backend_that_fails_to_one_who_waits(self) -> None:
        with pytest.raises(ConnectionNotFound, match=r"^Connection 'nowhere' was not found on host "):
            asyncio.run(CerebrasHook(cerebras_conn_id="nowhere").get_async_conn())

    def test_no_key_is_in_what_a_hook_or_a_client_prints(self, hook: CerebrasHook, service: Service) -> None:
        for text in (repr(hook), repr(hook.get_conn()), repr(vars(hook))):
            assert service.settings.management_key not in text
            assert service.settings.inference_key not in text

    def test_no_key_is_in_an_error_although_the_service_repeats_it(self, hook: CerebrasHook, service: Service) -> None:
        service.add_fault("list_endpoints", status=401, body={"detail": f"Who is {service.settings.management_key}?"})
        with pytest.raises(Unauthorized, match=r"Who is \*\*\*\?"):
            hook.list_endpoints()


class TestTestConnection:
    def test_success_names_organization_and_architectures(self, hook: CerebrasHook) -> None:
        assert hook.test_connection() == (
            True,
            "Connected to organization 'my-org'. Model architectures: gpt-oss-120b, llama3.1-8b.",
        )

    def test_success_without_architectures(self, hook: CerebrasHook, service: Service) -> None:
        service.add_fault("list_model_architectures", body={"model_architectures": []})
        assert hook.test_connection() == (
            True,
            "Connected to organization 'my-org'. Model architectures: none yet.",
        )

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            pytest.param({"password": "wrong"}, ["key was refused", "Wrong API key"], id="wrong key"),
            pytest.param(
                {"password": "inference-key-that-must-never-be-seen-a94c"},
                ["Is it the management API key, not the inference API key?", "Wrong kind of key"],
                id="inference key in place of the management key",
            ),
            pytest.param(
                {"extra": {"org_name": "org_a1b2c3"}}, ["org_name", "not the org_id"], id="wrong organization"
            ),
            pytest.param({"host": "http://127.0.0.1:1"}, ["Cannot connect.", "ConnectError"], id="cannot connect"),
            pytest.param({"password": ""}, ["Field password", "management API key"], id="no key"),
            pytest.param({"extra": {"org_name": ""}}, ["Field extra", "org_name"], id="no organization"),
            pytest.param({"host": "http://api.cerebras.ai"}, ["Field host", "unencrypted"], id="http"),
            pytest.param(
                {"host": "https://127.0.0.1:1", "extra": {"verify": "/no/such/ca.pem"}},
                ["Field verify", "/no/such/ca.pem"],
                id="no CA bundle",
            ),
        ],
    )
    def test_failure_says_what_to_look_into(
        self, connect: Callable[..., CerebrasHook], changes: dict[str, Any], words: list[str]
    ) -> None:
        worked, message = connect(**changes).test_connection()
        assert not worked
        for word in words:
            assert word in message
        # From Airflow's UI it would be the id of a copy, which is of no use.
        assert "'other'" not in message

    @pytest.mark.parametrize(
        ("fault", "words"),
        [
            pytest.param(
                {"status": 403, "text": "<html><style>b{}</style><h1>Error 1020</h1><p>Access denied</p></html>"},
                ["not one of the Management API", "Error 1020 Access denied", "says nothing about the key"],
                id="HTML 403",
            ),
            pytest.param({"status": 404, "body": {"detail": "Not Found"}}, ["no such organization", "host"], id="404"),
            pytest.param({"status": 503, "text": "be right back"}, ["503", "be right back"], id="503"),
            pytest.param({"status": 200, "text": "<h1>Welcome</h1>"}, ["not as documented"], id="another service"),
            pytest.param({"status": 302, "headers": {"location": "/"}}, ["redirects are not followed"], id="redirect"),
            pytest.param({"drop": True}, ["Cannot connect."], id="dropped"),
        ],
    )
    def test_it_asks_once_and_says_what_came(
        self, hook: CerebrasHook, service: Service, fault: dict[str, Any], words: list[str]
    ) -> None:
        service.add_fault("list_model_architectures", **fault)
        worked, message = hook.test_connection()
        assert not worked
        for word in words:
            assert word in message
        assert len(service.requests()) == 1

    def test_no_key_is_in_its_words(self, hook: CerebrasHook, service: Service) -> None:
        key = service.settings.management_key
        for fault in ({"status": 401, "body": {"detail": key}}, {"status": 500, "text": key}):
            service.add_fault("list_model_architectures", **fault)
            assert key not in hook.test_connection()[1]


class TestForm:
    def test_the_form_for_airflow_below_3_2_is_valid(self) -> None:
        from importlib.resources import files

        import jsonschema

        schema = json.loads((files("airflow") / "customized_form_field_behaviours.schema.json").read_text("utf-8"))
        behaviour = CerebrasHook.get_ui_field_behaviour()
        jsonschema.validate(behaviour, schema)
        assert set(behaviour["relabeling"]).isdisjoint(behaviour["hidden_fields"])

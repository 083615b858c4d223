"""What each call sends, byte for byte, and what it makes of the answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from airflow_provider_cerebras.api import models, operations

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cerebras.api.operations import Call
    from tests.unit.api.conftest import Connect

PREFIX = "/management/v1"
V1 = "orgs/my-org/models/gpt-oss-120b/versions/1"
MANAGEMENT, INFERENCE = "Bearer mgmt-key-5b1e", "Bearer inference-key-a94c"
HOSTILE_IDS = ["a/b", "a?b", "a#b", "a%b", "a%2Fb", "a:b", "%2e%2e", "../x", "a;b", "a\\b", "@evil", "a&b=c", "ü"]

CALLS: dict[str, tuple[Call[Any], str, str, Any, str, Any, Any]] = {
    # name: call, method, path, body, key, answer, what is read from it
    "list_model_architectures": (
        operations.list_model_architectures("my-org"),
        "GET",
        f"{PREFIX}/orgs/my-org/models",
        None,
        MANAGEMENT,
        {"model_architectures": ["gpt-oss-120b"]},
        models.ModelArchitectureList(model_architectures=["gpt-oss-120b"]),
    ),
    "list_model_versions": (
        operations.list_model_versions("my-org", "gpt-oss-120b"),
        "GET",
        f"{PREFIX}/orgs/my-org/models/gpt-oss-120b/versions",
        None,
        MANAGEMENT,
        {"model_versions": [{"name": V1, "done": True}]},
        models.ModelVersionList(model_versions=[models.ModelVersion(name=V1, done=True)]),
    ),
    "upload_model_version": (
        operations.upload_model_version("my-org", "gpt-oss-120b", "s3://my-bucket/weights", ["production"], "suffix"),
        "POST",
        f"{PREFIX}/orgs/my-org/models:upload",
        {
            "model_arch_id": "gpt-oss-120b",
            "model": {
                "weight_uri": "s3://my-bucket/weights",
                "version_aliases": ["production"],
                "system_fingerprint_suffix": "suffix",
            },
        },
        MANAGEMENT,
        {"name": V1, "done": False, "response": {"sync_status": "queued"}},
        models.ModelVersion(name=V1, done=False, response=models.ModelVersionDetails(sync_status="queued")),
    ),
    "upload_model_version, nothing optional": (
        operations.upload_model_version("my-org", "gpt-oss-120b", "s3://my-bucket/weights", [], ""),
        "POST",
        f"{PREFIX}/orgs/my-org/models:upload",
        {"model_arch_id": "gpt-oss-120b", "model": {"weight_uri": "s3://my-bucket/weights"}},
        MANAGEMENT,
        {"name": V1, "done": False},
        models.ModelVersion(name=V1, done=False),
    ),
    "get_model_version": (
        operations.get_model_version(V1),
        "GET",
        f"{PREFIX}/{V1}",
        None,
        MANAGEMENT,
        {"name": V1, "done": True},
        models.ModelVersion(name=V1, done=True),
    ),
    "get_model_version, by alias": (
        operations.get_model_version("orgs/my-org/models/gpt-oss-120b/versions/production"),
        "GET",
        f"{PREFIX}/orgs/my-org/models/gpt-oss-120b/versions/production",
        None,
        MANAGEMENT,
        {"name": V1, "done": True},
        models.ModelVersion(name=V1, done=True),
    ),
    "update_model_version_aliases": (
        operations.update_model_version_aliases(V1, ["production", "latest", "production"]),
        "PATCH",
        f"{PREFIX}/{V1}",
        {"version_aliases": ["production", "latest"]},
        MANAGEMENT,
        {"name": V1, "version_aliases": ["production", "latest"]},
        models.ModelVersionAliasesInForce(name=V1, version_aliases=["production", "latest"]),
    ),
    "update_model_version_aliases, to none": (
        operations.update_model_version_aliases(V1, []),
        "PATCH",
        f"{PREFIX}/{V1}",
        {"version_aliases": []},
        MANAGEMENT,
        {"name": V1, "version_aliases": []},
        models.ModelVersionAliasesInForce(name=V1, version_aliases=[]),
    ),
    "delete_model_version": (
        operations.delete_model_version(V1),
        "DELETE",
        f"{PREFIX}/{V1}",
        None,
        MANAGEMENT,
        {"name": V1, "deleted": True},
        None,
    ),
    "list_endpoints": (
        operations.list_endpoints("my-org"),
        "GET",
        f"{PREFIX}/orgs/my-org/endpoints",
        None,
        MANAGEMENT,
        {"endpoints": [{"endpoint_id": "my-endpoint", "created": 1736700000}]},
        models.EndpointList(endpoints=[models.EndpointSummary(endpoint_id="my-endpoint", created=1736700000)]),
    ),
    "get_endpoint": (
        operations.get_endpoint("my-endpoint"),
        "GET",
        f"{PREFIX}/endpoints/my-endpoint",
        None,
        MANAGEMENT,
        {"name": "my-endpoint", "deployed_models": [{"id": "d", "state": "complete"}]},
        models.Endpoint(name="my-endpoint", deployed_models=[models.DeployedModel(id="d", state="complete")]),
    ),
    "deploy_model": (
        operations.deploy_model("my-endpoint", V1),
        "POST",
        f"{PREFIX}/endpoints/my-endpoint:deployModel",
        {"model": V1},
        MANAGEMENT,
        {"name": "550e8400-e29b-41d4-a716-446655440000", "done": False},
        models.Deployment(name="550e8400-e29b-41d4-a716-446655440000", done=False),
    ),
    "chat_completion": (
        operations.chat_completion("my-endpoint", [{"role": "user", "content": "Hi"}], temperature=0, stop=["."]),
        "POST",
        "/v1/chat/completions",
        {"model": "my-endpoint", "messages": [{"role": "user", "content": "Hi"}], "temperature": 0, "stop": ["."]},
        INFERENCE,
        {"choices": [{"message": {"content": "Hello"}}], "system_fingerprint": "fp_1-suffix"},
        models.ChatCompletion(
            choices=[models.ChatChoice(message=models.ChatMessage(content="Hello"))], system_fingerprint="fp_1-suffix"
        ),
    ),
}


@pytest.mark.parametrize(("call", "method", "path", "body", "key", "answer", "read"), CALLS.values(), ids=list(CALLS))
def test_a_call_sends_exactly_this_and_reads_the_answer(
    connect: Connect, call: Call[Any], method: str, path: str, body: Any, key: str, answer: Any, read: Any
) -> None:
    conversation = connect(httpx.Response(200, json=answer))

    assert conversation.send(call) == read

    request = conversation.request
    assert (request.method, str(request.url)) == (method, f"https://api.cerebras.ai{path}")
    assert (json.loads(request.content) if request.content else None) == body
    assert request.headers["authorization"] == key
    assert request.headers.get("content-type") == ("application/json" if body is not None else None)
    assert request.headers["accept"] == "application/json"


@pytest.mark.parametrize("status", [200, 202, 204])
@pytest.mark.parametrize(
    "content",
    [b"", b'{"message": "deleted"}', b'{"name": "n", "deleted": true}', b"no json", b"null"],
    ids=["empty", "message", "name", "text", "null"],
)
def test_a_deletion_takes_any_success_for_one(connect: Connect, status: int, content: bytes) -> None:
    conversation = connect(httpx.Response(status, content=content))
    conversation.send(operations.delete_model_version(V1))
    assert len(conversation.requests) == 1


@pytest.mark.parametrize("hostile", HOSTILE_IDS)
@pytest.mark.parametrize(
    ("make", "before", "after"),
    [
        pytest.param(operations.list_model_architectures, "/orgs/", "/models", id="org_name, architectures"),
        pytest.param(operations.list_endpoints, "/orgs/", "/endpoints", id="org_name, endpoints"),
        pytest.param(
            lambda org: operations.upload_model_version(org, "arch", "s3://bucket/x"),
            "/orgs/",
            "/models:upload",
            id="org_name, upload",
        ),
        pytest.param(
            lambda arch: operations.list_model_versions("org", arch),
            "/orgs/org/models/",
            "/versions",
            id="model_arch_id",
        ),
        pytest.param(operations.get_endpoint, "/endpoints/", "", id="endpoint_id, look"),
        pytest.param(lambda e: operations.deploy_model(e, V1), "/endpoints/", ":deployModel", id="endpoint_id, deploy"),
    ],
)
def test_no_id_can_leave_its_segment_of_the_path(
    connect: Connect, make: Callable[[str], Call[Any]], before: str, after: str, hostile: str
) -> None:
    conversation = connect(httpx.Response(500, content=b""), max_retries=0)
    with pytest.raises(Exception, match="500"):
        conversation.send(make(hostile))

    raw = conversation.request.url.raw_path.decode("ascii")
    assert raw.startswith(f"{PREFIX}{before}")
    assert raw.endswith(after)
    segment = raw.removeprefix(f"{PREFIX}{before}").removesuffix(after)
    assert not set(segment) & set("/?#:;@\\&=")
    assert segment not in {".", ".."}
    assert httpx.URL(f"http://x/{segment}").path == f"/{hostile}"
    assert conversation.request.url.host == "api.cerebras.ai"


@pytest.mark.parametrize("hostile", [each for each in HOSTILE_IDS if "/" not in each])
def test_no_part_of_a_version_s_name_can_leave_its_segment_of_the_path(connect: Connect, hostile: str) -> None:
    name = f"orgs/{hostile}/models/{hostile}/versions/1"
    conversation = connect(httpx.Response(200, json={"name": name}))
    conversation.send(operations.get_model_version(name))

    prefix, orgs, org, models_, arch, versions, number = conversation.request.url.raw_path.decode("ascii")[
        len("/management/") :
    ].split("/")
    assert (prefix, orgs, models_, versions, number) == ("v1", "orgs", "models", "versions", "1")
    for segment in (org, arch):
        assert httpx.URL(f"http://x/{segment}").path == f"/{hostile}"
        assert not set(segment) & set("?#:;@\\&=")


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: operations.list_model_architectures(".."), "org_name"),
        (lambda: operations.list_model_architectures(""), "org_name"),
        (lambda: operations.list_model_versions("org", ".."), "model_arch_id"),
        (lambda: operations.list_endpoints("a\nb"), "org_name"),
        (lambda: operations.get_endpoint(".."), "endpoint_id"),
        (lambda: operations.get_endpoint(""), "endpoint_id"),
        (lambda: operations.deploy_model("a b", V1), "endpoint_id"),
        (lambda: operations.deploy_model("endpoint", "7"), "model_version"),
        (lambda: operations.get_model_version("orgs/../models/m/versions/1"), "model_version"),
        (lambda: operations.get_model_version("orgs/o/models/m/versions/.."), "model_version"),
        (lambda: operations.delete_model_version("production"), "model_version"),
        (lambda: operations.update_model_version_aliases(V1, ["X"]), "version_aliases"),
        (lambda: operations.upload_model_version("..", "m", "s3://bucket/x"), "org_name"),
        (lambda: operations.upload_model_version("o", "", "s3://bucket/x"), "model_arch_id"),
        (lambda: operations.upload_model_version("o", "m", "/tmp/x"), "weight_uri"),
        (lambda: operations.upload_model_version("o", "m", "s3://bucket/x", ["ok", "a"]), "version_aliases"),
        (lambda: operations.chat_completion("..", [{"role": "user"}]), "endpoint_id"),
        (lambda: operations.chat_completion("endpoint", []), "messages"),
        (lambda: operations.chat_completion("endpoint", [{"role": "user"}], stream=True), "stream"),
    ],
)
def test_a_call_that_cannot_be_right_is_never_made(make: Callable[[], object], argument: str) -> None:
    with pytest.raises(ValueError, match=rf"^{argument}: "):
        make()


def test_one_alias_as_a_text_is_not_taken_for_a_list_of_characters() -> None:
    with pytest.raises(TypeError, match=r"^version_aliases: must be a list"):
        operations.upload_model_version("o", "m", "s3://bucket/x", "production")


def test_a_parameter_of_a_chat_cannot_change_who_is_asked() -> None:
    call = operations.chat_completion("endpoint", [{"role": "user", "content": "Hi"}], model="other")
    assert call.body is not None
    assert call.body.model_dump()["model"] == "endpoint"


def test_a_call_without_its_key_is_not_sent(connect: Connect) -> None:
    conversation = connect(httpx.Response(200), inference_key=None)
    with pytest.raises(ValueError, match="takes the inference API key, and there is none"):
        conversation.send(operations.chat_completion("endpoint", [{"role": "user", "content": "Hi"}]))
    assert conversation.requests == []


def test_the_base_url_may_have_a_path(connect: Connect) -> None:
    conversation = connect(httpx.Response(200, json={"endpoints": []}), base_url="https://gateway.example/cerebras/")
    conversation.send(operations.list_endpoints("my-org"))
    assert str(conversation.request.url) == "https://gateway.example/cerebras/management/v1/orgs/my-org/endpoints"


def test_a_request_names_its_sender(connect: Connect) -> None:
    conversation = connect(httpx.Response(200, json={"endpoints": []}))
    conversation.send(operations.list_endpoints("my-org"))
    assert conversation.request.headers["user-agent"].startswith("airflow-provider-cerebras/")


@pytest.mark.parametrize(("timeout", "connecting"), [(30.0, 10.0), (4.0, 4.0)])
def test_every_phase_of_a_request_has_a_time_out(connect: Connect, timeout: float, connecting: float) -> None:
    conversation = connect(httpx.Response(200, json={"endpoints": []}), timeout=timeout)
    conversation.send(operations.list_endpoints("my-org"))
    assert conversation.request.extensions["timeout"] == {
        "connect": connecting,
        "read": timeout,
        "write": timeout,
        "pool": timeout,
    }
